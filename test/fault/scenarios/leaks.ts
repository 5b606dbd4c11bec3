/** Connections that a program has forgotten, among others that it holds for a long time with good reason. */
import { SqlClient } from "@effect/sql"
import * as Pool from "@sluice/pool/Pool"
import type { PoolEvent } from "@sluice/pool/PoolEvent"
import { Sql, SqlReason } from "@sluice/sql"
import { Cause, Deferred, Effect, Exit, Fiber, Stream } from "effect"
import { databases } from "../../contract/databases.js"
import type { Client, Measured, NumberOf, Numbers, Rig, Scenario } from "../scoreboard/model.js"
import { now, settle, statsOf, times, until } from "./support.js"
import { onVirtualClock } from "./virtual.js"

/** What was told of the leases, by the span in which each was acquired. */
class Reports {
  private readonly told = new Map<string, Array<{ readonly kind: string; readonly at: number }>>()

  constructor(private readonly now: () => number) {}

  readonly note = (event: PoolEvent): void => {
    if (event._tag !== "Leak") return
    const span = event.span ?? "no span"
    this.told.set(span, [...(this.told.get(span) ?? []), { kind: event.kind, at: this.now() }])
  }

  /** Against what each span must be told as, and since when it holds its lease. */
  against(expected: Readonly<Record<string, string>>, since: number): Numbers {
    const first = Object.keys(expected).map((span) => this.told.get(span)?.[0])
    const kinds = Object.entries(expected).map(([span, kind]) => this.told.get(span)?.[0]?.kind === kind)
    const all = [...this.told.values()].flat()
    return {
      reported: first.some((one) => one === undefined) ? "never" : Math.max(...first.map((one) => one!.at - since)),
      misclassified: kinds.filter((is) => !is).length,
      repeated: all.length - this.told.size
    }
  }

  has(spans: ReadonlyArray<string>): boolean {
    return spans.every((span) => this.told.has(span))
  }
}

/** The threshold on real servers, in milliseconds. */
const THRESHOLD = 3_000

/** For how long those have their places who come afterwards, in milliseconds. */
const HOLD = 200

/** What ten holders do, two of whom never give back. */
const forgotten = (rig: Rig) =>
  Effect.gen(function* () {
    const { words } = databases[rig.database]
    const client: Client = yield* rig.open({
      max: 10,
      acquireTimeout: 10_000,
      pool: { leakThreshold: THRESHOLD, reclaim: true }
    })
    const on = <A, E>(effect: Effect.Effect<A, E, Sql.Sql | SqlClient.SqlClient>) =>
      Effect.provide(effect, client.sluice!)
    // So that all holders begin at one moment.
    yield* settle(
      5_000,
      times(10, () => client.query(rig.sleep(0.2)))
    )
    const reports = new Reports(now)
    yield* Effect.forkScoped(on(Stream.runForEach(Sql.events, ({ event }) => Effect.sync(() => reports.note(event)))))
    const back = yield* Deferred.make<void>()
    const one = client.query("select 1 as n")
    const forgets = (query: typeof client.query) =>
      Effect.zipRight(query("select 1 as n"), Effect.zipRight(Deferred.await(back), query("select 1 as n")))
    const stream = on(
      Effect.flatMap(SqlClient.SqlClient, (sql) =>
        Stream.runForEachWhile(sql.unsafe(`select i from ${words.series(100_000)}`).stream, () =>
          Effect.map(Effect.delay(Deferred.isDone(back), 200), (isOver) => !isOver)
        )
      )
    )
    const working = client.pinned((query) =>
      Effect.repeat(Effect.delay(query("select 1 as n"), 50), { until: () => Deferred.isDone(back) })
    )
    const expected: Readonly<Record<string, string>> = {
      forgotten: "forgotten",
      transaction: "idleInTransaction",
      busy: "busy",
      stream: "stream",
      ...Object.fromEntries(times(6, (n) => [`worker ${n}`, "busy"]))
    }
    const started = now()
    const start = (span: string, work: Effect.Effect<unknown, unknown>) =>
      Effect.forkDaemon(Effect.withSpan(work, span))
    const late = [
      yield* start("forgotten", client.pinned(forgets)),
      yield* start("transaction", client.transaction(forgets))
    ]
    const others = [
      yield* start("busy", client.query(rig.sleep((2.5 * THRESHOLD) / 1_000))),
      yield* start("stream", stream),
      ...(yield* Effect.forEach(
        times(6, (n) => `worker ${n}`),
        (span) => start(span, working)
      ))
    ]
    // They find every place taken.
    yield* until(1_000, () => Effect.map(statsOf(client), (stats) => stats!.using === 10))
    const asked = now()
    /** A pin takes its connection at its first statement. Both are held at once, so that two places must be there. */
    const taking = client.pinned((query) => Effect.zipRight(query("select 1 as n"), Effect.sleep(HOLD)))
    const places = yield* settle(8 * THRESHOLD, [taking, taking])
    const isBack = places.failed + places.hanging === 0 && places.slowest !== "never"
    const since: Measured = isBack ? asked - started + Number(places.slowest) - HOLD : "never"
    yield* until(3 * THRESHOLD, () => reports.has(Object.keys(expected)))
    const before = yield* statsOf(client)
    yield* Deferred.succeed(back, undefined)
    const ended = yield* Effect.forEach(late, Fiber.await)
    const untold = ended.filter(
      (exit) => !Exit.isFailure(exit) || SqlReason.of(Cause.squash(exit.cause))._tag !== "LeaseReclaimed"
    ).length
    const disturbed = (yield* Effect.forEach(others, Fiber.await)).filter(Exit.isFailure).length
    const after = yield* statsOf(client)
    const next = yield* settle(3_000, [one])
    return {
      ...reports.against(expected, started),
      back: since,
      untold,
      disturbed: disturbed + next.failed + next.hanging + Math.max(0, after!.reclaimed - late.length),
      changed: late.length - (after!.lateReleases - before!.lateReleases)
    }
  })

/** The threshold of a program that says nothing, in milliseconds. */
const DEFAULT = 30_000

/** One of ten, in a pool of anything, on a clock that is moved. */
const simulated = () =>
  onVirtualClock((clock) =>
    Effect.gen(function* () {
      const pool = yield* Pool.make({
        maxSize: 10,
        minIdle: 10,
        reclaim: true,
        connect: () => Effect.succeed({}),
        inspect: () => ({ kind: "forgotten", since: 0 })
      })
      const read = () => clock.unsafeCurrentTimeMillis()
      const reports = new Reports(read)
      Pool.unsafeListen(pool, reports.note)
      yield* clock.pass(1_000)
      // Nine callers come and go all the time.
      for (let i = 0; i < 9; i++) {
        yield* Effect.forkScoped(Effect.forever(Pool.use(pool, () => Effect.sleep(200))))
      }
      let giveBack = () => {}
      const started = read()
      yield* Effect.withSpan(
        Pool.hold(pool, (_, release) => {
          giveBack = release
        }),
        "forgotten"
      )
      let back: Measured = "never"
      for (let at = 0; at < 4 * DEFAULT && back === "never"; at += 100) {
        yield* clock.pass(100)
        if (Pool.unsafeStats(pool).reclaimed > 0 && Pool.unsafeStats(pool).closing === 0) back = read() - started
      }
      const before = Pool.unsafeStats(pool)
      giveBack()
      const after = Pool.unsafeStats(pool)
      return {
        ...reports.against({ forgotten: "forgotten" }, started),
        back,
        changed: JSON.stringify({ ...before, lateReleases: 1 }) === JSON.stringify(after) ? 0 : 1
      }
    })
  )

const numbers = (threshold: number): Readonly<Record<string, NumberOf>> => ({
  reported: { title: "the last is reported after", unit: "ms", atMost: threshold + 1_000 },
  misclassified: { title: "taken for something else, or told without their span", unit: "count", atMost: 0 },
  repeated: { title: "told of twice", unit: "count", atMost: 0 },
  back: { title: "the places are back after", unit: "ms", atMost: 2 * threshold },
  changed: { title: "late releases that change anything", unit: "count", atMost: 0 }
})

const OURS = "it knows nothing of leases that are held too long"

export const scenarios: ReadonlyArray<Scenario> = [
  {
    id: "F9",
    name: "Of ten leases one is forgotten, and one is idle in a transaction; the others work, or read a stream slowly: each is reported once, as what it is, within a second after the threshold of 3 s; the two places are back within twice the threshold, and the others notice nothing.",
    places: ["postgresql", "mysql"],
    notRun: { peers: OURS },
    patience: 40,
    numbers: {
      ...numbers(THRESHOLD),
      untold: { title: "late holders whose next statement does not say why", unit: "count", atMost: 0 },
      disturbed: { title: "others that were disturbed", unit: "count", atMost: 0 }
    },
    run: forgotten
  },
  {
    id: "F9",
    variant: "by default",
    name: "One of ten leases is never released, with the default threshold of 30 s: it is reported within 31 s, its place is back within 60 s, and the late release changes nothing.",
    places: ["virtual"],
    notRun: { peers: OURS },
    patience: 60,
    numbers: numbers(DEFAULT),
    run: simulated
  }
]
