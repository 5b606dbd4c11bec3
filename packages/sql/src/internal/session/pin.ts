import type { SqlError } from "@effect/sql/SqlError"
import type * as Pool from "@sluice/pool/Pool"
import { Cause, Effect, Option } from "effect"
import type { BeginOptions, ConnectionState } from "../../driver/Driver.js"
import * as SqlReason from "../../SqlReason.js"
import type { Restore } from "../client/contexts.js"
import { invalidUse } from "../client/errors.js"
import * as Router from "../routing/router.js"
import { bounded } from "./bounded.js"
import * as Lock from "./lock.js"

/**
 * Everything that keeps several statements on one connection.
 *
 * A *pin* holds one lease, taken at the first statement. A *block* is what a fiber is inside of: the pin itself (its
 * root block), a transaction, or a savepoint. A block runs one thing at a time, in the order of asking (its lock), and
 * an inner block holds the lock of its outer block for as long as it lives; so a connection has one user at any time.
 *
 * 1. The connection is touched only by the holder of the innermost lock.
 * 2. Whoever is next on a connection that is still `busy` aborts it first; then `pendingCleanup` are paid, in order.
 * 3. A block that is closed never touches the connection again: at the root its statements go to the pool, inside a
 *    transaction they fail.
 * 4. The lease is given back exactly once: when the root is closed and its lock is free.
 * 5. What opens a transaction travels with its first statement, so until then the connection may be exchanged unseen.
 */
export interface Pin<Conn> {
  readonly router: Router.Router<Conn>
  readonly intent: Router.Intent | undefined
  readonly options: Pool.AcquireOptions | undefined
  lease: Lease<Conn> | undefined
  /** What an interrupted block could not wait for: run before the connection is used again. */
  pendingCleanup: Array<(connection: Conn) => Effect.Effect<void, SqlError>>
  /** The session was changed, so losing the connection loses something. */
  session: boolean
  savepoints: number
  opening: Opening | undefined
}

interface Lease<Conn> {
  readonly connection: Conn
  readonly intent: Router.Intent | undefined
  readonly release: () => void
}

/** What opens the transaction on a pin. */
export interface Opening {
  readonly statements: ReadonlyArray<string>
  /** The server has said that it is open, or its first statement has succeeded. */
  isDone: boolean
}

export interface Block<Conn> {
  readonly pin: Pin<Conn>
  readonly lock: Lock.Lock
  /** `undefined` at the root. */
  readonly transaction: Transaction | undefined
  closed: boolean
  /** A cursor holds the lock of a root block; meanwhile its other statements go to the pool. */
  streaming: boolean
}

export interface Transaction extends BeginOptions {
  readonly depth: number
  /** The failure that made the transaction useless, kept for the message when COMMIT is refused. */
  failedBy: SqlError | undefined
}

export const makeBlock = <Conn>(pin: Pin<Conn>, transaction?: Transaction): Block<Conn> => ({
  pin,
  lock: Lock.make(),
  transaction,
  closed: false,
  streaming: false
})

export const make = <Conn>(
  router: Router.Router<Conn>,
  intent: Router.Intent | undefined,
  options: Pool.AcquireOptions | undefined
): Block<Conn> =>
  makeBlock({
    router,
    intent,
    options,
    lease: undefined,
    pendingCleanup: [],
    session: false,
    savepoints: 0,
    opening: undefined
  })

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
      retry: known && retry === "never" ? "never" : "transaction",
      cause: by?.cause
    }),
    `the connection was lost inside ${what}${by === undefined ? "" : ` (${by.message})`}, and what it held is lost with it: run ${what} again from its beginning`
  )
}

const giveBack = <Conn>(pin: Pin<Conn>): void => {
  const { lease } = pin
  if (lease === undefined) return
  // Its rollback is one of them: the pool will do it.
  if (pin.pendingCleanup.length > 0) pin.router.leftOpen.excuse(lease.connection)
  pin.lease = undefined
  pin.pendingCleanup = []
  pin.session = false
  lease.release()
}

/** When the lock of a root block has become free: gives the lease back if the block was closed meanwhile (4). */
export const settle = <Conn>(block: Block<Conn>): void => {
  if (block.closed && !block.lock.held && block.transaction === undefined) giveBack(block.pin)
}

/** The lease is in the pin before anything can interrupt; whoever closes the pin finds it there. */
const take = <Conn>(pin: Pin<Conn>, intent: Router.Intent | undefined): Effect.Effect<Conn, SqlError> =>
  Router.hold(
    pin.router,
    intent,
    (connection, release) => {
      pin.lease = { connection, intent, release }
      return connection
    },
    pin.options
  )

/** The pin's connection, if it can be used as it is. To be called by the holder of the lock only. */
const usable = <Conn>({ pin, transaction }: Block<Conn>, asked: Router.Intent | undefined): Conn | undefined => {
  const { pendingCleanup, lease } = pin
  if (lease === undefined || pendingCleanup.length > 0) return undefined
  if (asked === "write" && (transaction === undefined ? lease.intent === "read" : transaction.readOnly === true)) {
    return undefined
  }
  const state = pin.router.driver.status(lease.connection)
  return state === "busy" || state === "dead" ? undefined : lease.connection
}

const nothing: ReadonlyArray<string> = []

/** What must go to the server before the next statement (5). */
export const due = <Conn>({ opening, router }: Pin<Conn>, connection: Conn): ReadonlyArray<string> => {
  if (opening === undefined || opening.isDone) return nothing
  // It was sent with a statement that nobody awaited to its end.
  opening.isDone = isOpen(router.driver.status(connection))
  return opening.isDone ? nothing : opening.statements
}

const isOpen = (state: ConnectionState): boolean => state === "transaction" || state === "failed"

/** The pin's connection, ready for a statement. To be called by the holder of the lock only. */
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
    const unopened = pin.opening?.isDone === false
    if (lease === undefined) {
      return inside === undefined || unopened ? take(pin, wanted) : Effect.fail(lost("a transaction"))
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
    const another = Effect.suspend(() => {
      if (inside !== undefined && !unopened) return why("a transaction")
      giveBack(pin)
      return session ? why("a pinned connection whose session had been changed") : take(pin, wanted)
    })
    if (state === "dead") return another
    if (inside === undefined && wanted === "write" && lease.intent === "read") {
      giveBack(pin)
      return take(pin, wanted)
    }
    if (state !== "busy" && pin.pendingCleanup.length === 0) return Effect.succeed(lease.connection)
    return Effect.flatMap(pay(pin), (ready) => (ready ? Effect.succeed(lease.connection) : another))
  })

/** Nobody has left anything to be done on the connection. */
export const isReady = <Conn>({ pin }: Block<Conn>): boolean =>
  pin.pendingCleanup.length === 0 &&
  (pin.lease === undefined || pin.router.driver.status(pin.lease.connection) !== "busy")

/** Aborts what an earlier user has left running and does what it could not wait for (2). False: the connection is gone. */
export const pay = <Conn>(pin: Pin<Conn>): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const connection = pin.lease?.connection
    if (connection === undefined) return Effect.succeed(false)
    const { abortTimeout, driver } = pin.router
    const isReady = () => {
      const state = driver.status(connection)
      return state !== "busy" && state !== "dead"
    }
    if (isReady() && pin.pendingCleanup.length === 0) return Effect.succeed(true)
    const work = Effect.gen(function* () {
      if (driver.status(connection) === "busy") yield* Effect.ignore(driver.abort(connection))
      while (pin.pendingCleanup.length > 0 && driver.status(connection) !== "dead") {
        const debt = pin.pendingCleanup[0]!
        yield* Effect.ignore(debt(connection))
        pin.pendingCleanup.shift()
      }
      return isReady()
    })
    return Effect.tap(bounded(work, abortTimeout, Effect.succeed(false)), (ready) =>
      Effect.sync(() => {
        if (!ready) retire(pin, connection)
      })
    )
  })

/** The connection cannot be made ready: the pool gets it back as it is, and decides. */
const retire = <Conn>(pin: Pin<Conn>, connection: Conn): void => {
  if (pin.lease?.connection !== connection) return
  pin.router.leftOpen.excuse(connection)
  giveBack(pin)
}

/** After a statement: cancels what its fiber has left, remembers what the connection has become. */
const observe = <Conn>(
  { pin, transaction }: Block<Conn>,
  failure: Cause.Cause<SqlError> | undefined
): Effect.Effect<void> | undefined => {
  const { lease, opening } = pin
  if (lease === undefined) return undefined
  const { connection } = lease
  const { driver } = pin.router
  const state = driver.status(connection)
  if (opening !== undefined && !opening.isDone)
    opening.isDone = failure === undefined || isOpen(state) || wasInside(failure)
  if (state === "session") pin.session = true
  if (failure === undefined) return undefined
  if (transaction !== undefined && transaction.failedBy === undefined && state === "failed") {
    transaction.failedBy = Option.getOrUndefined(Cause.failureOption(failure))
  }
  if (state !== "busy") return undefined
  // Starts now, so that the server is relieved at once; the next user, or the pool, joins it and waits for it. The fiber
  // may begin when they are done, and then does nothing: what is to be aborted is settled here, by the call.
  const abort = Effect.timeout(Effect.ignore(pin.router.driver.abort(connection)), pin.router.abortTimeout)
  return Effect.asVoid(Effect.forkIn(Effect.interruptible(abort), pin.router.scope))
}

/** Nothing of the transaction on this pin has reached the server, or nothing that is left. */
export const isUnopened = <Conn>(pin: Pin<Conn>): boolean =>
  pin.opening !== undefined &&
  (pin.lease === undefined ? !pin.opening.isDone : due(pin, pin.lease.connection).length > 0)

/** A statement of the holder of the lock. */
export const touch = <Conn, A>(
  block: Block<Conn>,
  asked: Router.Intent | undefined,
  f: (connection: Conn, before: ReadonlyArray<string>) => Effect.Effect<A, SqlError>
): Effect.Effect<A, SqlError> => {
  const { pin } = block
  const connection = usable(block, asked)
  return connection === undefined
    ? Effect.flatMap(connect(block, asked), (connection) => f(connection, due(pin, connection)))
    : f(connection, due(pin, connection))
}

/** It failed when the transaction was open already: what is lost is more than this statement. */
const wasInside = (failure: Cause.Cause<SqlError>): boolean =>
  SqlReason.of(Option.getOrUndefined(Cause.failureOption(failure))).retry === "transaction"

const leave = <Conn>(block: Block<Conn>): void => {
  Lock.release(block.lock)
  settle(block)
}

/** Runs one statement inside a block. `before` is to be sent ahead of it: see `Driver.execute`. */
export const statement = <Conn, A>(
  block: Block<Conn>,
  asked: Router.Intent | undefined,
  f: (connection: Conn, before: ReadonlyArray<string>) => Effect.Effect<A, SqlError>
): Effect.Effect<A, SqlError> => {
  const { pin } = block
  let touches = false
  return Lock.run(
    block.lock,
    (restore) => {
      touches = !block.closed
      if (block.closed) {
        if (block.transaction !== undefined) return Effect.fail(endOfTransaction())
        // Now, not at the end: whoever waits for a connection must not hold another one.
        giveBack(pin)
        return restore(Router.use(pin.router, asked, (connection) => f(connection, nothing)))
      }
      return restore(touch(block, asked, f))
    },
    (failure) => {
      const rest = touches ? observe(block, failure) : undefined
      touches = false
      leave(block)
      return rest
    }
  )
}

/** Frees what a statement has left on the connection: now, or, while something runs there, before the next one does (2). */
export const afterwards = <Conn>(block: Block<Conn>, free: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { pendingCleanup, lease, router } = block.pin
    if (block.closed || lease === undefined) return Effect.void
    if (pendingCleanup.length === 0 && router.driver.status(lease.connection) !== "busy") {
      return Effect.ignore(statement(block, undefined, () => free))
    }
    pendingCleanup.push(() => free)
    return Effect.void
  })

/** Runs `body` while it has the block for itself: nothing else runs on the connection until it ends. */
export const alone = <Conn, A, E, R>(
  block: Block<Conn>,
  body: (restore: Restore) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError, R> =>
  Lock.run<A, E | SqlError, R>(
    block.lock,
    (restore) => (block.closed && block.transaction !== undefined ? Effect.fail(endOfTransaction()) : body(restore)),
    () => {
      leave(block)
      return undefined
    }
  )

/** Closes a root block. A statement of another fiber that is still under way keeps the lease until it ends (4). */
export const close = <Conn>(block: Block<Conn>): void => {
  block.closed = true
  settle(block)
}
