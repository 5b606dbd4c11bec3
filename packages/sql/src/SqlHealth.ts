/**
 * Whether the database can be worked with, and how soon: for health checks, and for refusing work before it begins. Nothing here takes a
 * connection of a pool, so it works while every connection is in use.
 *
 * @since 0.2.0
 */
import { Effect } from "effect"
import { Sql } from "./Sql.js"
import type { Forecast, Health } from "./SqlStats.js"

export type { Forecast, Health } from "./SqlStats.js"

/**
 * Whether the server that takes the writes works: it has sent something within the last second, or else it answers a probe on its
 * control connection.
 *
 * **When to use:** in a readiness check. A statement would wait behind all others.
 *
 * - Never fails. Not ready while the pool is suspended, drains or is closed.
 * - Worst case: 80 milliseconds, for a server that does not answer. Callers at the same time share one probe.
 *
 * @since 0.2.0
 * @category health
 */
export const health: Effect.Effect<Health, never, Sql> = Effect.flatMap(Sql, (sql) => sql.health)

/**
 * How long a statement of this fiber would wait for a connection if it came now, by its intent and its priority, and how long it may.
 *
 * **When to use:** to refuse work that would only wait in vain, before anything was done for it.
 *
 * - Acquires nothing and waits for nothing.
 *
 * @see `Pool.gauge` for what it is computed from.
 * @since 0.2.0
 * @category health
 */
export const forecast: Effect.Effect<Forecast, never, Sql> = Effect.flatMap(Sql, (sql) => sql.forecast)
