/** Clocks that step, processes that stand still, and hours on a clock that a scenario moves. */
import * as Pool from "@sluice/pool/Pool"
import { FaultProxy } from "@sluice/testkit"
import { Duration, Effect } from "effect"
import type { VirtualClock } from "../../../packages/pool/test/support/VirtualClock.js"
import type { Rig, Scenario } from "../scoreboard/model.js"
import { now, percentile, settle, start, times, until } from "./support.js"
import { onVirtualClock } from "./virtual.js"

/** A host that lets everybody in after so many milliseconds, or nobody. */
class Host {
  isUp = true
  readonly attempts: Array<number> = []

  constructor(
    private readonly clock: VirtualClock,
    private readonly connectMillis: number
  ) {}

  readonly connect = () =>
    Effect.suspend(() => {
      this.attempts.push(this.clock.unsafeCurrentTimeMillis())
      return Effect.zipRight(
        Effect.sleep(this.connectMillis),
        Effect.suspend(() => (this.isUp ? Effect.succeed({}) : Effect.fail("refused" as const)))
      )
    })
}

/** How a hundred connections of one second grow old. */
export const ages = () =>
  onVirtualClock((clock) =>
    Effect.gen(function* () {
      const host = new Host(clock, 10)
      const pool = yield* Pool.make({
        maxSize: 100,
        minIdle: 100,
        maxLifetime: "30 minutes",
        idleTimeout: "10 hours",
        keepAlive: "20 hours",
        connect: host.connect
      })
      yield* clock.pass(2_000)
      let most = 0
      let least = Pool.unsafeStats(pool).size
      const retired: Array<number> = []
      for (let second = 0; second < 45 * 60; second++) {
        yield* clock.pass(1_000)
        const { closed, size } = Pool.unsafeStats(pool)
        retired.push(closed.lifetime)
        most = Math.max(most, closed.lifetime - (retired[retired.length - 61] ?? 0))
        least = Math.min(least, size)
      }
      return { most, missing: 100 - least, retired: retired.at(-1)! }
    })
  )

/** A fleet whose database is down for ten seconds. */
const PROCESSES = 100
const SIZE = 10
const DOWN = 10_000

export const fleet = () =>
  onVirtualClock((clock) =>
    Effect.gen(function* () {
      const hosts = times(PROCESSES, () => new Host(clock, 20))
      const pools = yield* Effect.forEach(hosts, (host) =>
        Pool.make({ maxSize: SIZE, minIdle: SIZE, connect: host.connect, acquireTimeout: "1 hour" })
      )
      yield* clock.pass(5_000)
      // Somebody waits for each place, all the time.
      for (const pool of pools) {
        for (let i = 0; i < SIZE; i++) {
          yield* Effect.forkScoped(
            Effect.forever(Effect.ignore(Pool.use(pool, () => Effect.sleep(Duration.millis(50)))))
          )
        }
      }
      yield* clock.pass(1_000)
      for (const host of hosts) {
        host.isUp = false
        host.attempts.length = 0
      }
      yield* Effect.forEach(pools, (pool) => Pool.reset(pool), { discard: true })
      yield* clock.pass(DOWN)
      const tried = hosts.map((host) => host.attempts.length / (DOWN / 1_000))
      for (const host of hosts) host.isUp = true
      const full: Array<number | undefined> = pools.map(() => undefined)
      for (let at = 0; at < 10_000 && full.includes(undefined); at += 10) {
        yield* clock.pass(10)
        pools.forEach((pool, i) => {
          if (full[i] === undefined && Pool.unsafeStats(pool).size === SIZE) full[i] = at + 10
        })
      }
      const all = full.map((at) => at ?? Infinity)
      const shown = (value: number) => (value === Infinity ? ("never" as const) : value)
      return {
        tried: Math.max(...tried),
        mean: tried.reduce((a, b) => a + b) / PROCESSES,
        half: shown(percentile(all, 0.5)),
        whole: shown(Math.max(...all))
      }
    })
  )

const HOUR = 3_600_000

/** Everything in this process that asks for the time of day is told another one. */
const stepWall = (by: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const original = Date.now
      Date.now = () => original() + by
      return original
    }),
    (original) =>
      Effect.sync(() => {
        Date.now = original
      })
  )

/** How long each thing takes that is under way when the clock steps, in milliseconds. */
const LASTS = 1_000

export const steps = (rig: Rig) =>
  Effect.gen(function* () {
    const client = yield* rig.open({ max: 2, acquireTimeout: LASTS })
    yield* settle(
      3_000,
      times(2, () => client.query("select 1 as n"))
    )
    let worst = 0
    let failed = 0
    const waits = !["mysql2", "postgres.js"].includes(rig.subject.name)
    for (const by of [HOUR, -HOUR]) {
      const step = <A>(work: Effect.Effect<A>) =>
        Effect.scoped(Effect.zipRight(Effect.sleep(LASTS / 4), Effect.zipRight(stepWall(by), work)))
      // A statement, and a transaction, which end by themselves.
      const working = yield* start([
        client.query(rig.sleep(LASTS / 1_000)),
        client.transaction((query) => query(rig.sleep(LASTS / 1_000)))
      ])
      const done = yield* step(working.within(5_000))
      failed += done.failed + done.hanging
      worst = Math.max(worst, done.slowest === "never" ? Infinity : Math.abs(done.slowest - LASTS))
      if (!waits) continue
      // A wait for a connection, which ends by its acquire timeout.
      const busy = yield* start(times(2, () => client.query(rig.sleep((2 * LASTS) / 1_000))))
      yield* Effect.sleep(100)
      const waiting = yield* start([client.query("select 1 as n")])
      const ended = yield* step(waiting.within(5_000))
      if (ended.failed !== 1) failed++
      worst = Math.max(worst, ended.slowest === "never" ? Infinity : Math.abs(ended.slowest - LASTS))
      yield* busy.within(5_000)
    }
    return { worst: worst === Infinity ? ("never" as const) : worst, failed }
  })

/** How long the process stands still, in milliseconds. */
const STILL = 2_000

export const suspended = (rig: Rig) =>
  Effect.gen(function* () {
    const path = yield* FaultProxy.make({ target: rig.cluster.primary })
    const client = yield* rig.open({ at: path })
    yield* settle(
      5_000,
      times(10, () => client.query(rig.sleep(0.2)))
    )
    yield* path.blackhole({ new: false, forGood: true })
    // No timer and no socket of this process gets its turn.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STILL)
    const began = now()
    const { failed, hanging, slowest } = yield* settle(
      3_000,
      times(20, (n) => client.query(`select ${n} as n`))
    )
    yield* until(500, () => now() - began > 100)
    return { failed, hanging, slowest }
  })

const OURS = "the simulation is of our engine"

export const scenarios: ReadonlyArray<Scenario> = [
  {
    id: "F19",
    name: "A hundred connections are made in one second and live for 30 minutes: at most 10 retire in any minute, and one is missing at most.",
    places: ["virtual"],
    notRun: { peers: OURS },
    patience: 120,
    numbers: {
      most: { title: "most that retired in one minute", unit: "count", atMost: 10 },
      missing: { title: "missing at once", unit: "count", atMost: 1 },
      retired: { title: "retired in 45 minutes", unit: "count" }
    },
    run: ages
  },
  {
    id: "F22",
    name: "A fleet of 100 processes with 10 connections each, whose database is down for 10 s: at most 2 connects a second from each, and the fleet is full again within 1 s (median) and 3 s (all).",
    places: ["virtual"],
    notRun: { peers: OURS },
    patience: 120,
    numbers: {
      tried: { title: "connects tried by the busiest process", unit: "per second", atMost: 2 },
      mean: { title: "connects tried by a process, on average", unit: "per second" },
      half: { title: "half of the fleet is full", unit: "ms", atMost: 1_000 },
      whole: { title: "all of the fleet is full", unit: "ms", atMost: 3_000 }
    },
    run: fleet
  },
  {
    id: "F29",
    name: "The process stands still for 2 s, its sockets die meanwhile, and 20 statements come at once: none fails.",
    places: ["postgresql", "mysql"],
    patience: 30,
    numbers: {
      failed: { title: "of 20 statements, failed", unit: "count", atMost: 0 },
      hanging: { title: "hanging after 3 s", unit: "count", atMost: 0 },
      slowest: { title: "the slowest", unit: "ms" }
    },
    run: suspended
  },
  {
    id: "F30",
    name: "The wall clock steps by an hour, forward and back, during a statement, a transaction and a wait for a connection: nothing ends early or late.",
    places: ["postgresql", "mysql"],
    patience: 40,
    numbers: {
      failed: { title: "work that ended as it should not", unit: "count", atMost: 0 },
      worst: { title: "the farthest from its time", unit: "ms", atMost: 50 }
    },
    run: steps
  }
]
