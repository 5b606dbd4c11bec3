/**
 * A request of a server of Node's, from its arrival until its answer is given: the fiber that serves it, and what ends the fiber.
 *
 * 1. A client that has gone already is not served.
 * 2. The fiber begins, and in the same turn somebody listens for the client's end, so nothing is missed between the two.
 * 3. The client goes: the fiber is interrupted, which gives the connection back.
 * 4. The handler has ended: by then the connection is back (`serve.ts`), and the server is told what to answer with.
 * 5. The scope of the bindings closes: what is left is interrupted, and its clients are answered with 503.
 */
import type { Writable } from "node:stream"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Sql from "@sluice/sql/Sql"
import { Cause, Effect, FiberId, FiberSet, type Scope, Stream } from "effect"
import * as ClientGone from "../ClientGone.js"
import * as Refusal from "../Refusal.js"
import type { RequestOptions } from "../RequestOptions.js"
import type { Head } from "./head.js"
import * as Policy from "./policy.js"
import * as Rows from "./rows.js"
import { type Answered, type Refused, serve } from "./serve.js"

/** What stands between us and one kind of server: how it answers, by its own conventions. */
export interface Reply {
  /** The status of the response as it is now. */
  readonly status: () => number
  readonly setStatus: (status: number) => void
  /** Adds a header, unless the handler has sent the response itself. */
  readonly addHeader: (name: string, value: string) => void
  /** Sends a body, and nothing for `undefined`: then the handler has answered itself, or something that it has begun will. */
  readonly send: (body: unknown) => void
  /** Begins a body that comes in pieces. */
  readonly open: () => Writable
  /** The handler has failed, and `Refusal` has no answer for it. Part of the answer may have been sent. */
  readonly fail: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
}

/** Serves one request. */
export type Exchange<R> = <E>(
  request: ClientGone.Request,
  response: ClientGone.Response,
  reply: Reply,
  handler: () => Effect.Effect<unknown, E, R>
) => void

const headOf = ({ headers, method }: ClientGone.Request): Head => ({
  method: method ?? "GET",
  header: (name) => {
    const value = headers[name]
    return Array.isArray(value) ? value.join(", ") : value
  }
})

const isStream = (value: unknown): value is Stream.Stream<string | Uint8Array, unknown> =>
  typeof value === "object" && value !== null && Stream.StreamTypeId in value

export const make = <R>(
  options: RequestOptions
): Effect.Effect<Exchange<R | Sql.Sql>, SqlError, R | Sql.Sql | Scope.Scope> =>
  Effect.gen(function* () {
    const policy = yield* Policy.make(options)
    const run = yield* FiberSet.makeRuntime<R | Sql.Sql, void, never>()
    return (request, response, reply, handler) => {
      if (ClientGone.isGone(request, response)) return
      const binding = {
        isSuccess: () => reply.status() < 400,
        isRead: isStream,
        respond: (served: Answered<unknown> | Refused) => respond(reply, served)
      }
      // A handler that throws before it gives an effect has failed.
      const served = Effect.flatten(serve(policy, headOf(request), Effect.suspend(handler), binding))
      const failed = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
        !Cause.isInterrupted(cause)
          ? reply.fail(cause)
          : ClientGone.isGone(request, response)
            ? Effect.void
            : Effect.sync(() => refuse(reply, closing))
      // Nothing can interrupt the answer to a failure, and least of all the interruption that it is the answer to.
      const answered = Effect.uninterruptibleMask((restore) =>
        Effect.catchAllCause(restore(Effect.scoped(served)), failed)
      )
      const fiber = run(answered)
      const stop = ClientGone.onGone(request, response, () => fiber.unsafeInterruptAsFork(FiberId.none))
      fiber.addObserver(stop)
    }
  })

/** Gives the answer. What it succeeds with is what remains to be done, and may be interrupted: to send the pieces of a body. */
const respond = (
  reply: Reply,
  served: Answered<unknown> | Refused
): Effect.Effect<Effect.Effect<void, unknown>, never, Scope.Scope> =>
  Effect.suspend(() => {
    for (const [name, value] of served.headers) reply.addHeader(name, value)
    if (served._tag === "Refused") {
      refuse(reply, served.refusal)
      return Effect.succeed(Effect.void)
    }
    if (served.holder === undefined || !isStream(served.value)) {
      reply.send(served.value)
      return Effect.succeed(Effect.void)
    }
    return Effect.map(Rows.onConnection(served.value, served.holder), (body) => pour(body, reply))
  })

/** The scope of the bindings has closed. */
const closing = Refusal.make(503, "PoolClosed", 1)

const refuse = (reply: Reply, refusal: Refusal.Refusal): void => {
  const { body, headers, status } = Refusal.toResponse(refusal)
  reply.setStatus(status)
  for (const [name, value] of Object.entries(headers)) reply.addHeader(name, value)
  reply.send(body)
}

/** Sends the pieces as fast as the client reads them. A body that fails ends the response unfinished, so that the client sees it. */
const pour = (body: Stream.Stream<string | Uint8Array, unknown>, reply: Reply): Effect.Effect<void, unknown> =>
  Effect.suspend(() => {
    let sink: Writable | undefined
    // Only with the first piece: a body that fails before it can still be answered with an error.
    const opened = () => (sink ??= reply.open())
    return body.pipe(
      Stream.runForEach((piece) =>
        Effect.async<void>((resume) => {
          const sink = opened()
          if (sink.write(piece)) return resume(Effect.void)
          const flowing = () => resume(Effect.void)
          sink.once("drain", flowing)
          return Effect.sync(() => sink.off("drain", flowing))
        })
      ),
      Effect.zipRight(Effect.sync(() => void opened().end())),
      Effect.onError((cause) => Effect.sync(() => void sink?.destroy(Cause.squash(cause) as Error)))
    )
  })
