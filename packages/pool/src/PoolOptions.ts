/**
 * What a pool can be told, with units, defaults, ranges and worst cases.
 *
 * @since 0.1.0
 */
import { Context, type Duration, type Effect, type Schedule, type Scope } from "effect"
import * as OptionTable from "./OptionTable.js"
import type { PoolHooks } from "./PoolHooks.js"
import type { Holder, Leak, LeakKind } from "./PoolStats.js"
import type { Priority } from "./Priority.js"

/**
 * The state of a resource, as the option `status` tells it without I/O.
 *
 * - `clean`: can be handed to the next caller.
 * - `dirty`: works, but carries state of its last user: `reset` comes before the next caller.
 * - `busy`: still works for a caller that has left: `abort` comes first.
 * - `dead`: will never work again.
 *
 * @since 0.1.0
 * @category models
 */
export type ResourceStatus = "clean" | "dirty" | "busy" | "dead"

/**
 * What a leased resource is used for, as the option `inspect` tells it without I/O.
 *
 * - `kind`: see `LeakKind`.
 * - `since`: the instant of `Deadline` at which the last work on it has ended; 0 if there was none. Has no meaning while it is busy.
 * - `remoteId`: what the host calls the connection, such as the number of the process that serves it. Default unknown.
 *
 * @since 0.2.0
 * @category models
 */
export interface Inspection {
  readonly kind: Exclude<LeakKind, "unknown">
  readonly since: number
  readonly remoteId?: number | undefined
}

/**
 * What a failed connect means for the host.
 *
 * - `unreachable`: the host does not answer, or is starting or stopping. The pool retries with back-off while callers wait.
 * - `overloaded`: the host works but takes no more connections. The present size becomes a soft maximum, which rises
 *   by one with each connect that succeeds. Callers are served by the open connections.
 * - `rejected`: a wrong password, an unknown database. The pool retries at most once a second. While nothing is open, callers
 *   fail at once with `ConnectFailed`.
 *
 * @since 0.1.0
 * @category models
 */
export type ConnectFailureKind = "unreachable" | "overloaded" | "rejected"

/**
 * What a resource and its pool tell each other, at any time: that the resource is broken, for example when its socket emits
 * `close`, and that the pool ends.
 *
 * @since 0.1.0
 * @category models
 */
export interface Signals {
  /** The resource is broken: closed now if idle, on release if leased. Later calls do nothing. */
  readonly broken: (cause: unknown) => void
  /** As `broken`, and every other connection opened before now must prove that it works before it is handed out. */
  readonly fatal: (cause: unknown) => void
  /**
   * The pool drains or is closed, so nobody needs the place of this resource. Closing it may end as soon as the other side was
   * told. Before that, closing should wait until the other side counts it no more, because the pool opens another one then.
   */
  readonly isEnding: () => boolean
}

/**
 * Overload control. The pool is overloaded when all its connections are at work and the oldest waiter was never younger than
 * `target` for all of `interval`. Then waiters that are older than twice the target are shed: they fail with `PoolShed`. The
 * lowest class comes first, whatever its age, as long as a higher one is too old; class `critical` is never shed, nor are the last waiters, one for each connection and at least 4. So those who are served are served in time.
 *
 * **When to use** `on`, where callers can do without an answer, or come again later. `shadow`, the default, shows what it would do.
 *
 * - The target of a waiter is at most a quarter of the time that it has: of its acquire timeout, or of the rest until its deadline.
 * - Nobody is shed while connections are missing: while the pool grows, is suspended, or its host does not answer.
 * - Worst case: a waiter is shed at twice its target, or, when an overload begins, after `target + interval`.
 *
 * @since 0.2.0
 * @category models
 */
export interface SheddingConfig {
  /**
   * `on`; `shadow`: nobody is shed, and `stats.wouldShed` counts who would be; `off`: the age of the queue is not looked at. Default
   * `shadow`.
   */
  readonly mode?: "off" | "shadow" | "on" | undefined
  /** Unit: duration. Default 50 milliseconds. Range 1 millisecond to 1 hour. */
  readonly target?: Duration.DurationInput | undefined
  /** Unit: duration. Default 500 milliseconds. Range 1 millisecond to 1 hour. */
  readonly interval?: Duration.DurationInput | undefined
}

/**
 * The part of the options that is plain data.
 *
 * @since 0.1.0
 * @category models
 */
export interface PoolConfig {
  /** The name that errors use. Default `"pool"`. */
  readonly name?: string | undefined
  /** Connections at most, counting those being opened and closed. Default 10. Range 1 to 100,000. */
  readonly maxSize?: number | undefined
  /**
   * Connections that stay open although nobody needs them. The pool opens them one at a time in the background. Default 1 (or `maxSize`
   * if that is less). Range 0 to `maxSize`.
   */
  readonly minIdle?: number | undefined
  /**
   * Longest time one acquire may take: waiting, validating and connecting together. Absolute: set once, when the
   * acquire begins. An earlier `Deadline.CurrentDeadline` shortens it.
   *
   * - Unit: duration. Default 5 seconds. Range 1 millisecond to 1 hour.
   * - Fails with `AcquireTimeout`, which names the phase that used the time.
   */
  readonly acquireTimeout?: Duration.DurationInput | undefined
  /**
   * Longest time one connect may take. Default 5 seconds. Range 1 millisecond to 1 hour. Worst case: the attempt
   * counts towards `maxSize` for `connectTimeout + closeTimeout`.
   */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /** How long a connection above `minIdle` may stay unused. Default 5 minutes. Closes up to one second later. */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /**
   * When nobody has used the pool for so long, all of its connections are closed, also the `minIdle` ones, and none is opened before
   * somebody asks for one. For processes that a platform suspends, such as functions: see `FunctionPool`. Default: never. Range
   * 1 millisecond to 1 day. The next caller waits for a connect.
   */
  readonly closeWhenIdle?: Duration.DurationInput | undefined
  /**
   * Age at which a connection is replaced, less up to 20 % at random. Default 30 minutes. A pool replaces at most one
   * connection, or 10 % of them, in a thirtieth of this time: connections opened all at once may get a third older. A leased
   * connection is replaced when it is released.
   */
  readonly maxLifetime?: Duration.DurationInput | undefined
  /** Leases after which a connection is replaced. Default `Infinity`. Range 1 to `Infinity`. */
  readonly maxUses?: number | undefined
  /** Silence after which an idle connection is validated, less up to 10 % at random, one at a time. Default 1 minute. */
  readonly keepAlive?: Duration.DurationInput | undefined
  /**
   * A connection that was used or checked more recently than this is handed out without a check. Default 500 milliseconds.
   * 0: a check before every hand-out. A caller that joins the holders of a shared connection is handed none: it finds it at work.
   */
  readonly validateAfterIdle?: Duration.DurationInput | undefined
  /** Bound of one check. Default 1 second, or `acquireTimeout` if that is less. At most `acquireTimeout`. */
  readonly validateTimeout?: Duration.DurationInput | undefined
  /**
   * Callers that may wait, counting those for whom a connection is opened or checked. A guard for memory, not a way to
   * shed load. Default 10,000, or `1,000 × maxSize` if that is more. Range 1 to 10,000,000. When so many wait and one more
   * comes, the youngest waiter of the lowest class below its class fails with `PoolSaturated`; if there is none, the one that
   * came does.
   */
  readonly maxWaiters?: number | undefined
  /**
   * Connections that only callers of class `critical` may use; the others have the rest. Default 0. Range 0 to `maxSize − 1`. They
   * are opened when they are needed, like all others: to have one ready, raise `minIdle`.
   *
   * - A caller that is held back by it waits, and fails with `AcquireTimeout`, whose `heldBack` says `reserved`.
   * - With this or `classLimits` every acquire goes through the queue, which costs about a microsecond.
   */
  readonly reserved?: number | undefined
  /**
   * The share of `maxSize` that a class may hold at once, for example `{ background: 0.5 }`. Default: every class may hold all.
   * Range above 0 to 1; it must come to one connection at least. Rounded down.
   *
   * - A shared lease counts as its part of a connection: with `concurrency` 10, ten of them are one.
   * - A caller that is held back by it waits, lets other classes pass, and fails with `AcquireTimeout`, whose `heldBack` says
   *   `classLimit`.
   */
  readonly classLimits?: Partial<Readonly<Record<Priority, number>>> | undefined
  /** What the pool does when more work arrives than its connections finish. */
  readonly shedding?: SheddingConfig | undefined
  /**
   * The pause after a connect that failed, or whose connection was lost before its first use: the schedule takes one step for
   * each, with the failure as its input, and starts anew after a connection that was used or has passed a check.
   *
   * - Default `Backoff.standard`: exponential from 50 milliseconds to 1 second, each drawn from the upper half of its bound.
   * - A schedule that ends keeps its last pause. The pool never gives up.
   * - At least 1 millisecond and at most 1 hour; at least 1 second after a rejected login.
   */
  readonly backoff?: Schedule.Schedule<unknown, unknown> | undefined
  /**
   * With nothing open and every connect failing for this long, arriving acquires fail at once with
   * `ConnectUnavailable`; callers that wait already keep their places. Default 5 seconds. 0: never.
   */
  readonly failFastAfter?: Duration.DurationInput | undefined
  /** Bound of one `reset`. Default 1 second. */
  readonly resetTimeout?: Duration.DurationInput | undefined
  /** Bound of closing one connection. Default 1 second. After it the connection is counted as closed. */
  readonly closeTimeout?: Duration.DurationInput | undefined
  /** Bound of one `abort`. Default 2 seconds. After it the connection is closed. */
  readonly abortTimeout?: Duration.DurationInput | undefined
  /** How long leases may go on when the pool's scope closes. Default 10 seconds. 0: they are taken away at once. */
  readonly drainTimeout?: Duration.DurationInput | undefined
  /**
   * A lease that is held longer than this is reported once: as the event `Leak`, in `stats.leaks`, and as one line in the log at
   * WARN, with what the connection is used for, since when, and in which span it was acquired. Default 30 seconds. Range
   * 1 second to 1 day, or 0: never. Worst case: reported one second later. The time in which the process did not run does not
   * count.
   */
  readonly leakThreshold?: Duration.DurationInput | undefined
  /**
   * Takes a lease away once nothing was done with its connection for `leakThreshold`, less a tenth. The connection is closed, so that its place is
   * free, and what its holder does with it later fails. The release of the holder changes nothing, and is counted in
   * `stats.lateReleases`. Default `false`.
   *
   * - A connection that works, that is read as a stream, or that listens, is never taken away: see `inspect`. Without `inspect`
   *   nobody can tell, and each lease that is held for so long is taken away.
   * - Worst case: one second later. Of a shared connection only this holder's lease ends, and it closes when the others end.
   */
  readonly reclaim?: boolean | undefined
  /**
   * Notes for each lease where the program has asked for it, for the report of a lease that is held too long. Costs some
   * microseconds for each acquire. Default `false`.
   */
  readonly leakStack?: boolean | undefined
  /**
   * Names of spans that whoever makes the pool opens around its own work, for example `sql.execute`. A report about a lease
   * names the span around them, which is the user's. Default none.
   */
  readonly ownSpans?: ReadonlyArray<string> | undefined
  /** Holders that `Pool.share` puts on one connection at most. Default 1. Range 1 to 10,000. */
  readonly concurrency?: number | undefined
}

const { anything } = OptionTable

const sheddingTable: OptionTable.Table<SheddingConfig> = {
  mode: OptionTable.oneOf("off", "shadow", "on"),
  target: anything,
  interval: anything
}

/** `Pool.make` checks what the share comes to. */
const share = OptionTable.that("a number above 0 and at most 1", (u) => typeof u === "number" && u > 0 && u <= 1)

const classLimitsTable: OptionTable.Table<Required<NonNullable<PoolConfig["classLimits"]>>> = {
  critical: share,
  high: share,
  normal: share,
  low: share,
  background: share
}

/**
 * The names of `PoolConfig`. `Pool.make` checks the values.
 *
 * @since 0.2.0
 * @category tables
 */
export const configTable: OptionTable.Table<PoolConfig> = {
  name: anything,
  maxSize: anything,
  minIdle: anything,
  acquireTimeout: anything,
  connectTimeout: anything,
  idleTimeout: anything,
  closeWhenIdle: anything,
  maxLifetime: anything,
  maxUses: anything,
  keepAlive: anything,
  validateAfterIdle: anything,
  validateTimeout: anything,
  maxWaiters: anything,
  reserved: anything,
  classLimits: OptionTable.nested(classLimitsTable),
  shedding: OptionTable.nested(sheddingTable),
  backoff: anything,
  failFastAfter: anything,
  resetTimeout: anything,
  closeTimeout: anything,
  abortTimeout: anything,
  drainTimeout: anything,
  leakThreshold: anything,
  reclaim: OptionTable.flag,
  leakStack: OptionTable.flag,
  ownSpans: anything,
  concurrency: anything
}

/** How other pools call what `PoolConfig` has: Effect's own, `pg`, `mysql2`, tarn, generic-pool, Sequelize, Prisma, HikariCP. */
const otherNames: Readonly<Record<string, keyof PoolConfig>> = {
  max: "maxSize",
  size: "maxSize",
  poolSize: "maxSize",
  limit: "maxSize",
  connectionLimit: "maxSize",
  maxConnections: "maxSize",
  maxPoolSize: "maxSize",
  maximumPoolSize: "maxSize",
  min: "minIdle",
  minSize: "minIdle",
  minConnections: "minIdle",
  minPoolSize: "minIdle",
  minimumIdle: "minIdle",
  maxIdle: "minIdle",
  acquire: "acquireTimeout",
  timeout: "acquireTimeout",
  poolTimeout: "acquireTimeout",
  acquireTimeoutMillis: "acquireTimeout",
  connectionTimeout: "acquireTimeout",
  connectionTimeoutMillis: "acquireTimeout",
  waitForConnections: "acquireTimeout",
  createTimeoutMillis: "connectTimeout",
  loginTimeout: "connectTimeout",
  destroyTimeoutMillis: "closeTimeout",
  idle: "idleTimeout",
  idleTimeoutMillis: "idleTimeout",
  softIdleTimeoutMillis: "idleTimeout",
  ttl: "maxLifetime",
  timeToLive: "maxLifetime",
  connectionTTL: "maxLifetime",
  maxLifetimeSeconds: "maxLifetime",
  maxAge: "maxLifetime",
  queueLimit: "maxWaiters",
  maxWaitingClients: "maxWaiters",
  testOnBorrow: "validateAfterIdle",
  createRetryIntervalMillis: "backoff",
  leakDetectionThreshold: "leakThreshold",
  maxConnectionUsageTime: "leakThreshold",
  removeAbandoned: "reclaim",
  logAbandoned: "leakThreshold"
}

const none = (why: string): string => `leave it out, ${why}`

/**
 * What to use instead of the options of other pools: see `OptionTable.Elsewhere`. `prefix` stands before the names of
 * `PoolConfig`.
 *
 * @since 0.2.0
 * @category tables
 */
export const elsewhere = (prefix = ""): OptionTable.Elsewhere => ({
  ...Object.fromEntries(Object.entries(otherNames).map(([other, own]) => [other, `use ${prefix}${own}`])),
  evict: none("a pool looks for connections to close once a second"),
  reapIntervalMillis: none("a pool looks for connections to close once a second"),
  evictionRunIntervalMillis: none("a pool looks for connections to close once a second"),
  allowExitOnIdle: none("a pool lives as long as its scope"),
  fifo: none("waiters are served by priority and then in the order of asking"),
  propagateCreateError: none("a failed connect is retried with backoff, see failFastAfter"),
  create: "use connect",
  destroy: "use the scope of connect"
})

/**
 * Everything `Pool.make` takes.
 *
 * @since 0.1.0
 * @category models
 */
export interface PoolOptions<A, E, R> extends PoolConfig {
  /**
   * Opens one connection. Its scope ends when the pool closes the connection; finalizers are bounded by
   * `closeTimeout`. Runs in the pool's own fiber: a caller that leaves does not stop it.
   */
  readonly connect: (signals: Signals) => Effect.Effect<A, E, R | Scope.Scope>
  /** Asks the other side whether the connection works; a failure closes the connection. Without it connections are trusted. */
  readonly validate?: ((resource: A) => Effect.Effect<unknown, unknown, R>) | undefined
  /** Called before each hand-out and at each release; must not throw or block. Without it always `clean`. */
  readonly status?: ((resource: A) => ResourceStatus) | undefined
  /**
   * Cleans a `dirty` connection; a failure closes it. Without it a dirty connection is closed. `left` describes the lease that
   * left the connection dirty, as it was when it ended, for a warning to the program.
   */
  readonly reset?: ((resource: A, left: Holder) => Effect.Effect<unknown, unknown, R>) | undefined
  /**
   * Stops what a `busy` connection does and waits until it has stopped; a failure closes it. Also called on leased
   * connections when a drain runs out of time. Without it a busy connection is closed.
   */
  readonly abort?: ((resource: A) => Effect.Effect<unknown, unknown, R>) | undefined
  /** Whether `Pool.share` may put one more holder on a connection that has some. Default: always. Must not throw. */
  readonly admits?: ((resource: A) => boolean) | undefined
  /**
   * Whether the work on a shared connection has come to a standstill. Such a connection keeps its place, but the pool does not count
   * on it: a caller that waits has another one opened, if there is room. Default: never. Must not throw.
   */
  readonly stalls?: ((resource: A) => boolean) | undefined
  /** What a failed connect means. Default: everything is `unreachable`. */
  readonly classify?: ((error: E) => ConnectFailureKind) | undefined
  /**
   * What a leased connection is doing, for diagnosis. Errors say what helps against activities that begin with `idle in transaction`
   * or `reading a stream`.
   */
  readonly describe?: ((resource: A) => string | undefined) | undefined
  /** What a leased connection is used for, for the report of a lease that is held too long. Must not throw. */
  readonly inspect?: ((resource: A) => Inspection) | undefined
  /**
   * A lease was taken away: see `reclaim`. Called before the connection is closed, so that what its holder does with it from now on
   * fails with a reason. Must not throw.
   */
  readonly reclaimed?: ((resource: A, leak: Leak) => void) | undefined
  /** `closeWhenIdle` has closed the last connection. Must not throw. */
  readonly rested?: (() => void) | undefined
  /** What the program does when a connection is new, around each lease, and before a connection closes. Default nothing. */
  readonly hooks?: PoolHooks<A, E, R> | undefined
}

/**
 * What one acquire may say for itself. What it leaves out comes from the references of the fiber.
 *
 * A wrong value, such as `NaN` or an unknown priority, is a mistake in the program: the acquire dies with `InvalidOptions`.
 *
 * @since 0.1.0
 * @category models
 */
export interface AcquireOptions {
  /** Default `CurrentPriority`. */
  readonly priority?: Priority | undefined
  /**
   * Default `CurrentAcquireTimeout`, then the `acquireTimeout` of the pool. 0 or more: 0 takes what is idle and waits for
   * nothing, `Infinity` waits without a bound.
   */
  readonly acquireTimeout?: Duration.DurationInput | undefined
}

/**
 * How `Pool.shareAsync` begins its work. `resume` ends the lease and answers the caller. `answer` answers the caller earlier, for
 * example because its deadline has passed: then the lease goes on until `resume` is called, whose result nobody gets.
 *
 * @since 0.2.0
 * @category models
 */
export type Register<in A, out B, out E> = (
  resource: A,
  resume: (effect: Effect.Effect<B, E>) => void,
  answer: (effect: Effect.Effect<B, E>) => void
) => void

/**
 * The acquire timeout of every acquire in this fiber, instead of the pool's. Default: the pool's.
 *
 * @since 0.1.0
 * @category references
 */
export class CurrentAcquireTimeout extends Context.Reference<CurrentAcquireTimeout>()(
  "@sluice/pool/CurrentAcquireTimeout",
  { defaultValue: (): Duration.DurationInput | undefined => undefined }
) {}
