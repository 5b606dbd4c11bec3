/**
 * One request, from its arrival to the end of its handler. Every binding calls `serve` with what it knows of its server, and sends
 * what comes back:
 *
 * 1. The headers are read (`asked.ts`). What has no meaning is answered with 400.
 * 2. The door (`door.ts`): a request that no connection can be had for in time is answered with 503, and its handler does not begin.
 * 3. The handler runs with an empty `Holder`. Its first statement acquires the connection.
 * 4. The end is judged: a transaction is committed or rolled back, the connection goes back, failures that have an answer become one
 *    (`Refusal.ts`). All of that is done before `serve` succeeds, so before a byte of the response is sent.
 * 5. Interruption is the abort: the statement that runs is cancelled, the transaction is rolled back, the connection goes back.
 */
import * as Sql from "@sluice/sql/Sql"
import { Cause, Context, Effect, Either, type Scope } from "effect"
import * as Refusal from "../Refusal.js"
import * as Asked from "./asked.js"
import * as Door from "./door.js"
import type { Head } from "./head.js"
import * as Holder from "./holder.js"
import type { Policy } from "./policy.js"
import * as Token from "./token.js"

/** How a binding looks at what its handler gives, and what it makes of it. */
export interface Binding<A, B> {
  /** False: the response says that the request has failed, so a transaction is rolled back. */
  readonly isSuccess: (value: A) => boolean
  /** True: what is read of the value after the handler's end may use the connection, so it is left open. */
  readonly isRead: (value: A) => boolean
  /** The response. Run where nothing can interrupt, so that a holder that was left open is never lost. */
  readonly respond: (served: Answered<A> | Refused) => Effect.Effect<B, never, Scope.Scope>
}

/** The handler has given its value. */
export interface Answered<A> {
  readonly _tag: "Answered"
  readonly value: A
  /** To be added to the response. */
  readonly headers: ReadonlyArray<Token.Header>
  /**
   * `undefined`: closed already. Else, where `isRead` has said so: what reads the rest runs `within` it, and the caller closes it once
   * the first piece is read, or when nothing will be read. A cursor that is open then keeps the connection until its own end.
   */
  readonly holder: Holder.Holder | undefined
}

/** The handler has not begun, or its failure has an answer. */
export interface Refused {
  readonly _tag: "Refused"
  readonly refusal: Refusal.Refusal
  readonly headers: ReadonlyArray<Token.Header>
}

/** Whether this fiber serves a request already: then this is a route inside of an application that does it. */
class IsServed extends Context.Reference<IsServed>()("@sluice/http/IsServed", { defaultValue: () => false }) {}

/** Fails as the handler does, but for failures and defects that `Refusal` has an answer for. Holds no connection when it has ended. */
export const serve = <A, B, E, R>(
  policy: Policy,
  head: Head,
  handler: Effect.Effect<A, E, R>,
  binding: Binding<A, B>
): Effect.Effect<B, E, R | Sql.Sql | Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(ended(policy, head, handler, binding, restore), binding.respond)
  )

const ended = <A, B, E, R>(
  policy: Policy,
  head: Head,
  handler: Effect.Effect<A, E, R>,
  binding: Binding<A, B>,
  restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
): Effect.Effect<Answered<A> | Refused, E, R | Sql.Sql> =>
  Effect.gen(function* () {
    const asked = yield* Effect.either(Asked.read(policy, head))
    if (Either.isLeft(asked)) return refused(asked.left)
    const isInside = yield* IsServed
    if (policy.hasDoor && !isInside) {
      const refusal = yield* restore(Door.enter(asked.right))
      if (refusal !== undefined) return refused(refusal)
    }
    const holder = yield* Holder.open(policy, asked.right)
    const run = Effect.provideService(transacted(policy, handler, binding.isSuccess), IsServed, true)
    return yield* Effect.matchCauseEffect(restore(holder.within(run)), {
      onFailure: (cause) => Effect.zipRight(holder.close, failed(policy, asked.right, cause)),
      onSuccess: (value) =>
        Effect.flatMap(leftOpen(holder, binding.isRead(value)), (left) => answered(policy, value, left))
    })
  })

const leftOpen = (holder: Holder.Holder, isRead: boolean): Effect.Effect<Holder.Holder | undefined> =>
  isRead ? Effect.succeed(holder) : Effect.as(holder.close, undefined)

const answered = <A>(
  { consistency }: Policy,
  value: A,
  holder: Holder.Holder | undefined
): Effect.Effect<Answered<A>, never, Sql.Sql> =>
  Effect.map(consistency === undefined ? Effect.succeed(undefined) : Token.write(consistency), (token) => ({
    _tag: "Answered",
    value,
    headers: token === undefined ? [] : [token],
    holder
  }))

const refused = (refusal: Refusal.Refusal, headers: ReadonlyArray<Token.Header> = []): Refused => ({
  _tag: "Refused",
  refusal,
  headers
})

const failed = <E>(policy: Policy, asked: Asked.Asked, cause: Cause.Cause<E>): Effect.Effect<Refused, E> => {
  const refusal = Refusal.ofCause(cause)
  if (refusal === undefined) return Effect.failCause(cause)
  // A token that the database has refused would be refused with every further request.
  const isTokenBad = asked.token !== undefined && refusal.reason === "InvalidData" && policy.consistency !== undefined
  const error = Cause.squash(cause) as Error
  // The message names statements, sizes and hosts, which the client must not see.
  return Effect.as(
    Effect.logDebug(`${refusal.reason}: ${error.message}`),
    refused(refusal, isTokenBad ? [Token.clear(policy.consistency)] : [])
  )
}

/** Rolls a transaction back, and is no failure of the handler. */
class Undone<A> {
  constructor(readonly value: A) {}
}

/** The handler, in a transaction if the route wants one. */
const transacted = <A, E, R>(
  { transaction }: Policy,
  handler: Effect.Effect<A, E, R>,
  isSuccess: (value: A) => boolean
): Effect.Effect<A, E, R | Sql.Sql> => {
  if (transaction === undefined) return handler
  return Effect.suspend(() => {
    let isOfHandler = false
    return handler.pipe(
      Effect.tapErrorCause(() =>
        Effect.sync(() => {
          isOfHandler = true
        })
      ),
      Effect.flatMap((value) => {
        isOfHandler = false
        return isSuccess(value) ? Effect.succeed(value) : Effect.fail(new Undone(value))
      }),
      Sql.withTransaction(transaction),
      Effect.catchAll((error) =>
        error instanceof Undone
          ? Effect.succeed(error.value as A)
          : // A COMMIT that failed is no failure that the handler has in its type. Most have an answer; the others are told as a defect.
            isOfHandler
            ? Effect.fail(error as E)
            : Effect.die(error)
      )
    )
  })
}
