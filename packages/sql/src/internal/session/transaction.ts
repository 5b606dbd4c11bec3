import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import { type Cause, Clock, Duration, Effect } from "effect"
import type { BeginOptions } from "../../driver/Driver.js"
import * as SqlReason from "../../SqlReason.js"
import type { Policy } from "../../SqlRetry.js"
import type { Restore } from "../client/contexts.js"
import { invalidUse } from "../client/errors.js"
import { markNotBegun } from "../client/retry.js"
import { type Intent, use } from "../routing/router.js"
import { bounded } from "./bounded.js"
import * as Pin from "./pin.js"
import * as Verify from "./verify.js"

export interface Options extends BeginOptions {
  /** Bound of the COMMIT. */
  readonly commitTimeout: Duration.DurationInput
  readonly retry?: boolean | Policy | undefined
  readonly timeout?: Duration.DurationInput | undefined
  readonly verifyCommit?: boolean | undefined
  /** Milliseconds since the epoch: `timeout`, counted from the beginning of the first run. */
  readonly deadline?: number | undefined
}

/** Puts the block of a transaction into the context of its body. */
type Enter<Conn> = <A, E, R>(
  body: Effect.Effect<A, E, R>,
  block: Pin.Block<Conn>,
  restore: Restore
) => Effect.Effect<A, E, R>

const command = <Conn>(
  block: Pin.Block<Conn>,
  connection: Conn,
  sql: string,
  before?: ReadonlyArray<string>
): Effect.Effect<string, SqlError> => block.pin.router.driver.execute(connection, sql, [], "command", before)

/**
 * A transaction on a root block, or a savepoint inside a transaction, for the holder of the lock of `outer`: siblings on
 * one connection come one after the other instead of into each other. To be run where nothing can interrupt; what may be
 * interrupted is in `restore`.
 */
export const run = <Conn, A, E, R>(
  outer: Pin.Block<Conn>,
  intent: Intent | undefined,
  options: Options,
  enter: Enter<Conn>,
  body: Effect.Effect<A, E, R>,
  restore: Restore
): Effect.Effect<A, E | SqlError, R> =>
  Effect.flatMap(restore(within(options, open(outer, intent, options))), ({ block, savepoint }) => {
    const end = Effect.suspend(() => (savepoint === undefined ? commit(block, options) : keep(block, savepoint)))
    /** The failure of the body, or of the COMMIT, is what the caller sees, whatever becomes of the rollback. */
    const onFailure = (cause: Cause.Cause<E | SqlError>) =>
      Effect.zipRight(undo(block, savepoint, options.deadline), Effect.failCause(cause))
    const entered =
      options.deadline === undefined
        ? enter(body, block, restore)
        : restore(
            within(
              options,
              Effect.uninterruptibleMask((restore) => enter(body, block, restore))
            )
          )
    return Effect.matchCauseEffect(entered, {
      onFailure,
      onSuccess: (value) =>
        Effect.matchCauseEffect(
          block.lock.held || !Pin.isReady(block)
            ? // Waits, interruptibly, for statements of other fibers of this transaction; then cannot be interrupted.
              restore(Pin.alone(block, () => Effect.zipRight(Pin.pay(block.pin), end)))
            : end,
          { onFailure, onSuccess: () => Effect.succeed(value) }
        )
    })
  })

/** `effect`, until the deadline of the transaction. */
const within = <A, E, R>(options: Options, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> => {
  const { deadline, timeout } = options
  if (deadline === undefined || timeout === undefined) return effect
  return Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.timeoutFail(effect, { duration: Math.max(0, deadline - now), onTimeout: () => tooLong(timeout) })
  )
}

const tooLong = (timeout: Duration.DurationInput): SqlError =>
  SqlReason.toError(
    SqlReason.make("StatementTimeout", { outcome: "rolledBack" }),
    `the transaction was not done within its timeout of ${Duration.toMillis(timeout)} ms, and is rolled back. Do less in it, or raise the timeout of withTransaction`
  )

/** BEGIN, and what came with it, did nothing that could be lost with its answer. */
export const failedToBegin = (error: SqlError): SqlError => {
  const reason = SqlReason.of(error)
  return reason.connection === "destroy" && reason.retry === "idempotent"
    ? SqlReason.toError({ ...reason, outcome: "none", retry: "always", cause: error.cause }, error.message)
    : error
}

interface Opened<Conn> {
  readonly block: Pin.Block<Conn>
  readonly savepoint: string | undefined
}

const open = <Conn>(
  outer: Pin.Block<Conn>,
  intent: Intent | undefined,
  options: Options
): Effect.Effect<Opened<Conn>, SqlError> => {
  const { pin, transaction: inside } = outer
  if (inside === undefined) {
    const begin: BeginOptions = { ...options, readOnly: options.readOnly ?? (intent === "read" ? true : undefined) }
    return Effect.mapBoth(Pin.connect(outer, intent), {
      onFailure: (error) => {
        markNotBegun(error, options)
        return error
      },
      onSuccess: () => {
        pin.opening = { statements: pin.router.driver.begin(begin), isDone: false }
        return { block: Pin.makeBlock(pin, { ...begin, depth: 0, failedBy: undefined }), savepoint: undefined }
      }
    })
  }
  if (
    (options.isolation !== undefined && options.isolation !== inside.isolation) ||
    (options.readOnly === true && inside.readOnly !== true) ||
    (options.readOnly === false && inside.readOnly === true)
  ) {
    return Effect.fail(
      invalidUse(
        "a nested transaction is a savepoint of the outer one and cannot have another isolation level or access mode: give these options to the outermost withTransaction"
      )
    )
  }
  const savepoint = `sluice_${++pin.savepoints}`
  return Effect.map(
    Pin.touch(outer, intent, (connection, before) => command(outer, connection, `SAVEPOINT ${savepoint}`, before)),
    () => ({ block: Pin.makeBlock(pin, { ...inside, depth: inside.depth + 1, failedBy: undefined }), savepoint })
  )
}

const aborted = <Conn>(block: Pin.Block<Conn>): SqlError => {
  const by = block.transaction?.failedBy
  const reason = SqlReason.of(by)
  return SqlReason.toError(
    SqlReason.make("TransactionAborted", {
      outcome: "rolledBack",
      code: reason.code,
      // What made it fail decides whether it is worth another run.
      retry: reason.retry === "transaction" && reason._tag !== "LockTimeout" ? "transaction" : "never",
      cause: by?.cause
    }),
    `nothing was written: a statement inside the transaction had failed${
      by === undefined ? "" : ` (${reason._tag}: ${by.message})`
    }, and a transaction that has failed can only be rolled back. Let the failure pass, or put the statement that may fail into a withTransaction of its own`
  )
}

const isOpen = <Conn>(block: Pin.Block<Conn>, connection: Conn): boolean => {
  const state = block.pin.router.driver.status(connection)
  return state === "transaction" || state === "failed"
}

const rollback = <Conn>(block: Pin.Block<Conn>, connection: Conn): Effect.Effect<void, SqlError> =>
  Effect.asVoid(command(block, connection, "ROLLBACK"))

/** Asks for what `verify` will need. If that fails, so does the transaction: COMMIT was not sent. */
const transactionId = <Conn>(
  block: Pin.Block<Conn>,
  connection: Conn,
  options: Options
): Effect.Effect<Effect.Effect<SqlReason.CommitFate> | undefined, SqlError> => {
  const { router } = block.pin
  const { transactionId } = router.driver
  if (options.verifyCommit !== true || transactionId === undefined) return Effect.succeed(undefined)
  return Effect.map(
    bounded(
      transactionId(connection),
      options.commitTimeout,
      Effect.suspend(() => Effect.fail(lostBeforeCommit()))
    ),
    (ask) => Verify.make((connection) => use(router, "write", connection), ask)
  )
}

const commit = <Conn>(block: Pin.Block<Conn>, options: Options): Effect.Effect<void, SqlError> => {
  const { pin } = block
  const { driver } = pin.router
  const connection = pin.lease?.connection
  block.closed = true
  const isUnopened = Pin.isUnopened(pin)
  pin.opening = undefined
  // Its BEGIN is still to be sent, so there is nothing that could be committed.
  if (isUnopened) return Effect.void
  if (connection === undefined) return Effect.fail(lostBeforeCommit())
  switch (driver.status(connection)) {
    case "dead":
    case "busy":
      return Effect.fail(lostBeforeCommit())
    case "failed":
      return Effect.fail(aborted(block))
    case "idle":
    case "session":
      return Effect.fail(
        invalidUse(
          "a statement inside this transaction ended it (COMMIT, ROLLBACK or a command that commits implicitly): what came before may be written. Leave begin and end to withTransaction"
        )
      )
  }
  return options.verifyCommit === true
    ? Effect.flatMap(transactionId(block, connection, options), (verify) => send(block, connection, options, verify))
    : send(block, connection, options, undefined)
}

const send = <Conn>(
  block: Pin.Block<Conn>,
  connection: Conn,
  options: Options,
  verify: Effect.Effect<SqlReason.CommitFate> | undefined
): Effect.Effect<void, SqlError> => {
  const { router } = block.pin
  const answer = (millis: number) =>
    Effect.clockWith((clock) =>
      router.driver.execute(connection, "COMMIT", [], "command", undefined, Deadline.nowOf(clock)() + millis)
    )
  const { commitTimeout, deadline } = options
  const millis = Duration.toMillis(commitTimeout)
  return Effect.matchEffect(
    deadline === undefined
      ? answer(millis)
      : Effect.flatMap(Clock.currentTimeMillis, (now) => answer(Math.max(1, Math.min(millis, deadline - now)))),
    {
      // The server says ROLLBACK when it could not commit; to the driver that is no error.
      onSuccess: (tag) => (tag === "ROLLBACK" ? Effect.fail(aborted(block)) : Effect.void),
      // Refused by the server: nothing is written. But a connection that is lost takes the answer with it.
      onFailure: (error) => {
        const { _tag, connection, outcome } = SqlReason.of(error)
        // A server that only reads has answered too, although its connection is of no more use.
        if (connection !== "destroy" || _tag === "NotWritable") return Effect.fail(error)
        if (outcome === "none") return Effect.fail(lostBeforeCommit(error))
        return Effect.fail(unknownCommit(error, verify))
      }
    }
  )
}

const lostBeforeCommit = (by?: SqlError): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectionLost", {
      connection: "destroy",
      outcome: "rolledBack",
      retry: "transaction",
      cause: by?.cause
    }),
    "the connection was lost before COMMIT: nothing was written. Run the transaction again from its beginning"
  )

const unknownCommit = (by?: SqlError, verify?: Effect.Effect<SqlReason.CommitFate>): SqlError => {
  const { cause, code } = SqlReason.of(by)
  return SqlReason.toError(
    SqlReason.make("CommitUnknown", {
      code,
      connection: "destroy",
      outcome: "unknown",
      retry: "idempotent",
      cause: by && cause,
      ...(verify === undefined ? {} : { verify })
    }),
    `COMMIT was sent and its answer did not come${by === undefined ? " in time" : ` (${by.message})`}: the transaction is either written or not. ${
      verify === undefined
        ? "Look before you run it again; withTransaction({ verifyCommit: true }) can ask the server"
        : "The `verify` of its reason asks the server"
    }`
  )
}

/** The successful end of a savepoint. */
const keep = <Conn>(block: Pin.Block<Conn>, savepoint: string): Effect.Effect<void, SqlError> => {
  const { pin } = block
  const connection = pin.lease?.connection
  block.closed = true
  if (connection === undefined) return Effect.fail(lostBeforeCommit())
  return pin.router.driver.status(connection) === "failed"
    ? Effect.fail(aborted(block))
    : Effect.asVoid(command(block, connection, `RELEASE SAVEPOINT ${savepoint}`))
}

const undo = <Conn>(
  block: Pin.Block<Conn>,
  savepoint: string | undefined,
  deadline: number | undefined
): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const { pin } = block
    const { driver } = pin.router
    const connection = pin.lease?.connection
    block.closed = true
    if (savepoint === undefined) pin.opening = undefined
    if (connection === undefined) return Effect.void
    const back = (connection: Conn) =>
      !isOpen(block, connection)
        ? Effect.void
        : savepoint === undefined
          ? rollback(block, connection)
          : Effect.zipRight(
              command(block, connection, `ROLLBACK TO SAVEPOINT ${savepoint}`),
              command(block, connection, `RELEASE SAVEPOINT ${savepoint}`)
            )
    const later = () => {
      if (pin.lease?.connection === connection) pin.pendingCleanup.push((connection) => Effect.asVoid(back(connection)))
    }
    // Interrupted while a statement runs, or out of time: the caller does not wait for the server. The next user of the
    // connection does this first; if the pin ends with it, the pool aborts and resets the connection.
    if (driver.status(connection) === "busy" || pin.pendingCleanup.length > 0) return Effect.sync(later)
    if (!isOpen(block, connection)) return Effect.void
    const rest = deadline === undefined ? Infinity : deadline - now
    if (rest <= 0) return Effect.sync(later)
    const bound = Math.min(rest, Duration.toMillis(pin.router.abortTimeout))
    const excuse = () => pin.router.leftOpen.excuse(connection)
    return bounded(
      Effect.catchAll(back(connection), () => Effect.sync(excuse)),
      bound,
      Effect.sync(later)
    )
  })
