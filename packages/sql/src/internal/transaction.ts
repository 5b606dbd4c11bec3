import type { SqlError } from "@effect/sql/SqlError"
import { Clock, Duration, Effect, Exit } from "effect"
import type { BeginOptions } from "../SqlDriver.js"
import * as SqlReason from "../SqlReason.js"
import type { Policy } from "../SqlRetry.js"
import { bounded } from "./bounded.js"
import { invalidUse } from "./errors.js"
import * as Pin from "./pin.js"
import { markNotBegun } from "./retry.js"
import { type Intent, use } from "./router.js"
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
type Enter<Conn> = <A, E, R>(body: Effect.Effect<A, E, R>, block: Pin.Block<Conn>) => Effect.Effect<A, E, R>

const command = <Conn>(block: Pin.Block<Conn>, connection: Conn, sql: string): Effect.Effect<string, SqlError> =>
  block.pin.router.driver.execute(connection, sql, [], "command")

/**
 * A transaction on a root block, or a savepoint inside a transaction. Holds the lane of the outer block, so that
 * siblings on one connection come one after the other instead of into each other.
 */
export const run = <Conn, A, E, R>(
  outer: Pin.Block<Conn>,
  intent: Intent | undefined,
  options: Options,
  enter: Enter<Conn>,
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError, R> =>
  Pin.alone(
    outer,
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(within(options, open(outer, intent, options))), ({ block, connection, savepoint }) => {
        // Waits, interruptibly, for statements of other fibers of this transaction; then cannot be interrupted.
        const finish = restore(
          Pin.alone(
            block,
            Effect.uninterruptible(
              savepoint === undefined ? commit(block, connection, options) : keep(block, connection, savepoint)
            )
          )
        )
        return Effect.exit(restore(within(options, enter(body, block)))).pipe(
          Effect.flatMap(
            (exit): Effect.Effect<A, E | SqlError> => (Exit.isSuccess(exit) ? Effect.as(finish, exit.value) : exit)
          ),
          // The failure of the body, or of the COMMIT, is what the caller sees, whatever becomes of the rollback.
          Effect.onError(() => undo(block, connection, savepoint, options.deadline)),
          // From here on a fiber that outlives the transaction gets an error, not the connection.
          Effect.ensuring(
            Effect.sync(() => {
              block.closed = true
            })
          )
        )
      })
    )
  )

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

/** BEGIN does nothing that could be lost with its answer. */
const failedToBegin = (error: SqlError): SqlError => {
  const reason = SqlReason.of(error)
  const lost =
    reason.connection === "destroy" && reason.retry === "R"
      ? SqlReason.toError({ ...reason, outcome: "none", retry: "A", cause: error.cause }, error.message)
      : error
  markNotBegun(lost)
  return lost
}

const open = <Conn>(
  outer: Pin.Block<Conn>,
  intent: Intent | undefined,
  options: Options
): Effect.Effect<
  { readonly block: Pin.Block<Conn>; readonly connection: Conn; readonly savepoint: string | undefined },
  SqlError
> => {
  const { pin, transaction: inside } = outer
  if (inside === undefined) {
    const begin: BeginOptions = { ...options, readOnly: options.readOnly ?? intent === "read" }
    return Effect.flatMap(Pin.connect(outer, intent), (connection) => {
      const block = Pin.makeBlock(pin, { ...begin, depth: 0, failedBy: undefined })
      const { driver } = pin.router
      const statements = driver.begin(begin)
      return Effect.as(
        Effect.forEach(statements, (sql) => command(block, connection, sql), { discard: true }),
        { block, connection, savepoint: undefined }
      ).pipe(
        // An interrupted BEGIN may have begun: whoever is next on this connection ends it first.
        Effect.onError(() =>
          Effect.sync(() => {
            const state = driver.status(connection)
            if (state !== "idle" && state !== "session" && state !== "dead" && pin.lease?.connection === connection) {
              pin.debts.push((connection) => (isOpen(block, connection) ? rollback(block, connection) : Effect.void))
            }
          })
        )
      )
    }).pipe(Effect.mapError(failedToBegin))
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
  return Effect.flatMap(Pin.connect(outer, intent), (connection) => {
    const savepoint = `sluice_${++pin.savepoints}`
    return Effect.as(command(outer, connection, `SAVEPOINT ${savepoint}`), {
      block: Pin.makeBlock(pin, { ...inside, depth: inside.depth + 1, failedBy: undefined }),
      connection,
      savepoint
    })
  })
}

const aborted = <Conn>(block: Pin.Block<Conn>): SqlError => {
  const by = block.transaction?.failedBy
  const reason = SqlReason.of(by)
  return SqlReason.toError(
    SqlReason.make("TransactionAborted", {
      outcome: "rolledBack",
      code: reason.code,
      // What made it fail decides whether it is worth another run.
      retry: reason.retry === "T" && reason._tag !== "LockTimeout" ? "T" : "N",
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
const witness = <Conn>(
  block: Pin.Block<Conn>,
  connection: Conn,
  options: Options
): Effect.Effect<Effect.Effect<SqlReason.CommitFate> | undefined, SqlError> => {
  const { router } = block.pin
  const { witness } = router.driver
  if (options.verifyCommit !== true || witness === undefined) return Effect.succeed(undefined)
  return Effect.map(
    bounded(
      witness(connection),
      options.commitTimeout,
      Effect.suspend(() => Effect.fail(lostBeforeCommit()))
    ),
    (ask) => Verify.make((connection) => use(router, "write", connection), ask)
  )
}

const commit = <Conn>(block: Pin.Block<Conn>, connection: Conn, options: Options): Effect.Effect<void, SqlError> =>
  Effect.suspend((): Effect.Effect<void, SqlError> => {
    const { router } = block.pin
    const { driver } = router
    return Effect.flatMap(Pin.pay(block.pin, connection), () => {
      block.closed = true
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
        ? Effect.flatMap(witness(block, connection, options), (verify) => send(block, connection, options, verify))
        : send(block, connection, options, undefined)
    })
  })

const send = <Conn>(
  block: Pin.Block<Conn>,
  connection: Conn,
  options: Options,
  verify: Effect.Effect<SqlReason.CommitFate> | undefined
): Effect.Effect<void, SqlError> => {
  const answer = (bound: Duration.DurationInput) =>
    bounded(
      command(block, connection, "COMMIT"),
      bound,
      Effect.suspend(() => Effect.fail(unknownCommit(undefined, verify)))
    )
  const { commitTimeout, deadline } = options
  return Effect.matchEffect(
    deadline === undefined
      ? answer(commitTimeout)
      : Effect.flatMap(Clock.currentTimeMillis, (now) =>
          answer(Math.max(1, Math.min(Duration.toMillis(commitTimeout), deadline - now)))
        ),
    {
      // The server says ROLLBACK when it could not commit; to the driver that is no error.
      onSuccess: (tag) => (tag === "ROLLBACK" ? Effect.fail(aborted(block)) : Effect.void),
      // Refused by the server: nothing is written. But a connection that is lost takes the answer with it.
      onFailure: (error) => {
        const { connection, outcome } = SqlReason.of(error)
        if (connection !== "destroy") return Effect.fail(error)
        if (outcome === "none") return Effect.fail(lostBeforeCommit(error))
        return Effect.fail(unknownCommit(error, verify))
      }
    }
  )
}

const lostBeforeCommit = (by?: SqlError): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectionLost", { connection: "destroy", outcome: "rolledBack", retry: "T", cause: by?.cause }),
    "the connection was lost before COMMIT: nothing was written. Run the transaction again from its beginning"
  )

const unknownCommit = (by?: SqlError, verify?: Effect.Effect<SqlReason.CommitFate>): SqlError => {
  const { cause, code } = SqlReason.of(by)
  return SqlReason.toError(
    SqlReason.make("CommitUnknown", {
      code,
      connection: "destroy",
      outcome: "unknown",
      retry: "R",
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
const keep = <Conn>(block: Pin.Block<Conn>, connection: Conn, savepoint: string): Effect.Effect<void, SqlError> =>
  Effect.flatMap(Pin.pay(block.pin, connection), () => {
    block.closed = true
    return block.pin.router.driver.status(connection) === "failed"
      ? Effect.fail(aborted(block))
      : command(block, connection, `RELEASE SAVEPOINT ${savepoint}`)
  })

const undo = <Conn>(
  block: Pin.Block<Conn>,
  connection: Conn,
  savepoint: string | undefined,
  deadline: number | undefined
): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const { pin } = block
    const { driver } = pin.router
    block.closed = true
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
      if (pin.lease?.connection === connection) pin.debts.push((connection) => Effect.asVoid(back(connection)))
    }
    // Interrupted while a statement runs, or out of time: the caller does not wait for the server. The next user of the
    // connection does this first; if the pin ends with it, the pool aborts and resets the connection.
    if (driver.status(connection) === "busy" || pin.debts.length > 0) return Effect.sync(later)
    if (!isOpen(block, connection)) return Effect.void
    const rest = deadline === undefined ? Infinity : deadline - now
    if (rest <= 0) return Effect.sync(later)
    const bound = Math.min(rest, Duration.toMillis(pin.router.abortTimeout))
    return bounded(Effect.ignore(back(connection)), bound, Effect.sync(later))
  })
