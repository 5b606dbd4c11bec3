import { SqlError } from "@effect/sql/SqlError"
import type { AcquireError, InvalidOptions } from "@sluice/pool/PoolError"
import type { ConnectFailureKind } from "@sluice/pool/PoolOptions"
import { invalidOptionsOf } from "../../driver/Classify.js"
import * as SqlReason from "../../SqlReason.js"

export const isSqlError = (u: unknown): u is SqlError => u instanceof SqlError

/** A failure of the pool or of the driver as the one error that `@effect/sql` knows. */
export const toSqlError = (error: AcquireError | SqlError): SqlError => {
  if (isSqlError(error)) return error
  switch (error._tag) {
    case "AcquireTimeout":
    case "PoolSaturated":
    case "PoolShed":
    case "PoolClosed":
    case "NestedAcquire":
    case "HookFailed":
      return fromPool(error._tag, error)
    // Never seen by a program: the route goes on with another pool. See `Route.goingOn`.
    case "Dismissed":
    case "ConnectUnavailable":
      return fromPool("DatabaseDown", error)
    case "ConnectFailed":
      return connectFailure(error.cause, `pool "${error.pool}"`)
  }
}

/** Why a connect failed: the reason of the driver, or, when the driver got no answer in time, one that is made here. */
export const connectFailure = (cause: unknown, where: string): SqlError => {
  if (isSqlError(cause)) return cause
  const message = cause instanceof Error ? cause.message : String(cause)
  return SqlReason.toError(
    SqlReason.make("ConnectFailed", { connection: "none", retry: "always", cause }),
    `cannot connect to ${where}: ${message}. ${
      message.includes("the hook onConnect")
        ? "Look for what the hook waits for"
        : "Check that the address is right and that no firewall swallows what is sent there"
    }`
  )
}

const fromPool = (tag: SqlReason.Tag, error: AcquireError): SqlError =>
  SqlReason.toError(SqlReason.make(tag, { connection: "none", cause: error }), error.message)

export const isAcquireError = (error: AcquireError | SqlError): error is AcquireError => !isSqlError(error)

export const invalidOptions: (error: InvalidOptions) => SqlError = invalidOptionsOf

export const invalidUse = (message: string): SqlError => SqlReason.toError(SqlReason.make("InvalidUse"), message)

/** What a failed connect means for a pool. It is read from the reason, so it is the same for every driver. */
export const connectFailureKind = (error: SqlError): ConnectFailureKind => {
  const reason = SqlReason.of(error)
  return reason._tag === "TooManyConnections" ? "overloaded" : reason.retry === "never" ? "rejected" : "unreachable"
}
