import type { SqlError } from "@effect/sql/SqlError"
import type * as Pool from "@sluice/pool/Pool"
import { Cause, Effect, Exit, Option, Scope } from "effect"
import type { BeginOptions } from "../SqlDriver.js"
import * as SqlReason from "../SqlReason.js"
import { bounded } from "./bounded.js"
import { invalidUse } from "./errors.js"
import * as Lane from "./lane.js"
import * as Router from "./router.js"

/**
 * Everything that keeps several statements on one connection.
 *
 * A *pin* holds one lease, taken at the first statement. A *block* is what a fiber is inside of: the pin itself (its
 * root block), a transaction, or a savepoint. A block runs one thing at a time, in the order of asking (its lane), and
 * an inner block holds the lane of its outer block for as long as it lives; so a connection has one user at any time.
 *
 * 1. The connection is touched only by the holder of the innermost lane.
 * 2. Whoever is next on a connection that is still `busy` aborts it first; then `debts` are paid, in order.
 * 3. A block that is closed never touches the connection again: at the root its statements go to the pool, inside a
 *    transaction they fail.
 * 4. The lease is given back exactly once: when the root is closed and its lane is free.
 */
export interface Pin<Conn> {
  readonly router: Router.Router<Conn>
  readonly intent: Router.Intent | undefined
  readonly options: Pool.AcquireOptions | undefined
  lease: Lease<Conn> | undefined
  /** What an interrupted block could not wait for: run before the connection is used again. */
  debts: Array<(connection: Conn) => Effect.Effect<void, SqlError>>
  /** The session was changed, so losing the connection loses something. */
  session: boolean
  savepoints: number
}

interface Lease<Conn> {
  readonly connection: Conn
  readonly intent: Router.Intent | undefined
  readonly scope: Scope.CloseableScope
}

export interface Block<Conn> {
  readonly pin: Pin<Conn>
  readonly lane: Lane.Lane
  /** `undefined` at the root. */
  readonly transaction: Transaction | undefined
  closed: boolean
  /** A cursor holds the lane of a root block; meanwhile its other statements go to the pool. */
  streaming: boolean
}

export interface Transaction extends BeginOptions {
  readonly depth: number
  /** The failure that made the transaction useless, kept for the message when COMMIT is refused. */
  failedBy: SqlError | undefined
}

export const makeBlock = <Conn>(pin: Pin<Conn>, transaction?: Transaction): Block<Conn> => ({
  pin,
  lane: Lane.make(),
  transaction,
  closed: false,
  streaming: false
})

export const make = <Conn>(
  router: Router.Router<Conn>,
  intent: Router.Intent | undefined,
  options: Pool.AcquireOptions | undefined
): Block<Conn> => makeBlock({ router, intent, options, lease: undefined, debts: [], session: false, savepoints: 0 })

/** Whether statements of a fiber inside this block go to its connection. */
export const carries = <Conn>(block: Block<Conn>): boolean =>
  block.transaction !== undefined || !(block.closed || block.streaming)

const endOfTransaction = () =>
  invalidUse(
    "this transaction has ended: a fiber that was started inside it went on after its end. Join such fibers before the transaction ends, or start them outside"
  )

const lost = (what: string, by?: SqlError) => {
  const { _tag, code, retry } = SqlReason.of(by)
  const known = _tag === "ServerShutdown" || _tag === "StatementTimeout"
  return SqlReason.toError(
    SqlReason.make(known ? _tag : "ConnectionLost", {
      code,
      connection: "destroy",
      outcome: "rolledBack",
      // A time limit that ended it once would end it again.
      retry: known && retry === "N" ? "N" : "T",
      cause: by?.cause
    }),
    `the connection was lost inside ${what}${by === undefined ? "" : ` (${by.message})`}, and what it held is lost with it: run ${what} again from its beginning`
  )
}

// Uninterruptible: between forgetting the lease and closing its scope nobody else knows of it. Releasing never waits.
const giveBack = <Conn>(pin: Pin<Conn>): Effect.Effect<void> =>
  Effect.uninterruptible(
    Effect.suspend(() => {
      const lease = pin.lease
      if (lease === undefined) return Effect.void
      pin.lease = undefined
      pin.debts = []
      pin.session = false
      return Scope.close(lease.scope, Exit.void)
    })
  )

/** Runs when the lane of a root block becomes free: gives the lease back if the block was closed meanwhile (4). */
export const settle =
  <Conn>(block: Block<Conn>) =>
  (): Effect.Effect<void> =>
    block.closed && !block.lane.held && block.transaction === undefined ? giveBack(block.pin) : Effect.void

const take = <Conn>(pin: Pin<Conn>, intent: Router.Intent | undefined): Effect.Effect<Conn, SqlError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Scope.make(), (scope) =>
      restore(Scope.extend(Router.acquire(pin.router, intent, pin.options), scope)).pipe(
        Effect.tap((connection) =>
          Effect.sync(() => {
            pin.lease = { connection, intent, scope }
          })
        ),
        // On failure nothing was leased; on interruption the scope may hold a lease that no one has seen.
        Effect.onError(() => Scope.close(scope, Exit.void))
      )
    )
  )

/** The pin's connection, ready for a statement. To be called by the holder of the lane only. */
export const connect = <Conn>(block: Block<Conn>, asked: Router.Intent | undefined): Effect.Effect<Conn, SqlError> =>
  Effect.suspend(() => {
    const { pin } = block
    const inside = block.transaction
    if (inside?.readOnly === true && asked === "write") {
      return Effect.fail(
        invalidUse(
          "a write was announced (Sql.write) inside a read-only transaction: open it without readOnly, outside of Sql.read"
        )
      )
    }
    const wanted = pin.intent === "read" && asked !== "write" ? "read" : "write"
    const lease = pin.lease
    if (lease === undefined) {
      return inside === undefined ? take(pin, wanted) : Effect.fail(lost("a transaction"))
    }
    const { driver } = pin.router
    const state = driver.status(lease.connection)
    const { session } = pin
    // What a dead connection answers at once is why it died.
    const why = (what: string) =>
      state === "dead"
        ? Effect.flatMap(Effect.flip(driver.execute(lease.connection, "", [], "command")), (by) =>
            Effect.fail(lost(what, by))
          )
        : Effect.fail(lost(what))
    const another = Effect.suspend(() =>
      inside !== undefined
        ? why("a transaction")
        : session
          ? why("a pinned connection whose session had been changed")
          : take(pin, wanted)
    )
    if (state === "dead") return inside !== undefined ? another : Effect.zipRight(giveBack(pin), another)
    if (inside === undefined && wanted === "write" && lease.intent === "read") {
      return Effect.zipRight(giveBack(pin), take(pin, wanted))
    }
    if (state !== "busy" && pin.debts.length === 0) return Effect.succeed(lease.connection)
    return Effect.flatMap(pay(pin, lease.connection), (ready) => (ready ? Effect.succeed(lease.connection) : another))
  })

/** Aborts what an earlier user has left running and does what it could not wait for (2). False: the connection is gone. */
export const pay = <Conn>(pin: Pin<Conn>, connection: Conn): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const { driver, abortTimeout } = pin.router
    const isReady = () => {
      const state = driver.status(connection)
      return state !== "busy" && state !== "dead"
    }
    if (isReady() && pin.debts.length === 0) return Effect.succeed(true)
    const work = Effect.gen(function* () {
      if (driver.status(connection) === "busy") yield* Effect.ignore(driver.abort(connection))
      while (pin.debts.length > 0 && driver.status(connection) !== "dead") {
        const debt = pin.debts[0]!
        yield* Effect.ignore(debt(connection))
        pin.debts.shift()
      }
      return isReady()
    })
    return Effect.tap(bounded(work, abortTimeout, Effect.succeed(false)), (ready) =>
      ready ? Effect.void : retire(pin, connection)
    )
  })

/** The connection cannot be made ready: the pool gets it back as it is, and decides. */
const retire = <Conn>(pin: Pin<Conn>, connection: Conn): Effect.Effect<void> =>
  Effect.suspend(() => (pin.lease?.connection === connection ? giveBack(pin) : Effect.void))

/** After a statement: cancels what its fiber has left, remembers what the connection has become. */
const observe = <Conn, A>(block: Block<Conn>, connection: Conn, exit: Exit.Exit<A, SqlError>): Effect.Effect<void> => {
  const { pin } = block
  const { driver } = pin.router
  const state = driver.status(connection)
  if (state === "session") pin.session = true
  if (Exit.isSuccess(exit)) return Effect.void
  if (block.transaction !== undefined && block.transaction.failedBy === undefined && state === "failed") {
    block.transaction.failedBy = Option.getOrUndefined(Cause.failureOption(exit.cause))
  }
  if (state !== "busy") return Effect.void
  // Starts now, so that the server is relieved at once; the next user, or the pool, joins it and waits for it. The fiber
  // may begin when they are done, and then does nothing: what is to be aborted is settled here, by the call.
  const abort = Effect.timeout(Effect.ignore(driver.abort(connection)), pin.router.abortTimeout)
  return Effect.asVoid(Effect.forkIn(Effect.interruptible(abort), pin.router.scope))
}

const CLOSED = Symbol.for("@sluice/sql/closed")

/** Runs one statement inside a block. */
export const statement = <Conn, A>(
  block: Block<Conn>,
  asked: Router.Intent | undefined,
  f: (connection: Conn) => Effect.Effect<A, SqlError>
): Effect.Effect<A, SqlError> =>
  Effect.flatMap(
    Lane.run(
      block.lane,
      Effect.suspend((): Effect.Effect<A | typeof CLOSED, SqlError> => {
        if (block.closed) {
          return block.transaction === undefined ? Effect.succeed(CLOSED) : Effect.fail(endOfTransaction())
        }
        return Effect.flatMap(connect(block, asked), (connection) =>
          Effect.onExit(f(connection), (exit) => observe(block, connection, exit))
        )
      }),
      settle(block)
    ),
    (a) => (a === CLOSED ? Router.use(block.pin.router, asked, f) : Effect.succeed(a as A))
  )

/** Frees what a statement has left on the connection: now, or, while something runs there, before the next one does (2). */
export const afterwards = <Conn>(block: Block<Conn>, free: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { debts, lease, router } = block.pin
    if (block.closed || lease === undefined) return Effect.void
    if (debts.length === 0 && router.driver.status(lease.connection) !== "busy") {
      return Effect.ignore(statement(block, undefined, () => free))
    }
    debts.push(() => free)
    return Effect.void
  })

/** Runs `body` while it has the block for itself: nothing else runs on the connection until it ends. */
export const alone = <Conn, A, E, R>(
  block: Block<Conn>,
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError, R> =>
  Lane.run(
    block.lane,
    Effect.suspend(
      (): Effect.Effect<A, E | SqlError, R> =>
        block.closed && block.transaction !== undefined ? Effect.fail(endOfTransaction()) : body
    ),
    settle(block)
  )

/** Closes a root block. A statement of another fiber that is still under way keeps the lease until it ends (4). */
export const close = <Conn>(block: Block<Conn>): Effect.Effect<void> =>
  Effect.suspend(() => {
    block.closed = true
    return settle(block)()
  })
