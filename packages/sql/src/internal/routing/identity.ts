import type { SqlError } from "@effect/sql/SqlError"
import type { Signals } from "@sluice/pool/PoolOptions"
import { Effect, type Scope } from "effect"
import type { Driver, EndpointInfo } from "../../driver/Driver.js"
import type { Registered } from "./registry.js"

/**
 * Which server a pool has reached. Addresses do not tell: one server has many, and one address may lead to another server later.
 *
 * 1. The server is asked on the first connection of the pool, and on the first one after a connection was lost: then it may be
 *    another server, or the same one under another identity.
 * 2. A server that cannot tell does not fail the connect.
 * 3. Where nobody can tell, the addresses of this machine itself are the same address.
 */
export interface Identity<Conn> {
  /** Opens a connection, and asks the server if that is due. Fails when the pool is refused as a second one. */
  readonly connect: (signals: Signals) => Effect.Effect<Conn, SqlError, Scope.Scope>
  /** The server has answered, so that it need not be pinged. */
  readonly isKnown: () => boolean
}

const local = /^(.*@)(?:localhost|127(?:\.\d+){3}|::1|0\.0\.0\.0)(:\d+\/.*)$/i

/** The same for each name of this machine itself. */
export const address = (key: string): string => key.replace(local, "$1localhost$2")

/** Says once that a server does not take the writes that are sent to it, and again when that has changed in between. */
const readOnlyOf = <Conn>({ isReadOnly, name }: Driver<any, Conn>, label: string) => {
  let isSaid = false
  return (connection: Conn): Effect.Effect<void> =>
    Effect.suspend(() => {
      const was = isSaid
      isSaid = isReadOnly?.(connection) === true
      return isSaid && !was
        ? Effect.logWarning(
            `${name} at ${label}: this is the primary, and the server takes no writes: it is a standby, or read-only. Every write will fail with NotWritable. Give the address of the server that takes writes as primary (or url), and this one in replicas`
          )
        : Effect.void
    })
}

export const make = <Endpoint, Conn>(
  driver: Driver<Endpoint, Conn>,
  role: "primary" | "replica",
  { key, label }: EndpointInfo,
  registered: Registered,
  connect: (signals: Signals) => Effect.Effect<Conn, SqlError, Scope.Scope>
): Identity<Conn> => {
  let isAsked = false
  let identity: string | undefined
  let noted: string | undefined
  const tellIfReadOnly = readOnlyOf(driver, label)

  const ask = (connection: Conn): Effect.Effect<void, SqlError> =>
    Effect.gen(function* () {
      const found =
        driver.identity === undefined
          ? undefined
          : yield* Effect.catchIf(
              driver.identity(connection),
              () => driver.status(connection) !== "dead",
              () => Effect.succeed(undefined)
            )
      const next = found ?? address(key)
      if (next !== noted) yield* registered.isAt(next, noted)
      noted = next
      identity = found
      if (role === "primary") yield* tellIfReadOnly(connection)
    })

  return {
    connect: (signals) => {
      const lost = (tell: (cause: unknown) => void) => (cause: unknown) => {
        isAsked = false
        tell(cause)
      }
      return Effect.tap(
        connect({ ...signals, broken: lost(signals.broken), fatal: lost(signals.fatal) }),
        (connection) => {
          if (isAsked) return Effect.void
          // Connects that are under way at the same moment do not ask as well.
          isAsked = true
          return Effect.onError(ask(connection), () =>
            Effect.sync(() => {
              isAsked = false
            })
          )
        }
      )
    },
    isKnown: () => identity !== undefined
  }
}
