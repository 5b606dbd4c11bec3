/**
 * All `Sql` services of the process, whoever has made them, and what each has done so far.
 *
 * @since 0.2.0
 */
import type { Pool } from "@sluice/pool/Pool"
import * as Registry from "@sluice/pool/Registry"
import { Effect, type Option } from "effect"
import type { ServerLoad } from "./driver/Driver.js"
import type { Service } from "./Sql.js"
import type { Tag } from "./SqlReason.js"
import type * as Topology from "./Topology.js"

export type {
  /**
   * What a server counts of the connections to it.
   *
   * @since 0.2.0
   * @category models
   */
  ServerLoad
} from "./driver/Driver.js"

/**
 * One `Sql` that is not closed.
 *
 * @since 0.2.0
 * @category models
 */
export interface Source {
  /** The name of its pools, or the label of the primary in the configuration if they have none. */
  readonly name: string
  /** `db.system.name` of OpenTelemetry, such as `postgresql`. `undefined`: the driver has none. */
  readonly system: string | undefined
  /** The database, `db.namespace` of OpenTelemetry. */
  readonly namespace: string | undefined
  /** Host, or path of the socket, of the primary in the configuration. */
  readonly address: string | undefined
  /** `undefined` for a socket. */
  readonly port: number | undefined
  readonly sql: Service
  /** Every endpoint once, in the order of the configuration. */
  readonly targets: ReadonlyArray<Target>
  /** Whether a server takes writes, as far as is known. No I/O. */
  readonly isWritable: () => boolean
  /** What it has done so far. */
  readonly totals: () => Totals
  /**
   * Calls `listener` at the end of each statement, until the function that this gives is called. It must not throw. While nobody listens a
   * statement pays one comparison.
   */
  readonly unsafeListen: (listener: (end: StatementEnd) => void) => () => void
  /**
   * Asks the server that takes the writes how many connections it has, on its control connection. `None`: the driver cannot ask, or the
   * server did not answer within the abort timeout of the pool.
   */
  readonly load: Effect.Effect<Option.Option<ServerLoad>>
  /** A text without its literals, which may be secrets, at most 4,096 characters. */
  readonly shown: (text: string) => string
}

/**
 * An endpoint, with its pool. The numbers are those of the moment at which they are read.
 *
 * @since 0.2.0
 * @category models
 */
export interface Target extends Topology.Target {
  readonly pool: Pool<unknown>
  /** Host, or path of the socket. */
  readonly address: string | undefined
  /** `undefined` for a socket. */
  readonly port: number | undefined
}

/**
 * Why a statement went to a primary or to a replica.
 *
 * - `write`: it was a write, or was not marked as a read.
 * - `read`: it was a read, and the router chose.
 * - `session`: it was a read that had to see more than any replica had, or everything, and there were replicas to read from.
 * - `lag_fallback`: the primary stands in for replicas, one of which is too far behind.
 * - `no_replica`: the primary stands in, because there is no replica that answers.
 *
 * @since 0.2.0
 * @category models
 */
export type RouteReason = "write" | "read" | "session" | "lag_fallback" | "no_replica"

/**
 * What came of one more execution. `denied`: there was none, because the retry budget was used up.
 *
 * @since 0.2.0
 * @category models
 */
export type RetryOutcome = "succeeded" | "failed" | "denied"

/**
 * Counts since the `Sql` was made. They only grow.
 *
 * @since 0.2.0
 * @category models
 */
export interface Totals {
  /** Where leases were asked for: one for each statement outside of `withConnection` and `withTransaction`, and for each of these. */
  readonly routes: Readonly<Record<"primary" | "replica", Readonly<Record<RouteReason, number>>>>
  /** By the reason for which the execution before had failed. Reasons without any are not in it. */
  readonly retries: Readonly<Partial<Record<Tag, Readonly<Record<RetryOutcome, number>>>>>
  /** Statements and commits that failed, by reason, as their callers have seen it: after the last retry. */
  readonly errors: Readonly<Partial<Record<Tag, number>>>
  /** How often another server, or none, has taken the writes. */
  readonly roleChanges: number
  /** Leases that were exchanged before a write, because they were older than the last change of the roles. */
  readonly fences: number
  /** Reads that shared their connection with others, and the writes to the socket in which they left. */
  readonly packed: number
  readonly batches: number
  /** Reads that were held up and sent on another connection as well. */
  readonly elsewhere: number
  /** Those that were not, because too many were already. */
  readonly elsewhereDenied: number
  /** How often a control connection was opened. */
  readonly controlConnects: number
  /** Statements that were cancelled on the server. */
  readonly cancels: number
}

/**
 * A statement has ended.
 *
 * @since 0.2.0
 * @category models
 */
export interface StatementEnd {
  /** The text as it was sent, without the values of its parameters. It may have literals: show only `Source.shown` of it. */
  readonly text: string
  /** Milliseconds from the call until the end, with everything that it has waited for and all retries. */
  readonly ms: number
  /** The tag of the reason for which it failed; `undefined` if it did not. */
  readonly error: Tag | undefined
  /** Its caller was interrupted. */
  readonly isInterrupted: boolean
  /** Where it ran last; `undefined` if it got no connection. */
  readonly target: Target | undefined
}

/** The number rises when the interfaces above change. */
const sources = Registry.make<Source>("@sluice/sql/open/1")

/**
 * Those that are not closed, in the order in which they were made.
 *
 * @see `Pools.all` of `@sluice/pool` for all pools, also those that belong to no `Sql`.
 * @since 0.2.0
 * @category observability
 */
export const all: Effect.Effect<ReadonlyArray<Source>> = Effect.sync(sources.all)

/**
 * Calls `attach` for each `Sql` of the process: for those that are open, and for each later one before its Layer connects. What
 * `attach` gives is called once: when the `Sql` has ended, or when the watch ends. The watch ends when the function that this gives is
 * called.
 *
 * **When to use:** to count or log what all databases of a program do, from one place.
 *
 * - Neither function may throw.
 *
 * @see `Pools.unsafeWatch` of `@sluice/pool` for pools, whatever they are of.
 * @since 0.2.0
 * @category observability
 */
export const unsafeWatch: (attach: (source: Source) => () => void) => () => void = sources.watch

/**
 * For what puts a driver on pools: the `Sql` is open until the function that this gives is called.
 *
 * @since 0.2.0
 * @category constructors
 */
export const add: (source: Source) => () => void = sources.add
