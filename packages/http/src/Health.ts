/**
 * Health checks: whether this process answers, and whether its database does. Neither takes a connection of the pool, so both answer while
 * every connection is in use and others wait.
 *
 * @since 0.2.0
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Sql from "@sluice/sql/Sql"
import * as SqlHealth from "@sluice/sql/SqlHealth"
import { Effect } from "effect"

/**
 * What a check says.
 *
 * @since 0.2.0
 * @category models
 */
export interface Check {
  readonly isOk: boolean
  /** Why not; `undefined` if it is. Names no host, so everybody may read it. */
  readonly reason: string | undefined
}

/**
 * This process answers. It asks nobody, so that a database that is down restarts no process.
 *
 * **When to use:** as a liveness check.
 *
 * @see `ready` for the database.
 * @since 0.2.0
 * @category checks
 */
export const live: Effect.Effect<Check> = Effect.succeed({ isOk: true, reason: undefined })

/**
 * Requests that use the database can be served: the server that takes the writes has sent something within the last second, or answers a
 * probe on its control connection. A pool that drains is not ready, so that no new requests are sent to a process that ends.
 *
 * **When to use:** as a readiness check.
 *
 * - Never fails, and takes no connection of the pool.
 * - Worst case: 80 milliseconds, for a server that does not answer.
 *
 * @see `live` for a check that says nothing about the database.
 * @since 0.2.0
 * @category checks
 */
export const ready: Effect.Effect<Check, never, Sql.Sql> = Effect.map(SqlHealth.health, ({ isReady, reason }) => ({
  isOk: isReady,
  reason
}))

/**
 * A check as plain data for a response: 200, or 503 with the reason.
 *
 * @since 0.2.0
 * @category conversions
 */
export const toResponse = ({
  isOk,
  reason
}: Check): { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string } => ({
  status: isOk ? 200 : 503,
  headers: { "content-type": "application/json", "cache-control": "no-store" },
  body: JSON.stringify(isOk ? { status: "ok" } : { status: "unavailable", reason })
})

const answered = <R>(
  check: Effect.Effect<Check, never, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R> =>
  Effect.map(check, (check) => {
    const { body, headers, status } = toResponse(check)
    return HttpServerResponse.text(body, { status, headers })
  })

/**
 * `GET /live` and `GET /ready`.
 *
 * **When to use:** with `HttpRouter.mount("/health", Health.router)`. Leave them outside of `RequestConnection`: a check needs no connection, and
 * the door must not refuse it.
 *
 * @since 0.2.0
 * @category routes
 */
export const router: HttpRouter.HttpRouter<never, Sql.Sql> = HttpRouter.empty.pipe(
  HttpRouter.get("/live", answered(live)),
  HttpRouter.get("/ready", answered(ready))
)
