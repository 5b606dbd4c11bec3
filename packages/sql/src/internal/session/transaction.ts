import type { SqlError } from "@effect/sql/SqlError"
import { type Cause, Effect } from "effect"
import type { BeginOptions } from "../../driver/Driver.js"
import * as SqlReason from "../../SqlReason.js"
import type { Restore } from "../client/contexts.js"
import { invalidUse } from "../client/errors.js"
import type { Intent } from "../routing/intent.js"
import * as Bounded from "./bounded.js"
import { aborted, commit, outOfTime } from "./commit.js"
import * as Connection from "./connection.js"
import { lostBeforeCommit } from "./failures.js"
import { type Call, markNotBegun } from "./options.js"
import * as Pin from "./pin.js"
import { rollBack } from "./rollback.js"
import * as Statement from "./statement.js"

/** Puts the block of a transaction into the context of its body. */
type Enter<Conn> = <A, E, R>(
  body: Effect.Effect<A, E, R>,
  block: Pin.Block<Conn>,
  restore: Restore
) => Effect.Effect<A, E, R>

/**
 * A transaction on a root block, or a savepoint inside a transaction, for the holder of the lock of `outer`: siblings on
 * one connection come one after the other instead of into each other. To be run where nothing can interrupt; what may be
 * interrupted is in `restore`.
 *
 * `isLazy`: a pin without a connection takes it at the first statement of the transaction and not before its body.
 */
export const run = <Conn, A, E, R>(
  outer: Pin.Block<Conn>,
  intent: Intent | undefined,
  call: Call,
  enter: Enter<Conn>,
  body: Effect.Effect<A, E, R>,
  restore: Restore,
  isLazy = false
): Effect.Effect<A, E | SqlError, R> =>
  Effect.flatMap(restore(open(outer, intent, call, isLazy)), ({ block, savepoint }) => {
    const { cluster } = block.pin
    const end = savepoint === undefined ? commit(block, call) : releaseSavepoint(block, savepoint, call)
    /** The failure of the body, or of the COMMIT, is what the caller sees, whatever becomes of the rollback. */
    const onFailure = (cause: Cause.Cause<E | SqlError>) =>
      Effect.zipRight(rollBack(block, savepoint, call.deadline), Effect.failCause(cause))
    const entered: Effect.Effect<A, E | SqlError, R> =
      call.options.timeout === undefined
        ? enter(body, block, restore)
        : restore(
            Bounded.interruptAt(
              cluster.timers,
              call.deadline,
              // The body has a fiber of its own then, and it is the context of that fiber which `enter` changes.
              Effect.uninterruptibleMask((restore) => enter(body, block, restore)),
              () => outOfTime(call)
            )
          )
    return Effect.matchCauseEffect(entered, {
      onFailure,
      onSuccess: (value) =>
        Effect.matchCauseEffect(
          block.lock.held || !Connection.isReady(block)
            ? // Waits, interruptibly, for statements of other fibers of this transaction; then cannot be interrupted.
              restore(
                Statement.exclusively(
                  block,
                  () => Effect.zipRight(Connection.cleanUp(block.pin, call.deadline), end),
                  Statement.boundOf(cluster, call.deadline)
                )
              )
            : end,
          { onFailure, onSuccess: () => Effect.succeed(value) }
        )
    })
  })

/** BEGIN, and the statement that came with it, did nothing that could be lost with its answer. */
export const failedToBegin = (error: SqlError): SqlError => {
  const reason = SqlReason.of(error)
  return reason.connection === "destroy" && reason.retry === "idempotent"
    ? SqlReason.toError({ ...reason, outcome: "none", retry: "always", cause: error.cause }, error.message)
    : error
}

interface Opened<Conn> {
  readonly block: Pin.Block<Conn>
  /** `undefined`: not a savepoint, but the whole transaction. */
  readonly savepoint: string | undefined
}

const open = <Conn>(
  outer: Pin.Block<Conn>,
  intent: Intent | undefined,
  call: Call,
  isLazy: boolean
): Effect.Effect<Opened<Conn>, SqlError> => {
  const { pin, transaction: inside } = outer
  const { options } = call
  if (inside === undefined) {
    const begin: BeginOptions = {
      isolation: options.isolation,
      // Unsaid, it is the server's: a standby refuses BEGIN READ WRITE, and a transaction that only reads would fail there.
      readOnly: options.readOnly ?? (intent === "read" ? true : undefined),
      deferrable: options.deferrable
    }
    const opened = (): Opened<Conn> => {
      pin.opening = { statements: pin.cluster.driver.begin(begin), isDone: false }
      return { block: Pin.makeBlock(pin, { ...begin, depth: 0, failedBy: undefined }), savepoint: undefined }
    }
    // The pin is the program's own, and takes its connection at its first statement, which may be one of this transaction.
    if (isLazy && pin.lease === undefined) return Effect.sync(opened)
    return Effect.mapBoth(Connection.connect(outer, intent, call.deadline), {
      onFailure: (error) => {
        markNotBegun(error, call)
        return error
      },
      onSuccess: opened
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
    Statement.ofHolder(outer, intent, call.deadline, (connection, before) =>
      pin.cluster.driver.execute(connection, `SAVEPOINT ${savepoint}`, [], "command", before, call.deadline)
    ),
    () => ({ block: Pin.makeBlock(pin, { ...inside, depth: inside.depth + 1, failedBy: undefined }), savepoint })
  )
}

/** The successful end of a savepoint. */
const releaseSavepoint = <Conn>(block: Pin.Block<Conn>, savepoint: string, call: Call): Effect.Effect<void, SqlError> =>
  Effect.suspend(() => {
    const { cluster, lease } = block.pin
    block.closed = true
    if (lease === undefined) return Effect.fail(lostBeforeCommit())
    const { driver } = cluster
    return driver.status(lease.connection) === "failed"
      ? Effect.fail(aborted(block))
      : Effect.asVoid(
          driver.execute(lease.connection, `RELEASE SAVEPOINT ${savepoint}`, [], "command", undefined, call.deadline)
        )
  })
