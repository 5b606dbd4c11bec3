import type { SqlError } from "@effect/sql/SqlError"
import { Effect, type Scope } from "effect"
import type { Driver, EndpointInfo, Signals } from "../../driver/Driver.js"
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

export const make = <Endpoint, Conn>(
  driver: Driver<Endpoint, Conn>,
  { key }: EndpointInfo,
  registered: Registered,
  connect: (signals: Signals) => Effect.Effect<Conn, SqlError, Scope.Scope>
): Identity<Conn> => {
  let isAsked = false
  let identity: string | undefined
  let noted: string | undefined

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
