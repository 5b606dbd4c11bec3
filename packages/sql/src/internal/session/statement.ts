import type { SqlError } from "@effect/sql/SqlError"
import { type Instant, never } from "@sluice/pool/Deadline"
import { Cause, Effect, FiberId, Option } from "effect"
import * as SqlReason from "../../SqlReason.js"
import type { Restore } from "../client/contexts.js"
import type { Cluster } from "../routing/cluster.js"
import type { Intent } from "../routing/intent.js"
import * as Route from "../routing/route.js"
import { connect, isInTransaction, unsentOpening, usable } from "./connection.js"
import { deadlineWhileWaiting, transactionHasEnded } from "./failures.js"
import * as Lock from "./lock.js"
import { type Block, giveBack, type Pin, releaseIfClosed } from "./pin.js"

const nothing: ReadonlyArray<string> = []

/** A caller that declared no deadline waits for the lock of a block for as long as its holder works. */
export const boundOf = <Conn>({ timers }: Cluster<Conn>, until: Instant): Lock.Bound<SqlError> | undefined =>
  until === never ? undefined : { timers, at: until, late: deadlineWhileWaiting }

/** A statement of the fiber that holds the lock. `before` is to be sent ahead of it: see `Driver.execute`. */
export const ofHolder = <Conn, A>(
  block: Block<Conn>,
  asked: Intent | undefined,
  until: Instant,
  f: (connection: Conn, before: ReadonlyArray<string>) => Effect.Effect<A, SqlError>
): Effect.Effect<A, SqlError> => {
  const { pin } = block
  const connection = usable(block, asked)
  return connection === undefined
    ? Effect.flatMap(connect(block, asked, until), (connection) => f(connection, unsentOpening(pin, connection)))
    : f(connection, unsentOpening(pin, connection))
}

/**
 * A statement of any fiber inside a block: waits for its turn, and looks at the connection afterwards. `isCounted`: its failure counts
 * as one that its caller sees.
 */
export const run = <Conn, A>(
  block: Block<Conn>,
  asked: Intent | undefined,
  until: Instant,
  f: (connection: Conn, before: ReadonlyArray<string>) => Effect.Effect<A, SqlError>,
  isCounted = false
): Effect.Effect<A, SqlError> => {
  const { pin } = block
  let usesPin = false
  return Lock.run(
    block.lock,
    (restore) => {
      usesPin = !block.closed
      if (block.closed) {
        if (block.transaction !== undefined) return Effect.fail(transactionHasEnded())
        // Now and not at the end: a fiber that waits for a connection must not hold another one.
        giveBack(pin)
        return restore(Route.use(pin.cluster, asked, (connection) => f(connection, nothing)))
      }
      return restore(ofHolder(block, asked, until, f))
    },
    (failure) => {
      const rest = usesPin ? noteResult(block, failure) : undefined
      if (isCounted && failure !== undefined) pin.cluster.totals.failed(failure)
      usesPin = false
      unlock(block)
      return rest
    },
    boundOf(pin.cluster, until)
  )
}

/** Runs `body` while it has the block for itself: nothing else runs on the connection until it ends. */
export const exclusively = <Conn, A, E, R>(
  block: Block<Conn>,
  body: (restore: Restore) => Effect.Effect<A, E, R>,
  bound?: Lock.Bound<E | SqlError>
): Effect.Effect<A, E | SqlError, R> =>
  Lock.run<A, E | SqlError, R>(
    block.lock,
    (restore) => (block.closed && block.transaction !== undefined ? Effect.fail(transactionHasEnded()) : body(restore)),
    () => {
      unlock(block)
      return undefined
    },
    bound
  )

/** Frees what a statement keeps on the connection: now, or, while something runs there, before the next statement (2). */
export const free = <Conn>(block: Block<Conn>, effect: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { pendingCleanup, lease, cluster } = block.pin
    if (block.closed || lease === undefined) return Effect.void
    if (pendingCleanup.length === 0 && cluster.driver.status(lease.connection) !== "busy") {
      return Effect.ignore(run(block, undefined, never, () => effect))
    }
    pendingCleanup.push(() => effect)
    return Effect.void
  })

const unlock = <Conn>(block: Block<Conn>): void => {
  Lock.release(block.lock)
  releaseIfClosed(block)
}

/** Notes what a statement has done to the connection, and cancels the statement if its fiber has left it running. */
const noteResult = <Conn>(
  { pin, transaction }: Block<Conn>,
  failure: Cause.Cause<SqlError> | undefined
): Effect.Effect<void> | undefined => {
  const { cluster, lease, opening } = pin
  if (lease === undefined) return undefined
  const { connection } = lease
  const state = cluster.driver.status(connection)
  if (opening !== undefined && !opening.isDone) {
    opening.isDone = failure === undefined || isInTransaction(state) || wasInside(failure)
  }
  if (state === "session") pin.hasSession = true
  if (failure === undefined) return undefined
  if (transaction !== undefined && transaction.failedBy === undefined && state === "failed") {
    transaction.failedBy = Option.getOrUndefined(Cause.failureOption(failure))
  }
  return state === "busy" ? startAbort(pin, connection) : undefined
}

/**
 * Starts to abort now, so that the server is relieved at once; the next user, or the pool, joins this abort and waits for it.
 * By the time the fiber begins they may be done: then it does nothing, because `driver.abort` takes note of what it is to
 * cancel when it is called.
 */
const startAbort = <Conn>({ cluster }: Pin<Conn>, connection: Conn): Effect.Effect<void> => {
  const { abortTimeout, driver, scope, timers } = cluster
  const abort = Effect.interruptible(Effect.ignore(driver.abort(connection)))
  return Effect.map(Effect.forkIn(abort, scope), (fiber) => {
    const timer = timers.set(timers.now() + abortTimeout, () => fiber.unsafeInterruptAsFork(FiberId.none))
    fiber.addObserver(() => timer.cancel())
  })
}

/** The statement failed when the transaction was open already: more than this statement is lost. */
const wasInside = (failure: Cause.Cause<SqlError>): boolean =>
  SqlReason.of(Option.getOrUndefined(Cause.failureOption(failure))).retry === "transaction"
