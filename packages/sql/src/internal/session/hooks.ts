/**
 * The hooks of a client, as those of its pools.
 */
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { PoolHooks } from "@sluice/pool/PoolHooks"
import { Cause, Effect, Exit, Option } from "effect"
import type { ConnectionState, Driver } from "../../driver/Driver.js"
import type * as SqlHooks from "../../SqlHooks.js"
import * as SqlReason from "../../SqlReason.js"
import { invalidUse, isSqlError } from "../client/errors.js"

/** What hooks need of the client, which is made after the pools that have them. */
export interface Core<Conn> {
  readonly client: SqlClient
  /** Runs an effect with its statements on this connection. Without one, each fails. `lost` is what a statement fails with. */
  readonly inside: (
    connection: Conn | undefined,
    lost: (by?: SqlError) => SqlError
  ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

export type OfPool<Conn> = (where: SqlHooks.Where) => PoolHooks<Conn, SqlError> | undefined

/** The hooks of each pool. `client` gives the client, once there is one: then it must not suspend its fiber. */
export const make = <Conn>(
  driver: Driver<any, Conn>,
  hooks: SqlHooks.SqlHooks | undefined,
  client: Effect.Effect<Core<Conn>>
): OfPool<Conn> => {
  if (hooks === undefined) return () => undefined
  const { afterAcquire, afterRelease, beforeAcquire, beforeClose, onConnect } = hooks
  const withoutStatements = (hook: string, effect: () => Effect.Effect<unknown, unknown>) =>
    Effect.flatMap(client, ({ inside }) => inside(undefined, () => noStatements(hook))(Effect.suspend(effect)))
  return (where) => ({
    onConnect:
      onConnect === undefined
        ? undefined
        : (connection) => {
            // Only the driver knows which reset has made the session new.
            if (!driver.baseline.isMissing(connection)) return Effect.void
            return Effect.flatMap(client, (core) => prepare(driver, core, onConnect, connection, where))
          },
    beforeAcquire:
      beforeAcquire === undefined ? undefined : () => withoutStatements("beforeAcquire", () => beforeAcquire(where)),
    afterAcquire:
      afterAcquire === undefined
        ? undefined
        : (elapsedMs) => withoutStatements("afterAcquire", () => afterAcquire(elapsedMs, where)),
    afterRelease:
      afterRelease === undefined
        ? undefined
        : (heldMs) => withoutStatements("afterRelease", () => afterRelease(heldMs, where)),
    beforeClose:
      beforeClose === undefined
        ? undefined
        : (reason) => withoutStatements("beforeClose", () => beforeClose(reason, where))
  })
}

/** Runs `onConnect`, and makes what it leaves the clean state of the session. */
const prepare = <Conn>(
  driver: Driver<any, Conn>,
  { client, inside }: Core<Conn>,
  onConnect: (connection: SqlHooks.Connection) => Effect.Effect<unknown, unknown>,
  connection: Conn,
  where: SqlHooks.Where
): Effect.Effect<void, SqlError> => {
  const at = `${driver.name} at ${where.endpoint}`
  const lost = (by?: SqlError) =>
    failed("ConnectionLost", at, `the connection was lost${by === undefined ? "" : ` (${by.message})`}`, "always", by)
  const hook = Effect.suspend(() => {
    const effect: unknown = onConnect({ ...where, sql: client })
    return Effect.isEffect(effect)
      ? (effect as Effect.Effect<unknown, unknown>)
      : Effect.dieMessage(`it must give an effect, and it gave ${typeof effect}`)
  })
  return Effect.flatMap(Effect.exit(inside(connection, lost)(hook)), (exit) => {
    if (Exit.isFailure(exit)) {
      return Cause.isInterruptedOnly(exit.cause) ? Effect.interrupt : Effect.fail(failureOf(exit.cause, at))
    }
    const state = driver.status(connection)
    if (state === "dead") return Effect.fail(lost())
    if (leftBehind[state] !== undefined) return Effect.fail(failed("ConnectFailed", at, leftBehind[state], "never"))
    const problem = driver.baseline.set(connection)
    return problem === undefined ? Effect.void : Effect.fail(failed("ConnectFailed", at, problem, "never"))
  })
}

const leftBehind: { readonly [S in ConnectionState]?: string } = {
  busy: "it has left a statement running: wait for the end of each",
  transaction: "it has left a transaction open: end it",
  failed: "it has left a failed transaction open: end it"
}

const failed = (
  tag: SqlReason.Tag,
  at: string,
  why: string,
  retry: "always" | "never",
  by?: SqlError | Error
): SqlError =>
  SqlReason.toError(
    SqlReason.make(tag === "ConnectionLost" ? "ConnectFailed" : tag, {
      connection: "none",
      retry,
      code: isSqlError(by) ? SqlReason.of(by).code : undefined,
      cause: isSqlError(by) ? by.cause : by
    }),
    `${at}: no connection, because the hook onConnect has failed: ${why}`
  )

/** Only what the server may answer otherwise the next time is worth another attempt. */
const failureOf = (cause: Cause.Cause<unknown>, at: string): SqlError => {
  const failure = Option.getOrUndefined(Cause.failureOption(cause)) ?? Cause.squash(cause)
  const message =
    typeof failure === "object" && failure !== null && "message" in failure ? String(failure.message) : String(failure)
  const isWorthIt = isSqlError(failure) && SqlReason.of(failure).retry !== "never"
  return failed("ConnectFailed", at, message, isWorthIt ? "always" : "never", failure as Error)
}

const noStatements = (hook: string): SqlError =>
  invalidUse(
    `a statement inside of the hook ${hook}: it would need another connection of the same pool. Only onConnect has one; run the statement beside the hook`
  )
