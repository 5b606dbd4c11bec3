/** Sockets on which nothing comes any more. */
import { FaultProxy } from "@sluice/testkit"
import { Effect } from "effect"
import type { Measured, Rig, Scenario } from "../scoreboard/model.js"
import { Load, now, settle, start, statsOf, times, until, untilTrue } from "./support.js"

/** Five minutes of silence in short: idle for longer than a connection is trusted. */
const IDLE = 300

const idlePool = { validateAfterIdle: "100 millis", validateTimeout: "400 millis" } as const

/** What ten idle connections that were cut cost their next callers. */
export const idle = (rig: Rig, how: "silently" | "with a FIN", callers = 20) =>
  Effect.gen(function* () {
    const path = yield* FaultProxy.make({ target: rig.cluster.primary })
    const client = yield* rig.open({
      at: path,
      acquireTimeout: 5_000,
      pool: how === "silently" ? idlePool : { ...idlePool, validateTimeout: "4 seconds" }
    })
    yield* settle(
      5_000,
      times(10, () => client.query(rig.sleep(0.3)))
    )
    yield* Effect.sleep(IDLE)
    const before = yield* statsOf(client)
    yield* how === "silently" ? path.blackhole({ new: false, forGood: true }) : path.cut
    const { failed, hanging, slowest } = yield* settle(
      3_000,
      times(callers, (n) => client.query(`select ${n} as n`))
    )
    yield* until(2_000, () => Effect.map(statsOf(client), (stats) => stats === undefined || stats.closing === 0))
    const after = yield* statsOf(client)
    return {
      failed,
      hanging,
      slowest,
      ...(before === undefined || after === undefined || how !== "silently"
        ? {}
        : { left: 10 - (after.closed.validation - before.closed.validation) })
    }
  })

const idleNumbers = {
  failed: { title: "of 20 callers, failed", unit: "count", atMost: 0 },
  hanging: { title: "hanging after 3 s", unit: "count", atMost: 0 },
  left: { title: "cut connections that outlived the first failed check", unit: "count", atMost: 0 }
} as const

/** What a program sees of a network that swallows everything, and of one that has come back. */
export const blackHole = (rig: Rig) =>
  Effect.gen(function* () {
    const path = yield* FaultProxy.make({ target: rig.cluster.primary })
    const client = yield* rig.open({ at: path, acquireTimeout: 1_000 })
    let most = 0
    if (client.sluice !== undefined) {
      yield* Effect.map(statsOf(client), (stats) => {
        most = Math.max(most, (stats?.size ?? 0) + (stats?.connecting ?? 0) + (stats?.closing ?? 0))
      }).pipe(Effect.zipRight(Effect.sleep(5)), Effect.forever, Effect.forkScoped)
    }
    const busy = yield* start(times(10, () => client.query(rig.sleep(30))))
    yield* until(5_000, () =>
      Effect.map(rig.cluster.sessions(rig.name), (all) => all.filter(({ isRunning }) => isRunning).length === 10)
    )
    yield* path.blackhole({ forGood: true })
    const { hanging, slowest } = yield* settle(
      3_000,
      times(20, (n) => client.query(`select ${n} as n`))
    )
    yield* busy.leave
    const freed = yield* untilTrue(4_000, () =>
      Effect.map(
        statsOf(client),
        (stats) => stats !== undefined && stats.size + stats.quarantined + stats.closing === 0
      )
    ).pipe(Effect.when(() => client.sluice !== undefined))
    yield* path.heal
    const since = now()
    const found = yield* until(3_000, () =>
      Effect.map(settle(1_200, [client.query("select 7 as n")]), ({ answered }) => answered === 1)
    )
    return {
      slowest,
      hanging,
      ...(freed._tag === "Some" ? { freed: freed.value, most } : {}),
      found: found ? now() - since : ("never" as Measured)
    }
  })

/** Every established socket freezes for good, and new connections work. */
export const failover = (rig: Rig) =>
  Effect.gen(function* () {
    const path = yield* FaultProxy.make({ target: rig.cluster.primary })
    const client = yield* rig.open({ at: path })
    const load = yield* Load.start(30, () => client.query(rig.sleep(0.05)))
    yield* Effect.sleep(1_500)
    const before = load.rate(now() - 750)
    yield* path.blackhole({ new: false, forGood: true })
    const since = now()
    const full = yield* load.fullAgain(since + 1, before, 5_000)
    yield* load.end
    const isOver = yield* until(1_500, () => load.hanging(0) === 0)
    return { full, failed: load.errors(since).length, hanging: isOver ? 0 : load.hanging(3_000) }
  })

export const scenarios: ReadonlyArray<Scenario> = [
  {
    id: "F2",
    name: "Every idle connection is cut silently: no caller fails, and the first check that fails closes them all in bulk.",
    places: ["postgresql", "mysql"],
    patience: 30,
    numbers: {
      ...idleNumbers,
      // One check after the other would take ten times as long as one.
      slowest: { title: "the slowest caller (a check is given 400 ms)", unit: "ms", atMost: 800 }
    },
    run: (rig) => idle(rig, "silently")
  },
  {
    id: "F2",
    variant: "with a FIN",
    name: "Every idle connection is cut with a FIN: no caller fails, and none waits for a check to fail.",
    places: ["postgresql", "mysql"],
    patience: 30,
    numbers: {
      ...idleNumbers,
      slowest: { title: "the slowest caller (a check is given 4 s)", unit: "ms", atMost: 2_000 }
    },
    run: (rig) => idle(rig, "with a FIN")
  },
  {
    id: "F3",
    name: "A black hole: an acquire ends by its deadline (1 s), the place of a statement that nobody awaits is free 2 s later, there are never more connections than places, and the database is found again.",
    places: ["postgresql", "mysql"],
    patience: 40,
    numbers: {
      slowest: { title: "the last of 20 acquires ends", unit: "ms", atMost: 1_000 },
      hanging: { title: "hanging after 3 s", unit: "count", atMost: 0 },
      freed: { title: "all places are free", unit: "ms", atMost: 2_000 },
      most: { title: "most places in use at once", unit: "count", atMost: 10 },
      found: { title: "first answer after the network is back", unit: "ms", atMost: 2_000 }
    },
    run: blackHole
  },
  {
    id: "F25",
    name: "Every established socket freezes for good and new connections work: with default options throughput is full within 3 s, and nobody waits for ever.",
    places: ["postgresql", "mysql"],
    patience: 40,
    numbers: {
      full: { title: "full throughput again", unit: "ms", atMost: 3_000 },
      failed: { title: "statements that failed", unit: "count" },
      hanging: { title: "callers that hang after 5 s", unit: "count", atMost: 0 }
    },
    run: failover
  }
]
