/** More work than the connections can do: who is served, who is sent away, and how soon all is as before. */
import * as Deadline from "@sluice/pool/Deadline"
import type { SheddingConfig } from "@sluice/pool/PoolOptions"
import { type Priority, withPriority } from "@sluice/pool/Priority"
import { Effect, Exit, Fiber } from "effect"
import { type Outcome, type Played, play } from "../../support/traffic/play.js"
import { type Caller, type Shape, trace } from "../../support/traffic/trace.js"
import type { Client, Numbers, Rig, Scenario } from "../scoreboard/model.js"
import { costs } from "./expiry.js"
import { now, percentile, start, statsOf, times } from "./support.js"

const CONNECTIONS = 10
const SEED = 60
let runs = 0

/** Each run has other callers, the same ones in every call of the command. */
const nextSeed = (): number => SEED + 10 * runs++

const on: SheddingConfig = { mode: "on" }

const part = (outcomes: ReadonlyArray<Outcome>, is: (outcome: Outcome) => boolean): number =>
  outcomes.length === 0 ? 100 : (100 * outcomes.filter(is).length) / outcomes.length

const isUseful = (outcome: Outcome): boolean => outcome.isUseful

const ofClass = (outcomes: ReadonlyArray<Outcome>, priority: Priority) =>
  outcomes.filter(({ caller }) => caller.priority === priority)

const between = (outcomes: ReadonlyArray<Outcome>, from: number, to: number) =>
  outcomes.filter(({ caller }) => caller.at >= from && caller.at < to)

/** The part of what the connections can do that ended in time, by the end of the work. */
const goodput = (outcomes: ReadonlyArray<Outcome>, from: number, to: number, capacity: number): number =>
  (100 * outcomes.filter((one) => one.isUseful && one.at >= from && one.at < to).length) / (capacity * (to - from))

/** The age of the queue from which the pool is overloaded: its default. */
const TARGET = 50

/**
 * Milliseconds after `since` until all is normal: whoever comes later is served in time, and waits at most for the target of the queue and
 * for one piece of work, because chance lets more callers come at once than there are connections.
 */
const normalAfter = (outcomes: ReadonlyArray<Outcome>, since: number, work: number): number =>
  Math.max(
    0,
    ...outcomes.map(({ caller, isUseful, waited = Infinity }) =>
      !isUseful || waited > TARGET + work ? caller.at - since : 0
    )
  )

/** Of how many pairs of classes the lower one was served better. */
const outOfOrder = (outcomes: ReadonlyArray<Outcome>): number => {
  const served = (["high", "normal", "background"] as const).map((one) => part(ofClass(outcomes, one), isUseful))
  return served.filter((value, i) => i > 0 && value > served[i - 1]!).length
}

const lateOf = ({ engine }: Played): number => engine.state.counters.lateGrants

const LASTS = 10_000
const CALM = 3_000

const flood = (load: number, work: number, patience = 1_000): Shape => ({
  load,
  work,
  millis: LASTS,
  connections: CONNECTIONS,
  patience,
  classes: { high: 0.2, normal: 0.6, background: 0.2 }
})

/** F6 on a virtual clock. */
const overload = Effect.sync((): Numbers => {
  const seed = nextSeed()
  const [one, three] = [1.5, 3].map((load) => {
    const calm = trace({ ...flood(0.7, 10), millis: CALM }, seed + 5, LASTS)
    const played = play({ name: "ours", pool: { shedding: on } }, [...trace(flood(load, 10), seed), ...calm], {
      connections: CONNECTIONS
    })
    const during = between(played.outcomes, 0, LASTS)
    return {
      goodput: goodput(played.outcomes, 0, LASTS, CONNECTIONS / 10),
      high: part(ofClass(during, "high"), isUseful),
      order: outOfOrder(during),
      late: lateOf(played),
      normal: normalAfter(between(played.outcomes, LASTS, Infinity), LASTS, 10)
    }
  }) as [any, any]
  return {
    goodput15: one.goodput,
    goodput3: three.goodput,
    high: Math.min(one.high, three.high),
    order: one.order + three.order,
    late: one.late + three.late,
    normal: Math.max(one.normal, three.normal)
  }
})

/** F7: fifty callers at once, of a pool that has five connections. */
const spike = Effect.sync((): Numbers => {
  const callers = times(50, (): Caller => ({ at: 2_000, priority: "normal", work: 2, patience: 5_000 }))
  const { engine, outcomes } = play({ name: "ours", pool: { minIdle: 5 } }, callers, {
    connections: 50,
    connectMillis: 150
  })
  return {
    last: Math.max(...outcomes.map(({ at, isUseful }) => (isUseful ? at - 2_000 : Infinity))),
    connections: engine.state.counters.connects
  }
})

const QUEUED = 5_000

/** F8: a heap of background work, and requests that come one after the other. */
const behind = Effect.sync((): Numbers => {
  const seed = nextSeed()
  const work = 5
  const heap = trace({ ...flood(1, work, 60_000), classes: { background: 1 } }, seed).slice(0, QUEUED)
  const queued = heap.map((caller) => ({ ...caller, at: 1_000 }))
  const requests = trace({ ...flood(0.3, work, 5_000), classes: { normal: 1 }, millis: 5_000 }, seed + 1, 1_001)
  const idle = play({ name: "idle" }, requests, { connections: CONNECTIONS })
  const { outcomes } = play({ name: "ours" }, [...queued, ...requests], { connections: CONNECTIONS })
  const waits = (all: ReadonlyArray<Outcome>) =>
    percentile(
      ofClass(all, "normal").map(({ waited }) => waited ?? Infinity),
      0.99
    )
  return {
    p99: waits(outcomes) - waits(idle.outcomes) - work,
    served: ofClass(outcomes, "background").filter(isUseful).length,
    failed: ofClass(outcomes, "normal").filter((one) => !one.isUseful).length
  }
})

const STORM = 20_000

/** F27: twenty thousand waiters that give up after a second, under three times what can be done. */
const storm = Effect.map(costs, (cost): Numbers => {
  const seed = nextSeed()
  const heap = times(STORM, (): Caller => ({ at: 1_000, priority: "normal", work: 10, patience: 1_000 }))
  const more = trace({ ...flood(3, 10), millis: 5_000 }, seed, 1_000)
  const calm = trace({ ...flood(0.7, 10), millis: CALM }, seed + 5, 6_000)
  let busy = 0
  let last = 1_000
  let using = 0
  const played = play({ name: "ours", pool: { maxWaiters: 1_000_000 } }, [...heap, ...more, ...calm], {
    connections: CONNECTIONS,
    watch: (at, isBefore, engine) => {
      if (at > 1_000 && at <= 6_000 && isBefore) {
        busy += using * (at - last)
        last = at
      }
      using = engine.state.leases.connections
    }
  })
  const shed = play({ name: "ours", pool: { maxWaiters: 1_000_000, shedding: on } }, [...heap, ...more, ...calm], {
    connections: CONNECTIONS
  })
  return {
    using: (100 * busy) / (CONNECTIONS * (last - 1_000)),
    late: lateOf(played),
    ...cost,
    normal: normalAfter(between(shed.outcomes, 6_000, Infinity), 6_000, 10)
  }
})

/** F28: statements are ten times slower for five seconds, and whoever fails asks again, three times. */
const metastable = Effect.sync((): Numbers => {
  const callers = trace({ ...flood(0.7, 10), millis: 25_000 }, nextSeed())
  const played = play({ name: "ours", pool: { shedding: on } }, callers, {
    connections: CONNECTIONS,
    slowness: (at) => (at >= 5_000 && at < 10_000 ? 10 : 1),
    retries: 3
  })
  const useful = (from: number, to: number) => goodput(played.outcomes, from, to, CONNECTIONS / 10)
  return {
    after: (100 * useful(15_000, 25_000)) / (100 * 0.7),
    slow: part(between(played.outcomes, 5_500, 9_000), isUseful),
    amplification: played.begun / played.outcomes.filter(isUseful).length,
    late: lateOf(played)
  }
})

/** F31: twelve times as much background work as can be done, beside requests. */
const drowned = Effect.sync((): Numbers => {
  const seed = nextSeed()
  const background = trace({ ...flood(12, 10, 5_000), classes: { background: 1 } }, seed)
  const requests = trace({ ...flood(0.6, 10), classes: { high: 1 } }, seed + 1)
  const callers = [...background, ...requests].sort((a, b) => a.at - b.at)
  const played = play({ name: "ours", pool: { shedding: on } }, callers, { connections: CONNECTIONS })
  return {
    high: part(ofClass(played.outcomes, "high"), isUseful),
    background: goodput(ofClass(played.outcomes, "background"), 0, LASTS, CONNECTIONS / 10),
    late: lateOf(played)
  }
})

/** Milliseconds of a statement on a real server: long enough that the machine has time for the callers. */
const WORK = 100

/** Where twelve times as many callers come as can be served, for the same reason. */
const LONG = 250

/** Of the work that waits in a heap: five thousand are done within the acquire timeout, which is the default. */
const SHORT = 5

/** Plays a trace in real time: everybody has a connection alone, with as much work as the trace says. */
const playLive = (client: Client, callers: ReadonlyArray<Caller>, rig: Rig) =>
  Effect.gen(function* () {
    const outcomes: Array<Outcome> = []
    const began = now()
    const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
    const call = (caller: Caller) => {
      let since = 0
      return client
        .pinned((query) => {
          since = now() - began
          return query(rig.sleep(caller.work / 1_000))
        })
        .pipe(
          Deadline.within(caller.patience),
          withPriority(caller.priority),
          Effect.exit,
          Effect.andThen((exit) =>
            Effect.sync(() => {
              const at = now() - began
              const waited = since === 0 ? undefined : since - caller.at
              outcomes.push({ caller, waited, at, isUseful: Exit.isSuccess(exit) && at <= caller.at + caller.patience })
            })
          )
        )
    }
    for (const caller of callers) {
      const early = caller.at - (now() - began)
      if (early > 0) yield* Effect.sleep(early)
      fibers.push(yield* Effect.forkDaemon(call(caller)))
    }
    yield* Effect.forEach(fibers, Fiber.await, { discard: true })
    return outcomes
  })

/** What the connections do in a millisecond while nobody has to wait. */
const capacityOf = (client: Client, rig: Rig, millis = WORK) =>
  Effect.gen(function* () {
    const work = client.pinned((query) => query(rig.sleep(millis / 1_000)))
    yield* Effect.forEach(
      times(CONNECTIONS, () => work),
      (one) => one,
      { concurrency: CONNECTIONS }
    )
    const began = now()
    yield* Effect.forEach(
      times(10 * CONNECTIONS, () => work),
      (one) => one,
      { concurrency: CONNECTIONS }
    )
    return (10 * CONNECTIONS) / (now() - began)
  })

/** The same work for everybody: what a server does in a time can be said only of such. */
const live = (callers: ReadonlyArray<Caller>, work = WORK) => callers.map((caller) => ({ ...caller, work }))

const LIVE = 4_000

const overloadLive = (rig: Rig) =>
  Effect.gen(function* () {
    const client = yield* rig.open({ max: CONNECTIONS, pool: { shedding: on } })
    const capacity = yield* capacityOf(client, rig)
    const seed = nextSeed()
    const calm = trace({ ...flood(0.6, WORK), millis: CALM }, seed + 5, LIVE)
    const callers = live([...trace({ ...flood(3, WORK), millis: LIVE }, seed), ...calm])
    const outcomes = yield* playLive(client, callers, rig)
    const stats = yield* statsOf(client)
    const during = between(outcomes, 0, LIVE)
    return {
      goodput3: goodput(outcomes, 200, LIVE, capacity),
      high: part(ofClass(during, "high"), isUseful),
      order: outOfOrder(during),
      late: stats?.lateGrants ?? 0,
      normal: normalAfter(between(outcomes, LIVE, Infinity), LIVE, WORK)
    }
  })

const behindLive = (rig: Rig) =>
  Effect.gen(function* () {
    const client = yield* rig.open({ max: CONNECTIONS })
    yield* capacityOf(client, rig)
    const shape = { ...flood(0.1, SHORT), classes: { normal: 1 }, millis: 2_000 }
    const requests = trace(shape, nextSeed(), 100).map((caller) => ({ ...caller, work: SHORT }))
    const idle = yield* playLive(client, requests, rig)
    const heap = yield* start(
      times(QUEUED, () => client.pinned((query) => query(rig.sleep(SHORT / 1_000))).pipe(withPriority("background")))
    )
    yield* Effect.sleep(500)
    const outcomes = yield* playLive(client, requests, rig)
    const { answered } = yield* heap.within(30_000)
    const waits = (all: ReadonlyArray<Outcome>) =>
      percentile(
        all.map(({ waited }) => waited ?? Infinity),
        0.99
      )
    return {
      p99: waits(outcomes) - waits(idle) - SHORT,
      served: answered,
      failed: outcomes.filter((one) => !one.isUseful).length
    }
  })

const drownedLive = (rig: Rig) =>
  Effect.gen(function* () {
    const client = yield* rig.open({ max: CONNECTIONS, pool: { shedding: on } })
    const capacity = yield* capacityOf(client, rig, LONG)
    const seed = nextSeed()
    const shape = { ...flood(12, LONG, 2_000), millis: LIVE }
    const background = trace({ ...shape, classes: { background: 1 } }, seed)
    const requests = trace({ ...shape, load: 0.5, classes: { high: 1 } }, seed + 1)
    const callers = live(
      [...background, ...requests].sort((a, b) => a.at - b.at),
      LONG
    )
    const outcomes = yield* playLive(client, callers, rig)
    const stats = yield* statsOf(client)
    return {
      high: part(ofClass(outcomes, "high"), isUseful),
      background: goodput(ofClass(outcomes, "background"), 200, LIVE, capacity),
      late: stats?.lateGrants ?? 0
    }
  })

const SIMULATED = "the simulation is of our engine"
const CLASSES = "it has no classes of callers"

const numbers = {
  high: { title: "class high that was served in time", unit: "%" },
  late: { title: "connections for callers whose time was over", unit: "count", atMost: 0 },
  order: { title: "lower classes that were served better than the one above", unit: "count", atMost: 0 }
} as const

const overloadNumbers = {
  ...numbers,
  high: { ...numbers.high, atLeast: 99 },
  normal: {
    title: "until all are served in time, within the target of 50 ms and one statement",
    unit: "ms",
    atMost: 300
  }
} as const

const behindNumbers = {
  p99: { title: "p99 of the waits above that of an idle pool and one statement", unit: "ms", atMost: 5 },
  served: { title: "background work that was done", unit: "count", atLeast: QUEUED },
  failed: { title: "requests that failed", unit: "count", atMost: 0 }
} as const

const drownedNumbers = {
  high: { ...numbers.high, atLeast: 99.9 },
  background: { title: "background work, of what can be done", unit: "%", atLeast: 20 },
  late: numbers.late
} as const

export const scenarios: ReadonlyArray<Scenario> = [
  {
    id: "F6",
    name: "1.5 and 3 times as much work as ten connections can do, for 10 s, a fifth of it of class high, in time only within 1 s, with shedding: at least 95 % of what can be done is done in time, class high is served, the lowest class pays, and 300 ms later all is normal.",
    places: ["virtual"],
    notRun: { peers: SIMULATED },
    patience: 120,
    numbers: {
      goodput15: { title: "done in time, of what can be done, at 1.5 times", unit: "%", atLeast: 95 },
      goodput3: { title: "done in time, of what can be done, at 3 times", unit: "%", atLeast: 95 },
      ...overloadNumbers
    },
    run: () => overload
  },
  {
    id: "F6",
    variant: "server",
    name: "3 times as much work as ten connections can do, on a server: as on the virtual clock.",
    places: ["postgresql", "mysql"],
    notRun: { peers: CLASSES },
    patience: 60,
    numbers: {
      goodput3: { title: "done in time, of what can be done", unit: "%", atLeast: 95 },
      ...overloadNumbers
    },
    run: overloadLive
  },
  {
    id: "F7",
    name: "Fifty callers at once with 2 ms of work each, a connect takes 150 ms, five connections are open and fifty allowed: all are served within 25 ms, by at most six connections.",
    places: ["virtual"],
    notRun: { peers: SIMULATED },
    patience: 60,
    numbers: {
      last: { title: "the last one is served", unit: "ms", atMost: 25 },
      connections: { title: "connections that were opened", unit: "count", atMost: 6 }
    },
    run: () => spike
  },
  {
    id: "F8",
    name: "5,000 statements of background work wait, and requests come: with the defaults they wait at most for one statement and 5 ms longer than without, and all of the background work is done.",
    places: ["virtual"],
    notRun: { peers: SIMULATED },
    patience: 60,
    numbers: behindNumbers,
    run: () => behind
  },
  {
    id: "F8",
    variant: "server",
    name: "5,000 statements of background work wait for a server, and requests come: as on the virtual clock.",
    places: ["postgresql", "mysql"],
    notRun: { peers: CLASSES },
    patience: 90,
    numbers: behindNumbers,
    run: behindLive
  },
  {
    id: "F27",
    name: "20,000 callers come at once, beside 3 times as much work as can be done, and give up after 1 s: the connections are in use all the time, nobody gets one too late, giving up costs each of 100,000 at most twice what it costs each of 100, and with shedding all is normal 1 s later.",
    places: ["virtual"],
    notRun: { peers: SIMULATED },
    patience: 600,
    numbers: {
      using: { title: "connections in use", unit: "%", atLeast: 95 },
      late: numbers.late,
      few: { title: "microseconds of the processor until one of 100 has given up", unit: "count" },
      many: { title: "microseconds of the processor until one of 100,000 has given up", unit: "count" },
      ratio: { title: "the second against the first", unit: "count", atMost: 2 },
      normal: { title: "with shedding, until all is normal again", unit: "ms", atMost: 1_000 }
    },
    run: () => storm
  },
  {
    id: "F28",
    name: "Statements take ten times as long for 5 s, and whoever fails asks again, three times at most: 5 s later as much is done as before, without anybody's help, and the server has had at most a tenth more work than it answered in time.",
    places: ["virtual"],
    notRun: { peers: SIMULATED },
    patience: 60,
    numbers: {
      after: { title: "done in time 5 s later, against before", unit: "%", atLeast: 95 },
      slow: { title: "of the callers meanwhile, served in time", unit: "%" },
      amplification: { title: "statements for each that was answered in time", unit: "count", atMost: 1.1 },
      late: numbers.late
    },
    run: () => metastable
  },
  {
    id: "F31",
    name: "12 times as much background work as can be done, beside requests: class high is served, and the background has at least a fifth of what can be done.",
    places: ["virtual"],
    notRun: { peers: SIMULATED },
    patience: 60,
    numbers: drownedNumbers,
    run: () => drowned
  },
  {
    id: "F31",
    variant: "server",
    name: "12 times as much background work as can be done, beside requests to a server: as on the virtual clock.",
    places: ["postgresql", "mysql"],
    notRun: { peers: CLASSES },
    patience: 60,
    numbers: drownedNumbers,
    run: drownedLive
  }
]
