/**
 * SQL on one shared pool: the service, and its verbs.
 *
 * A statement outside of `withConnection` and `withTransaction` leases a connection for itself, or, where the driver can and
 * it is a short read, with others of its kind. Inside, every
 * statement runs on one connection, one after another in the order of asking. Intent, priority, acquire timeout and
 * deadline travel in the fiber's context: set them once, and everything beneath follows.
 *
 * @since 0.1.0
 */
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import * as Pool from "@sluice/pool/Pool"
import type { PoolEvent } from "@sluice/pool/PoolEvent"
import type { PoolStats } from "@sluice/pool/PoolStats"
import * as Priority from "@sluice/pool/Priority"
import { Context, DateTime, type Duration, Effect, type Fiber, Stream } from "effect"
import type { BeginOptions } from "./driver/Driver.js"
import { Idempotent } from "./internal/client/retry.js"
import { CurrentIntent, type Intent } from "./internal/routing/router.js"
import * as SqlRetry from "./SqlRetry.js"

/**
 * What `withConnection` can be told.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConnectionOptions {
  /** Longest wait for the connection. Default: `withAcquireTimeout`, then the pool's. */
  readonly acquireTimeout?: Duration.DurationInput | undefined
  /** Default: `withPriority`, then `normal`. */
  readonly priority?: Priority.Priority | undefined
  /** `read`: a replica will do, until the first `Sql.write`. Default: `Sql.read` or `Sql.write` around it, then `write`. */
  readonly intent?: "read" | "write" | undefined
}

/**
 * What `withTransaction` can be told. Nested transactions are savepoints: isolation and access mode are those of the
 * outermost one, and asking for others fails with `InvalidUse`.
 *
 * @since 0.1.0
 * @category models
 */
export interface TransactionOptions extends BeginOptions {
  /** Default: the server's. */
  readonly isolation?: BeginOptions["isolation"]
  /** Default: false; inside of `Sql.read`: true. */
  readonly readOnly?: boolean | undefined
  /** With `serializable` and `readOnly`: wait for a snapshot that cannot fail. Default false. PostgreSQL only. */
  readonly deferrable?: boolean | undefined
  /**
   * Longest wait for the answer to COMMIT, which cannot be interrupted.
   *
   * - Unit: duration. Default 30 seconds. Fails with `CommitUnknown`.
   */
  readonly commitTimeout?: Duration.DurationInput | undefined
  /**
   * Runs the whole transaction again, body included, when it was rolled back for a reason that passes: a serialization
   * failure or a deadlock up to 5 times after 5 to 50 milliseconds, a connection lost before COMMIT up to 2 times. Never after
   * `CommitUnknown`. `true` is `SqlRetry.standard`. Default false: only what failed before the body began is tried again. In
   * a nested one it means nothing: the outermost decides.
   */
  readonly retry?: boolean | SqlRetry.Policy | undefined
  /**
   * Longest time for everything: connection, BEGIN, body, COMMIT, rollback and all further runs. The caller waits for no
   * rollback beyond it.
   *
   * - Unit: duration. Default none. Fails with `StatementTimeout`, while waiting for a connection with `AcquireTimeout`,
   *   while COMMIT is under way with `CommitUnknown`.
   * - Worst case: longer by what the body's own finalizers take.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * Asks the server for the identity of the transaction before COMMIT, so that the `verify` of a `CommitUnknown` can find out
   * what became of it. Costs one round trip for each transaction: an identity that is sent together with the answer of COMMIT
   * would be lost together with it. Default false. PostgreSQL only.
   */
  readonly verifyCommit?: boolean | undefined
}

/**
 * What `query` can be told.
 *
 * @since 0.1.0
 * @category models
 */
export interface QueryOptions {
  /** Whether the statement may be prepared by name and kept by the server for the next time. Default true. */
  readonly prepare?: boolean | undefined
}

/**
 * The pools behind `Sql`, at one moment.
 *
 * @since 0.1.0
 * @category models
 */
export interface SqlStats {
  readonly write: PoolStats & { readonly endpoint: string }
  /** One for each replica. Empty when there is none: then reads are part of `write`. */
  readonly read: ReadonlyArray<PoolStats & { readonly endpoint: string }>
  /**
   * The control connection of each endpoint, which no pool counts: opened to cancel a statement, where the database needs a
   * connection for that (MySQL), and kept for 10 seconds after.
   */
  readonly control: ReadonlyArray<{
    readonly endpoint: string
    /** 0 or 1. */
    readonly open: number
    /** How often it was opened, since the beginning. */
    readonly connects: number
  }>
}

/**
 * An event and the pool it happened in.
 *
 * @since 0.1.0
 * @category models
 */
export interface SqlEvent {
  /** Name of the pool. */
  readonly pool: string
  readonly event: PoolEvent
}

/**
 * The service.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** The same connections as a client of `@effect/sql`. */
  readonly client: SqlClient
  readonly query: (
    text: string,
    params: ReadonlyArray<unknown>,
    prepare: boolean
  ) => Effect.Effect<ReadonlyArray<any>, SqlError>
  readonly withConnection: (
    options: ConnectionOptions
  ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly withTransaction: (
    options: TransactionOptions
  ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
  readonly retry: (policy: SqlRetry.Policy) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly stats: Effect.Effect<SqlStats>
  readonly events: Stream.Stream<SqlEvent>
  readonly drain: (options?: {
    readonly within?: Duration.DurationInput | undefined
  }) => Effect.Effect<ReadonlyArray<Pool.DrainReport>>
  readonly reset: (options?: { readonly spread?: Duration.DurationInput | undefined }) => Effect.Effect<void>
  readonly suspend: (options?: { readonly atMost?: Duration.DurationInput | undefined }) => Effect.Effect<void>
  readonly resume: Effect.Effect<void>
}

/**
 * The tag of the service. A driver's Layer provides it, for example `PgSql.layer` of `@sluice/sql-pg`.
 *
 * @since 0.1.0
 * @category tags
 */
export class Sql extends Context.Tag("@sluice/sql/Sql")<Sql, Service>() {}

/**
 * Runs one statement and gives its rows.
 *
 * - `params` stand for the driver's placeholders: `$1`, `$2` for PostgreSQL, `?` for MySQL.
 * - Fails with a `SqlError`; `SqlReason.of` says why.
 * - Interruption: at any moment. What the server is doing is cancelled there, and the caller does not wait for that.
 *
 * @example
 * ```ts
 * import { Sql } from "@sluice/sql"
 *
 * const payment = (id: string) => Sql.query<{ state: string }>("select state from payments where id = $1", [id])
 * ```
 *
 * @since 0.1.0
 * @category statements
 */
export const query = <A extends object = Record<string, unknown>>(
  text: string,
  params: ReadonlyArray<unknown> = [],
  options?: QueryOptions
): Effect.Effect<ReadonlyArray<A>, SqlError, Sql> =>
  // Not `flatMap` of the tag: three steps of the fiber, and a short statement has fifteen.
  Effect.withFiberRuntime((fiber: Fiber.RuntimeFiber<ReadonlyArray<A>, SqlError>) =>
    Context.unsafeGet(fiber.currentContext as Context.Context<Sql>, Sql).query(text, params, options?.prepare !== false)
  )

// One signature instead of two overloads: only so does `effect.pipe(Sql.withConnection)` keep its types.
/**
 * Every statement inside runs on one connection. It is acquired at the first statement, once, and nested ones join it; an
 * effect without statements costs nothing.
 *
 * - Fails as its statements do: an acquire that fails is the failure of the first statement.
 * - Interruption: at any moment; the connection is given back at once, and a running statement is cancelled.
 * - A fiber that outlives it goes on with connections of the pool.
 * - If the connection is lost, the next statement gets another one, unless the session had been changed (SET, temporary
 *   tables): then it fails with `ConnectionLost`.
 * - While a stream is read inside, other statements inside get connections of their own.
 *
 * @example
 * ```ts
 * import { Sql } from "@sluice/sql"
 * import { Effect } from "effect"
 *
 * const report = Effect.gen(function*() {
 *   yield* Sql.query("create temporary table totals as select sum(amount) as sum from payments")
 *   return yield* Sql.query<{ sum: string }>("select sum from totals")
 * }).pipe(Sql.withConnection({ acquireTimeout: "1 second" }))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const withConnection: <Arg extends Effect.Effect<any, any, any> | ConnectionOptions>(
  effectOrOptions: Arg
) => Arg extends Effect.Effect<infer A, infer E, infer R>
  ? Effect.Effect<A, E, R | Sql>
  : <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R | Sql> = ((arg: any) =>
  Effect.isEffect(arg)
    ? Effect.flatMap(Sql, (sql) => sql.withConnection({})(arg))
    : (effect: Effect.Effect<any, any, any>) => Effect.flatMap(Sql, (sql) => sql.withConnection(arg)(effect))) as any

/**
 * Everything inside is written together, or not at all. Nested ones are savepoints; those of one connection run one after
 * the other, also when they are started at once.
 *
 * - Fails with a `SqlError` when BEGIN or COMMIT fails; a failure of `effect` passes unchanged, whatever becomes of the
 *   ROLLBACK. A transaction whose failed statement was caught fails with `TransactionAborted`: nothing was written.
 * - Interruption: at any moment but one: once COMMIT is sent its answer is awaited, at most `commitTimeout`. A running
 *   statement is cancelled and the transaction rolled back; the caller does not wait for either.
 * - A fiber that outlives it gets `InvalidUse` from its next statement.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withTransaction: <Arg extends Effect.Effect<any, any, any> | TransactionOptions>(
  effectOrOptions: Arg
) => Arg extends Effect.Effect<infer A, infer E, infer R>
  ? Effect.Effect<A, E | SqlError, R | Sql>
  : <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R | Sql> = ((arg: any) =>
  Effect.isEffect(arg)
    ? Effect.flatMap(Sql, (sql) => sql.withTransaction({})(arg))
    : (effect: Effect.Effect<any, any, any>) => Effect.flatMap(Sql, (sql) => sql.withTransaction(arg)(effect))) as any

const withIntent =
  (intent: Intent) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, CurrentIntent, intent)

/**
 * The statements inside only read: a replica may answer them. Statements that say nothing go to the primary; the text of
 * a statement never decides. A transaction inside is begun READ ONLY.
 *
 * @since 0.1.0
 * @category combinators
 */
export const read: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = withIntent("read")

/**
 * The statements inside write: they go to the primary. A connection that was pinned for reading is exchanged for one on
 * the primary; inside a read-only transaction this fails with `InvalidUse`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const write: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = withIntent("write")

/**
 * Runs all of `effect` again when it fails in a way that the policy allows, within the budget of this `Sql` and before the
 * deadline: see `SqlRetry`. What is tried again inside counts as a run of this one.
 *
 * - Whatever `effect` has done before its failure it does again.
 * - An unknown outcome is tried again only when `Sql.read` or `Sql.idempotent` is around all of this.
 * - Inside of a transaction it runs once: only the outermost `withTransaction({ retry })` can run that again.
 * - The last failure, when it is a `SqlError`, says in `SqlReason.of(error).attempts` how often it was tried.
 *
 * @since 0.1.0
 * @category combinators
 */
export const retry =
  (policy: SqlRetry.Policy = SqlRetry.standard) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Sql> =>
    Effect.flatMap(Sql, (sql) => sql.retry(policy)(effect))

/**
 * The statements inside may be executed twice, without harm: one whose answer was lost is tried again. A COMMIT whose answer
 * was lost is not.
 *
 * @since 0.1.0
 * @category combinators
 */
export const idempotent = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, Idempotent, true)

/**
 * Who is served first when all connections are in use. Default `normal`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withPriority: (
  priority: Priority.Priority
) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = Priority.withPriority

/**
 * Longest wait for a connection, for everything inside. Default: the pool's `acquireTimeout`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withAcquireTimeout =
  (duration: Duration.DurationInput) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, Pool.CurrentAcquireTimeout, duration)

/**
 * The moment after which nobody awaits the work inside: nothing waits for a connection beyond it. It does not stop
 * statements that run; an `Effect.timeout` around the work does.
 *
 * - `instant`: a `Date`, a `DateTime`, or milliseconds since the epoch.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withDeadline =
  (instant: DateTime.DateTime | Date | number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.clockWith((clock) => {
      const millis =
        typeof instant === "number"
          ? instant
          : instant instanceof Date
            ? instant.getTime()
            : DateTime.toEpochMillis(instant)
      return Deadline.until(Deadline.ofEpochMillis(clock, millis))(effect)
    })

/**
 * The pools now: `size`, `available`, `using`, `waiting` and the rest of `PoolStats`, for writes and for each replica.
 *
 * @since 0.1.0
 * @category observability
 */
export const stats: Effect.Effect<SqlStats, never, Sql> = Effect.flatMap(Sql, (sql) => sql.stats)

/**
 * What happens in the pools from now on. Costs nothing while nobody listens.
 *
 * @since 0.1.0
 * @category observability
 */
export const events: Stream.Stream<SqlEvent, never, Sql> = Stream.unwrap(Effect.map(Sql, (sql) => sql.events))

/**
 * Closes the pools for good: see `Pool.drain`.
 *
 * @since 0.1.0
 * @category control
 */
export const drain = (options?: {
  readonly within?: Duration.DurationInput | undefined
}): Effect.Effect<ReadonlyArray<Pool.DrainReport>, never, Sql> => Effect.flatMap(Sql, (sql) => sql.drain(options))

/**
 * Replaces every open connection: see `Pool.reset`.
 *
 * @since 0.1.0
 * @category control
 */
export const reset = (options?: {
  readonly spread?: Duration.DurationInput | undefined
}): Effect.Effect<void, never, Sql> => Effect.flatMap(Sql, (sql) => sql.reset(options))

/**
 * No connection is leased until `resume`; statements wait, up to their acquire timeouts: see `Pool.suspend`.
 *
 * @since 0.1.0
 * @category control
 */
export const suspend = (options?: {
  readonly atMost?: Duration.DurationInput | undefined
}): Effect.Effect<void, never, Sql> => Effect.flatMap(Sql, (sql) => sql.suspend(options))

/**
 * Ends a `suspend`.
 *
 * @since 0.1.0
 * @category control
 */
export const resume: Effect.Effect<void, never, Sql> = Effect.flatMap(Sql, (sql) => sql.resume)
