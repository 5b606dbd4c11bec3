/**
 * Watches all pools and all `Sql`s of the process, and gives the reports that boards draw.
 *
 * It remembers the last minute, and of what is replayed for another `maxSize` the last 10,000 leases of each pool. That is at most 0.3
 * megabytes for each pool, whatever happens in it. A pool is watched from the moment at which it, or the recorder, was made: of what was
 * before, a report has the totals of the pool alone.
 *
 * @since 0.2.0
 */
import { hostname } from "node:os"
import * as Deadline from "@sluice/pool/Deadline"
import * as OptionTable from "@sluice/pool/OptionTable"
import * as Pool from "@sluice/pool/Pool"
import * as Pools from "@sluice/pool/Pools"
import * as Sources from "@sluice/sql/Sources"
import { Clock, Context, Data, Effect, Layer, Option, type Scope } from "effect"
import * as Loads from "./internal/recorder/loads.js"
import { PoolRecord } from "./internal/recorder/poolRecord.js"
import { alone, type Endpoint, type Moment, poolReport } from "./internal/recorder/poolReport.js"
import { Replays } from "./internal/recorder/replays.js"
import { SourceRecord } from "./internal/recorder/sourceRecord.js"
import * as Stalls from "./internal/recorder/stalls.js"
import type { Database, PoolReport, Report } from "./Report.js"
import * as Thresholds from "./Thresholds.js"

/**
 * What a recorder can be told.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** What people call this process. Default: the name of the host, which is that of the pod in Kubernetes. */
  readonly pod?: string | undefined
  /** Of these only `idleLeaseMs` matters here: when a leased connection is counted as idle. Default `Thresholds.standard`. */
  readonly thresholds?: Thresholds.Thresholds | undefined
}

/**
 * Options that cannot work. Lists every problem, not the first.
 *
 * @since 0.2.0
 * @category errors
 */
export class InvalidOptions extends Data.TaggedError("InvalidOptions")<{ readonly problems: ReadonlyArray<string> }> {
  override get message(): string {
    return `recorder: ${this.problems.join("; ")}`
  }
}

/**
 * What a recorder does.
 *
 * @since 0.2.0
 * @category models
 */
export interface Service {
  /**
   * The process at this moment. Takes no connection and waits for nothing.
   *
   * - `texts`: with the texts of statements and the names of spans, for readers who may see them. Default false.
   */
  readonly report: (options?: { readonly texts?: boolean | undefined }) => Effect.Effect<Report>
  /** The pool of this `id` in the reports, if it is still open. */
  readonly pool: (id: number) => Effect.Effect<Option.Option<Pool.Pool<unknown>>>
}

/**
 * The tag of the service.
 *
 * @since 0.2.0
 * @category tags
 */
export class Recorder extends Context.Tag("@sluice/observability/Recorder")<Recorder, Service>() {}

const table: OptionTable.Table<Options> = {
  pod: OptionTable.that(
    "a text of 1 to 200 characters",
    (value) => typeof value === "string" && value.length > 0 && value.length <= 200
  ),
  thresholds: OptionTable.anObject
}

/** Milliseconds between two looks at what leases are used for. */
const PAUSE = 1_000

interface Watched {
  readonly id: number
  readonly pool: Pool.Pool<unknown>
  readonly record: PoolRecord
}

/**
 * A recorder that lives as long as the scope.
 *
 * **When to use:** for a board or an endpoint of your own. The boards of this package make one for themselves.
 *
 * - Fails with `InvalidOptions`, which lists every problem.
 * - Cost: about a microsecond for each lease, and some for each pool once a second.
 * - While somebody asks for reports, the server that takes the writes is asked for its connections, on the control connection of its
 *   pool, at most every 5 seconds. Nobody waits for the answer: it is in a later report.
 *
 * @see `layer` to share one.
 * @since 0.2.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Service, InvalidOptions, Scope.Scope> =>
  Effect.gen(function* () {
    const problems = OptionTable.problems(options, table)
    if (problems.length > 0) return yield* new InvalidOptions({ problems })
    const { pod = hostname(), thresholds = Thresholds.standard } = options
    const timers = yield* Deadline.ofContext
    const clock = yield* Clock.clockWith(Effect.succeed)
    const stalls = yield* Stalls.make
    const { now } = timers
    const pools = new Map<object, Watched>()
    const sources = new Map<object, SourceRecord>()
    const replays = new Replays(timers)
    const loads = yield* Loads.make(timers)
    let made = 0
    const watchPools = () =>
      Pools.unsafeWatch((pool) => {
        const record = new PoolRecord(now, Pool.gauge(pool), Pool.unsafeStats(pool))
        const stop = Pool.unsafeListen(pool, record.listen)
        pools.set(pool, { id: ++made, pool, record })
        return () => {
          stop()
          pools.delete(pool)
        }
      })
    const watchSources = () =>
      Sources.unsafeWatch((source) => {
        sources.set(source, new SourceRecord(source, now()))
        return () => void sources.delete(source)
      })
    const look = (): void => {
      stalls.look()
      for (const { pool, record } of pools.values()) {
        record.look(Pools.unsafeUses(pool, thresholds.idleLeaseMs), Pool.unsafeStats(pool).host)
      }
      for (const source of sources.values()) source.look(now())
      timer = timers.set(now() + PAUSE, look)
    }
    for (const watch of [watchPools, watchSources]) {
      yield* Effect.acquireRelease(Effect.sync(watch), (stop) => Effect.sync(stop))
    }
    let timer = timers.set(now() + PAUSE, look)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        timer.cancel()
        replays.stop()
      })
    )

    const reportOf = ({ id, pool, record }: Watched, endpoint: Endpoint, moment: Moment): PoolReport =>
      poolReport(id, pool, record, endpoint, replays.of(record), moment)

    const database = (
      { source }: SourceRecord,
      moment: Moment
    ): Pick<Database, "name" | "system" | "isWritable" | "pools"> => ({
      name: source.name,
      system: source.system,
      isWritable: source.isWritable(),
      // A pool of an `Sql` that is being closed may have ended before it.
      pools: source.targets.flatMap((target) => {
        const watched = pools.get(target.pool)
        return watched === undefined ? [] : [reportOf(watched, target, moment)]
      })
    })

    const report = (texts: boolean): Report => {
      const at = now()
      const wallNow = clock.unsafeCurrentTimeMillis()
      const moment: Moment = { now: at, wall: (instant) => Math.round(wallNow + instant - at), texts }
      replays.want([...pools.values()].map(({ pool, record }) => [record, Pool.gauge(pool).max]))
      const databases: Array<Database> = []
      const owned = new Set<object>()
      for (const record of sources.values()) {
        for (const { pool } of record.source.targets) owned.add(pool)
        const server = loads.of(record.source)
        databases.push({
          ...database(record, moment),
          ...record.counts(at),
          server: server && { at: moment.wall(server.at), ...server.load }
        })
      }
      for (const watched of pools.values()) {
        const { pool } = watched
        if (owned.has(pool)) continue
        databases.push({
          name: pool.name,
          system: undefined,
          isWritable: true,
          pools: [reportOf(watched, alone(pool), moment)],
          server: undefined,
          retries: { total: 0, denied: 0 },
          errors: {},
          lastMinute: { retries: { total: 0, denied: 0 }, errors: {} }
        })
      }
      return {
        version: 1,
        pod,
        pid: process.pid,
        at: wallNow,
        uptimeMs: Math.round(process.uptime() * 1_000),
        stallMs: stalls.longest(),
        databases
      }
    }

    return {
      report: (options) => Effect.sync(() => report(options?.texts === true)),
      pool: (id) =>
        Effect.sync(() => Option.fromNullable([...pools.values()].find((watched) => watched.id === id)?.pool))
    }
  })

/**
 * A recorder as a service of the program.
 *
 * **When to use:** once, where the program is put together. Everything that shows or raises alerts shares it.
 *
 * - Fails with `InvalidOptions`, which lists every problem.
 *
 * @see `make` for one scope.
 * @since 0.2.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Recorder, InvalidOptions> =>
  Layer.scoped(Recorder, make(options))
