import type { SqlError } from "@effect/sql/SqlError"
import type { Duration } from "effect"
import { Effect, Exit } from "effect"
import type { BeginOptions } from "../SqlDriver.js"
import * as SqlReason from "../SqlReason.js"
import { bounded } from "./bounded.js"
import { invalidUse } from "./errors.js"
import * as Pin from "./pin.js"
import type { Intent } from "./router.js"

export interface Options extends BeginOptions {
  /** Bound of the COMMIT. */
  readonly commitTimeout: Duration.DurationInput
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
      Effect.flatMap(restore(open(outer, intent, options)), ({ block, connection, savepoint }) => {
        // Waits, interruptibly, for statements of other fibers of this transaction; then cannot be interrupted.
        const finish = restore(
          Pin.alone(
            block,
            Effect.uninterruptible(
              savepoint === undefined ? commit(block, connection, options) : keep(block, connection, savepoint)
            )
          )
        )
        return Effect.exit(restore(enter(body, block))).pipe(
          Effect.flatMap(
            (exit): Effect.Effect<A, E | SqlError> => (Exit.isSuccess(exit) ? Effect.as(finish, exit.value) : exit)
          ),
          // The failure of the body, or of the COMMIT, is what the caller sees, whatever becomes of the rollback.
          Effect.onError(() => undo(block, connection, savepoint)),
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
      const statements = pin.router.driver.begin(begin)
      return Effect.as(
        Effect.forEach(statements, (sql) => command(block, connection, sql), { discard: true }),
        { block, connection, savepoint: undefined }
      )
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
      retry: by === undefined ? "N" : reason.retry === "T" ? "T" : "N",
      cause: by?.cause
    }),
    `nothing was written: a statement inside the transaction had failed${
      by === undefined ? "" : ` (${reason._tag}: ${by.message})`
    }, and a transaction that has failed can only be rolled back. Let the failure pass, or put the statement that may fail into a withTransaction of its own`
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
      const answer = bounded(
        command(block, connection, "COMMIT"),
        options.commitTimeout,
        Effect.suspend(() => Effect.fail(unknownCommit()))
      )
      return Effect.matchEffect(answer, {
        // The server says ROLLBACK when it could not commit; to the driver that is no error.
        onSuccess: (tag) => (tag === "ROLLBACK" ? Effect.fail(aborted(block)) : Effect.void),
        // Refused by the server: nothing is written. But a connection that is lost takes the answer with it.
        onFailure: (error) => {
          const { _tag, connection, outcome } = SqlReason.of(error)
          if (connection !== "destroy" || _tag === "CommitUnknown") return Effect.fail(error)
          return Effect.fail(outcome === "none" ? lostBeforeCommit(error) : unknownCommit(error))
        }
      })
    })
  })

const lostBeforeCommit = (by?: SqlError): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectionLost", { connection: "destroy", outcome: "rolledBack", retry: "T", cause: by?.cause }),
    "the connection was lost before COMMIT: nothing was written. Run the transaction again from its beginning"
  )

const unknownCommit = (by?: SqlError): SqlError => {
  const { cause, code } = SqlReason.of(by)
  return SqlReason.toError(
    SqlReason.make("CommitUnknown", {
      code,
      connection: "destroy",
      outcome: "unknown",
      retry: "R",
      cause: by && cause
    }),
    `COMMIT was sent and its answer did not come${by === undefined ? " in time" : ` (${by.message})`}: the transaction is either written or not. Look before you run it again`
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

const undo = <Conn>(block: Pin.Block<Conn>, connection: Conn, savepoint: string | undefined): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { pin } = block
    const { driver } = pin.router
    block.closed = true
    const inTransaction = () => {
      const state = driver.status(connection)
      return state === "transaction" || state === "failed"
    }
    const rollback = (connection: Conn) =>
      !inTransaction()
        ? Effect.void
        : savepoint === undefined
          ? command(block, connection, "ROLLBACK")
          : Effect.zipRight(
              command(block, connection, `ROLLBACK TO SAVEPOINT ${savepoint}`),
              command(block, connection, `RELEASE SAVEPOINT ${savepoint}`)
            )
    const later = () => {
      if (pin.lease?.connection === connection) pin.debts.push((connection) => Effect.asVoid(rollback(connection)))
    }
    // Interrupted while a statement runs: the caller does not wait for the server. The next user of the connection does
    // this first; if the pin ends with it, the pool aborts and resets the connection.
    if (driver.status(connection) === "busy" || pin.debts.length > 0) return Effect.sync(later)
    if (!inTransaction()) return Effect.void
    return bounded(Effect.ignore(rollback(connection)), pin.router.abortTimeout, Effect.sync(later))
  })
