/**
 * SQL on one shared pool: the service, and its verbs.
 *
 * A statement outside of `withConnection` and `withTransaction` leases a connection for itself. A short read may share a
 * connection with others of its kind, where the driver can do that. Inside of them every statement runs on one connection, one
 * after another in the order of asking. Intent, priority, acquire timeout and deadline travel in the fiber's context: a program
 * sets them once for everything beneath.
 *
 * @since 0.1.0
 */
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import type * as FunctionPool from "@sluice/pool/FunctionPool"
import * as OptionTable from "@sluice/pool/OptionTable"
import * as Pool from "@sluice/pool/Pool"
import * as Priority from "@sluice/pool/Priority"
import { Context, DateTime, type Duration, Effect, type Fiber, type Schedule, type Scope, Stream } from "effect"
import type { Executed } from "./driver/Driver.js"
import { invalidUse } from "./internal/client/errors.js"
import * as Origins from "./internal/client/origins.js"
import { Idempotent } from "./internal/client/references.js"
import { CurrentIntent, type Intent } from "./internal/routing/intent.js"
import type { ConnectionOptions, QueryOptions, TransactionOptions } from "./SqlOptions.js"
import * as SqlRetry from "./SqlRetry.js"
import type { Forecast, Health, SqlEvent, SqlStats } from "./SqlStats.js"

export type { Consistency } from "./Consistency.js"
export {
  /**
   * What the reads inside must have seen: see `Consistency`.
   *
   * @since 0.2.0
   * @category combinators
   */
  withConsistency
} from "./Consistency.js"
export type { Executed } from "./driver/Driver.js"
export type { ConnectionOptions, QueryOptions, TransactionOptions } from "./SqlOptions.js"
export type { SqlEvent, SqlStats } from "./SqlStats.js"

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
  readonly execute: (
    text: string,
    params: ReadonlyArray<unknown>,
    prepare: boolean
  ) => Effect.Effect<Executed, SqlError>
  readonly withConnection: (
    options: ConnectionOptions
  ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
  readonly connectionScoped: (
    options: ConnectionOptions
  ) => Effect.Effect<<A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>, SqlError, Scope.Scope>
  readonly withTransaction: (
    options: TransactionOptions
  ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
  readonly retry: (
    policy?: Schedule.Schedule<any, any>
  ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
  readonly consistencyToken: Effect.Effect<string | undefined, SqlError>
  readonly health: Effect.Effect<Health>
  readonly forecast: Effect.Effect<Forecast>
  readonly stats: Effect.Effect<SqlStats>
  readonly events: Stream.Stream<SqlEvent>
  readonly drain: (options?: {
    readonly within?: Duration.DurationInput | undefined
  }) => Effect.Effect<ReadonlyArray<Pool.DrainReport>>
  readonly reset: (options?: { readonly spread?: Duration.DurationInput | undefined }) => Effect.Effect<void>
  readonly suspend: (options?: { readonly atMost?: Duration.DurationInput | undefined }) => Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  readonly functionPool: Effect.Effect<FunctionPool.FunctionPool, SqlError>
}

/**
 * The tag of the service. A driver's Layer provides it, for example `PgSql.layer` of `@sluice/sql-pg`.
 *
 * @since 0.1.0
 * @category tags
 */
export class Sql extends Context.Tag("@sluice/sql/Sql")<Sql, Service>() {}

const queryTable: OptionTable.Table<QueryOptions> = { prepare: OptionTable.flag }

const isQueryOptions = (options: QueryOptions): boolean => OptionTable.problems(options, queryTable).length === 0

/** A statement by one of the two verbs of the service. A failure does not show the values, which may be secrets. */
const statement =
  (verb: "query" | "execute") =>
  (text: string, params: ReadonlyArray<unknown> = [], options?: QueryOptions): Effect.Effect<any, SqlError, Sql> =>
    // A `flatMap` of the tag would take three steps of the fiber more, and a short statement has fifteen.
    Effect.withFiberRuntime((fiber: Fiber.RuntimeFiber<any, SqlError>) =>
      typeof text === "string" && Array.isArray(params) && (options === undefined || isQueryOptions(options))
        ? Context.unsafeGet(fiber.currentContext as Context.Context<Sql>, Sql)[verb](
            text,
            params,
            options?.prepare !== false
          )
        : Effect.fail(
            invalidUse(
              typeof text === "string" && Array.isArray(params)
                ? `Sql.${verb}: ${OptionTable.problems(options, queryTable).join("; ")}`
                : `Sql.${verb} takes a text and an array of parameters, and was given ${typeof text} and ${typeof params}`
            )
          )
    )

/**
 * Runs one statement and gives its rows.
 *
 * **When to use:** for a statement that you write as text. Templates with helpers are the `client` of the service.
 *
 * - `params` stand for the driver's placeholders: `$1`, `$2` for PostgreSQL, `?` for MySQL.
 * - Fails with a `SqlError`; `SqlReason.of` says why.
 * - Interruption: at any moment. What the server is doing is cancelled there, and the caller does not wait for that.
 * - A text with several statements gives the rows of each, in an array.
 *
 * @example
 * ```ts
 * import { Sql } from "@sluice/sql"
 *
 * const payment = (id: string) => Sql.query<{ state: string }>("select state from payments where id = $1", [id])
 * ```
 *
 * @see `execute` for the number of rows that a statement has written, and for `insertId`.
 * @since 0.1.0
 * @category statements
 */
export const query: <A extends object = Record<string, unknown>>(
  text: string,
  params?: ReadonlyArray<unknown>,
  options?: QueryOptions
) => Effect.Effect<ReadonlyArray<A>, SqlError, Sql> = statement("query")

/**
 * Runs one statement and gives more than its rows: `{ rows, affectedRows, insertId, command }`.
 *
 * **When to use:** for a write whose number of rows matters, and on MySQL for the `AUTO_INCREMENT` of a new row.
 *
 * - Everything else is as in `query`, also where it runs: a short read may share its connection.
 * - A text with several statements gives what the last one has given.
 *
 * @see `query` for the rows alone.
 * @since 0.2.0
 * @category statements
 */
export const execute: <A extends object = Record<string, unknown>>(
  text: string,
  params?: ReadonlyArray<unknown>,
  options?: QueryOptions
) => Effect.Effect<Executed<A>, SqlError, Sql> = statement("execute")

// One signature and not two overloads, because `effect.pipe(Sql.withConnection)` would lose its types with overloads.
/**
 * Every statement inside runs on one connection. It is acquired at the first statement, once, and nested ones join it; an
 * effect without statements costs nothing.
 *
 * **When to use:** for statements that need one session (temporary tables, SET), and for a request that runs many statements.
 *
 * - Fails as its statements do: an acquire that fails is the failure of the first statement. Options that have no meaning, or that
 *   do not exist, fail with `InvalidUse`, and nothing is run.
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
 * @see `withTransaction` for statements that are to be written together: it needs no `withConnection` around it.
 * @since 0.1.0
 * @category combinators
 */
export const withConnection: <Arg extends Effect.Effect<any, any, any> | ConnectionOptions>(
  effectOrOptions: Arg
) => Arg extends Effect.Effect<infer A, infer E, infer R>
  ? Effect.Effect<A, E, R | Sql>
  : <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R | Sql> = Origins.noted(
  (options, effect) => Effect.flatMap(Sql, (sql) => sql.withConnection(options)(effect))
)

/**
 * As `withConnection`, for a `Scope`: gives the function that runs effects on the connection, until the scope closes.
 *
 * **When to use:** where the statements of one session are in several effects, for example in a handler and in the stream that it
 * answers with.
 *
 * - The connection is acquired at the first statement of such an effect. It goes back when the scope closes; a stream that is being
 *   read on it then keeps it until its end.
 * - Effects that run after that take connections of the pool. Inside of a `withConnection` they join its connection.
 *
 * @see `withConnection` for one effect.
 * @since 0.2.0
 * @category combinators
 */
export const connectionScoped = (
  options: ConnectionOptions = {}
): Effect.Effect<<A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>, SqlError, Sql | Scope.Scope> =>
  Effect.flatMap(Sql, (sql) => sql.connectionScoped(options))

/**
 * Everything inside is written together, or not at all. Nested ones are savepoints; those of one connection run one after
 * the other, also when they are started at once.
 *
 * **When to use:** for statements of which none may be written without the others, and for reads that must see one state.
 *
 * - Fails with a `SqlError` when BEGIN or COMMIT fails; a failure of `effect` passes unchanged, whatever becomes of the
 *   ROLLBACK. A transaction whose failed statement was caught fails with `TransactionAborted`: nothing was written. Options
 *   that have no meaning fail with `InvalidUse`, and nothing is run.
 * - Interruption: at any moment but one: once COMMIT is sent its answer is awaited, at most `commitTimeout`. A running
 *   statement is cancelled and the transaction rolled back; the caller does not wait for either.
 * - A fiber that outlives it gets `InvalidUse` from its next statement.
 * - Under `Sql.withDeadline` it is rolled back, with `StatementTimeout`, when too little time is left for COMMIT.
 *
 * @see `withConnection` for one session without a transaction.
 * @see `retry` to run again more than one transaction.
 * @since 0.1.0
 * @category combinators
 */
export const withTransaction: <Arg extends Effect.Effect<any, any, any> | TransactionOptions>(
  effectOrOptions: Arg
) => Arg extends Effect.Effect<infer A, infer E, infer R>
  ? Effect.Effect<A, E | SqlError, R | Sql>
  : <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R | Sql> = Origins.noted(
  (options, effect) => Effect.flatMap(Sql, (sql) => sql.withTransaction(options)(effect))
)

const withIntent =
  (intent: Intent) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, CurrentIntent, intent)

/**
 * The statements inside only read: a replica may answer them. Statements that say nothing go to the primary; the text of
 * a statement never decides. A transaction inside is begun READ ONLY.
 *
 * **When to use:** for statements that may see a state that is a little old. What is inside may be tried again unasked, because
 * reading twice does no harm.
 *
 * @see `write`, its opposite.
 * @see `Router` decides which replica.
 * @since 0.1.0
 * @category combinators
 */
export const read: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = withIntent("read")

/**
 * The statements inside write: they go to the primary. A connection that was pinned for reading is exchanged for one on
 * the primary; inside a read-only transaction this fails with `InvalidUse`.
 *
 * **When to use:** for the writes inside of a larger effect that is marked with `read`.
 *
 * @see `read`, its opposite.
 * @since 0.1.0
 * @category combinators
 */
export const write: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = withIntent("write")

/**
 * Runs all of `effect` again when it fails in a way that the policy allows, and no run begins after the deadline: see
 * `SqlRetry`. Default: `SqlRetry.standard`.
 *
 * - A policy of `SqlRetry` is obeyed as it stands: its runs, its pauses, its timeout. What it runs again is not tried again
 *   unasked inside of `effect`.
 * - A plain `Schedule` decides when and how often. Its input is the failure. What the reason of the failure forbids stays
 *   forbidden: retry class `never`, failures that are no `SqlError`, `CommitUnknown`.
 * - Whatever `effect` has done before its failure it does again.
 * - An unknown outcome is tried again only when `Sql.read` or `Sql.idempotent` is around all of this.
 * - Inside of a transaction it runs once: only the outermost `withTransaction({ retry })` can run that again.
 * - The last failure, when it is a `SqlError`, says in `SqlReason.of(error).attempts` how often it was tried.
 * - A value that is neither a policy nor a `Schedule` fails with `InvalidUse`.
 *
 * @example
 * ```ts
 * import { Sql } from "@sluice/sql"
 * import { Schedule } from "effect"
 *
 * const patient = Sql.query("select 1").pipe(
 *   Sql.retry(Schedule.exponential("100 millis").pipe(Schedule.intersect(Schedule.recurs(5))))
 * )
 * ```
 *
 * @see `withTransaction`, whose `retry` runs one transaction again.
 * @since 0.1.0
 * @category combinators
 */
export const retry =
  (policy: Schedule.Schedule<any, any> = SqlRetry.standard) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R | Sql> =>
    Effect.flatMap(Sql, (sql) => sql.retry(policy)(effect))

/**
 * The statements inside may be executed twice without harm: a statement whose answer was lost is tried again. A COMMIT whose
 * answer was lost is not.
 *
 * **When to use:** for writes that set values and do not add to them, such as `insert … on conflict do nothing`.
 *
 * @see `retry` to run more than one statement again.
 * @since 0.1.0
 * @category combinators
 */
export const idempotent = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, Idempotent, true)

/**
 * Who is served first when all connections are in use. Default `normal`.
 *
 * **When to use:** for work that can wait (`background`), so that requests do not wait for it.
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
 * **When to use:** for work whose callers wait less, or more, than others. `withDeadline` bounds the statements too.
 *
 * - `duration`: 0 takes only a connection that is free. A value that is no duration, or a negative one, fails with `InvalidUse`,
 *   and nothing is run.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withAcquireTimeout =
  (duration: Duration.DurationInput) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
    OptionTable.millisOf(duration) === undefined
      ? Effect.fail(
          invalidUse(
            `Sql.withAcquireTimeout takes a duration of at least 0, and was given ${OptionTable.shown(duration)}`
          )
        )
      : Effect.provideService(effect, Pool.CurrentAcquireTimeout, duration)

/** Milliseconds since the epoch; NaN for a value that is no moment. */
const epochMillisOf = (instant: unknown): number =>
  typeof instant === "number"
    ? instant
    : instant instanceof Date
      ? instant.getTime()
      : DateTime.isDateTime(instant)
        ? DateTime.toEpochMillis(instant)
        : Number.NaN

/**
 * The moment after which nobody awaits the work inside. By then every wait ends: for a connection with `AcquireTimeout`, for
 * the answer of a statement with `StatementTimeout`, and the statement is cancelled on the server. Streams, pinned statements
 * and transactions are bounded too, also where the fiber cannot be interrupted.
 *
 * **When to use:** for a request whose caller has said how long it waits. Work other than statements goes on: to stop that,
 * put an `Effect.timeout` around it.
 *
 * - `instant`: a `Date`, a `DateTime`, or milliseconds since the epoch. It is turned into a rest of time when the effect begins,
 *   so a wall clock that is set later changes nothing. `Infinity`: no deadline. A value that is no moment fails with
 *   `InvalidUse`, and nothing is run.
 * - An earlier deadline around it stays in force.
 * - A COMMIT that was sent and is not answered by then is `CommitUnknown`; with less than 20 milliseconds left COMMIT is not
 *   sent, and the transaction is rolled back.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withDeadline =
  (instant: DateTime.DateTime | Date | number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> => {
    const millis = epochMillisOf(instant)
    return Number.isNaN(millis)
      ? Effect.fail(
          invalidUse(
            `Sql.withDeadline takes a Date, a DateTime or milliseconds since the epoch, and was given ${OptionTable.shown(instant)}`
          )
        )
      : Effect.clockWith((clock) => Deadline.until(Deadline.ofEpochMillis(clock, millis))(effect))
  }

/**
 * What this fiber, or a child that it has joined, has written last, as a text for a cookie or a header: `withConsistency({ token })` reads not
 * behind it, in whatever process. `undefined`: nothing. Where no replica is configured nothing is noted, and it is everything that was
 * written until now.
 *
 * **When to use:** for the next request of the same user, which may come to another process. Sign what leaves your network:
 * `Consistency.sign`.
 *
 * - Costs at most one question to the primary, over its control connection, which others share; none where the server has said the
 *   position with its answer (MySQL, MariaDB).
 * - Fails when the primary cannot be asked within the pool's `abortTimeout`.
 *
 * @see `withConsistency`, which takes it.
 * @since 0.2.0
 * @category consistency
 */
export const consistencyToken: Effect.Effect<string | undefined, SqlError, Sql> = Effect.flatMap(
  Sql,
  (sql) => sql.consistencyToken
)

/**
 * The pools now: `size`, `available`, `using`, `waiting` and the rest of `PoolStats`, for writes and for each replica.
 *
 * **When to use:** for a health page or a log line. It costs the same whatever the pools hold.
 *
 * @see `events` for what happens between two looks.
 * @since 0.1.0
 * @category observability
 */
export const stats: Effect.Effect<SqlStats, never, Sql> = Effect.flatMap(Sql, (sql) => sql.stats)

/**
 * What happens in the pools from now on. Costs nothing while nobody listens.
 *
 * @see `stats` for the numbers of one moment.
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

/**
 * The pools in the shape in which function platforms attach one: see `FunctionPool` of `@sluice/pool`.
 *
 * **When to use:** once at the start, in a process that its platform suspends while no request is under way.
 *
 * - Fails with `InvalidOptions` without the option `pool.closeWhenIdle`.
 *
 * @since 0.2.0
 * @category control
 */
export const functionPool: Effect.Effect<FunctionPool.FunctionPool, SqlError, Sql> = Effect.flatMap(
  Sql,
  (sql) => sql.functionPool
)
