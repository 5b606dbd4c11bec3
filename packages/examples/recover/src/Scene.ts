/** A fault under load, for both sides at the same moment, and what was measured of each. */
import type { SqlError } from "@effect/sql"
import type { PgCluster } from "@sluice/testkit"
import { Clock, type Duration, Effect, Schedule } from "effect"
import * as Board from "./Board.js"
import type { Endpoints } from "./Endpoints.js"
import * as Load from "./Load.js"
import * as Side from "./Side.js"
import * as Sluice from "./Sluice.js"

export interface Scene {
  readonly title: string
  readonly endpoints: Endpoints
  /** What Sluice is told besides. */
  readonly options?: Sluice.Options
  /** Readers of each side, and as many writers. */
  readonly each: number
  /** Ends the server; returns when it is gone. */
  readonly kill: Effect.Effect<void, PgCluster.PgClusterError>
  readonly downFor: Duration.DurationInput
  /** Returns when a server takes writes again. */
  readonly revive: Effect.Effect<void, PgCluster.PgClusterError>
  /** What the board says when it does. */
  readonly revived: string
  /** How long a side may take to recover. Milliseconds. */
  readonly patience: number
  /** The server that takes writes at the end. */
  readonly survivor: PgCluster.PgNode
}

/** What one side has come to. Times are milliseconds. */
export interface Seen {
  readonly name: string
  readonly answers: ReadonlyArray<Load.Answer>
  /**
   * From the moment at which the server accepts writes again until the pool has had, for half a second, four fifths of the
   * throughput of before; `undefined`: not within `patience`.
   */
  readonly full: Readonly<Record<Load.Kind, number | undefined>>
  /** The first of each kind after that moment. */
  readonly first: Readonly<Record<Load.Kind, number | undefined>>
  /** Reads that were served while the server was down. */
  readonly readsMeanwhile: number
  /** Connects that were tried in that time. */
  readonly connectsMeanwhile: number
  readonly deadHandedOut: number
  readonly uncaught: number
  readonly acknowledged: number
  /** Acknowledged writes that the server does not have. */
  readonly lost: number
  /** Writes that the server has more than once. */
  readonly twice: number
  /** Sessions that the server has after the end of the side. */
  readonly sessions: number
}

export interface Ran {
  readonly title: string
  readonly patience: number
  /** How long the server was down. */
  readonly downMs: number
  readonly ours: Seen
  readonly theirs: Seen
}

const now = Clock.currentTimeMillis

/** Milliseconds over which throughput is measured. */
const window = 500

/** Runs it. The cluster must be as it was made. */
export const run = (scene: Scene): Effect.Effect<Ran, PgCluster.PgClusterError | SqlError.SqlError> =>
  Effect.gen(function* () {
    const { survivor } = scene
    const { downMs, seen } = yield* Effect.scoped(underLoad(scene))
    // Both have ended by now, and the server can be asked. It may take a moment to see that a socket was closed.
    const sessions = yield* Effect.repeat(survivor.activity, {
      until: (left) => left.length === 0,
      schedule: Schedule.spaced("20 millis").pipe(Schedule.upTo("2 seconds"))
    }).pipe(Effect.zipRight(survivor.activity))
    const mine = sessions.filter(({ applicationName }) => applicationName === Sluice.applicationName).length
    const [ours, theirs] = yield* Effect.forEach(seen, ({ acknowledged, ...rest }) =>
      Effect.map(
        survivor.query<{ found: number; twice: number }>(
          `select count(distinct id) filter (where id = any($2::int[]))::int as found,
                  (count(*) - count(distinct id))::int as twice from work where side = $1`,
          [rest.name === "Sluice" ? "sluice" : "sequelize", acknowledged]
        ),
        ([row]): Seen => ({
          ...rest,
          acknowledged: acknowledged.length,
          lost: acknowledged.length - (row?.found ?? 0),
          twice: row?.twice ?? 0,
          sessions: rest.name === "Sluice" ? mine : sessions.length - mine
        })
      )
    )
    return { title: scene.title, patience: scene.patience, downMs, ours: ours!, theirs: theirs! }
  })

const underLoad = ({ downFor, each, endpoints, kill, options, patience, revive, revived, title }: Scene) =>
  Effect.gen(function* () {
    const sides = yield* Effect.all([Side.sluice(endpoints, options), Side.sequelize(endpoints)])
    const shown = yield* Effect.forEach(sides, (side) => Effect.map(Load.start(side, each), (load) => ({ side, load })))
    const board = yield* Board.make(title, shown)
    yield* Effect.sleep("2500 millis")

    const from = yield* now
    yield* kill
    const goneAt = yield* now
    const atDeath = yield* Effect.forEach(sides, (side) =>
      Effect.zipRight(side.serverGone(endpoints.write.port), side.counts)
    )
    yield* board.say("the server is gone")
    yield* Effect.sleep(downFor)
    const atRevival = yield* Effect.forEach(sides, ({ counts }) => counts)
    const downMs = (yield* now) - goneAt
    yield* revive
    const acceptsAt = yield* now
    yield* board.say(revived)

    const times = { from, to: acceptsAt, within: patience }
    const recoveries = yield* Effect.forEach(
      shown,
      ({ load }) =>
        Effect.all(
          { read: awaitFull(times, load, "read"), write: awaitFull(times, load, "write") },
          { concurrency: "unbounded" }
        ),
      { concurrency: "unbounded" }
    )
    // Whoever recovers at once is watched for a while longer.
    yield* Effect.sleep(Math.max(0, acceptsAt + 2_000 - (yield* now)))
    yield* Effect.forEach(shown, ({ load }) => load.stop, { concurrency: "unbounded" })
    const atEnd = yield* Effect.forEach(sides, ({ counts }) => counts)
    return {
      downMs,
      seen: shown.map(({ load, side }, n) => ({
        name: side.name,
        answers: load.answers,
        acknowledged: load.acknowledged,
        full: recoveries[n]!,
        first: { read: firstAfter(acceptsAt, load, "read"), write: firstAfter(acceptsAt, load, "write") },
        readsMeanwhile: Load.served(Load.between(load.answers, goneAt, acceptsAt), "read").length,
        connectsMeanwhile: atRevival[n]!.connects - atDeath[n]!.connects,
        deadHandedOut: atEnd[n]!.deadHandedOut,
        uncaught: atEnd[n]!.uncaught
      }))
    }
  })

/** Milliseconds from `from` until the first request of this kind was served; `undefined`: none was. */
const firstAfter = (from: number, { answers }: Load.Load, kind: Load.Kind): number | undefined => {
  const [first] = Load.served(Load.between(answers, from), kind)
  return first === undefined ? undefined : first.at - from
}

/** Waits until one kind of requests has its throughput back, and succeeds as `Seen.full` says. */
const awaitFull = (
  { from, to, within }: { readonly from: number; readonly to: number; readonly within: number },
  { answers }: Load.Load,
  kind: Load.Kind
): Effect.Effect<number | undefined> => {
  const servedIn = (start: number, end: number) => Load.served(Load.between(answers, start, end), kind).length
  // Without the time in which the pools were opened.
  const before = servedIn(from - 1_500, from) / 1_500
  return Effect.map(
    now,
    (at) => at - window >= to && before > 0 && servedIn(at - window, at) >= 0.8 * before * window
  ).pipe(
    Effect.repeat({ until: (met) => met, schedule: Schedule.spaced("5 millis") }),
    Effect.zipRight(now),
    Effect.timeoutTo({
      duration: within,
      onSuccess: (at): number | undefined => at - to,
      onTimeout: () => undefined
    })
  )
}
