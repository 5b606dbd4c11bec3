/** Replicas that go silent, go away, or lag behind. */
import { Sql } from "@sluice/sql"
import { FaultProxy } from "@sluice/testkit"
import { Effect } from "effect"
import { unique } from "../../../packages/sql/test/support/eventually.js"
import type { Measured, Rig, Scenario } from "../scoreboard/model.js"
import { Load, now, percentile, until, untilTrue } from "./support.js"

/** Callers that read all the time: as many as have room on two replicas of three, or on one of two. */
const READERS_OF_THREE = 20
const READERS_OF_TWO = 10

/** How long a read takes the server, in seconds. */
const READ = 0.01

/** Milliseconds in which a replica that answers nothing any more is found out. What it was executing waits for so long. */
const FOUND_OUT = 2_000

const pathsTo = (rig: Rig) => Effect.forEach(rig.cluster.replicas, (target) => FaultProxy.make({ target }))

/** One of three replicas is a black hole for four seconds. */
export const oneOfThree = (rig: Rig) =>
  Effect.gen(function* () {
    const paths = yield* pathsTo(rig)
    const client = yield* rig.open({ replicas: paths })
    const load = yield* Load.start(READERS_OF_THREE, () => client.read(rig.sleep(READ)))
    yield* Effect.sleep(3_000)
    const before = percentile(load.answers(now() - 2_000), 0.99)
    const path = paths[1]!
    const accepted = yield* path.accepted
    let connecting = 0
    if (client.sluice !== undefined) {
      yield* Effect.provide(Sql.stats, client.sluice).pipe(
        Effect.tap(({ read }) =>
          Effect.sync(() => {
            connecting = Math.max(connecting, read[1]!.connecting)
          })
        ),
        Effect.zipRight(Effect.sleep(10)),
        Effect.forever,
        Effect.forkScoped
      )
    }
    const since = now()
    yield* path.blackhole()
    yield* Effect.sleep(4_000)
    const end = now()
    const probes = (yield* path.accepted) - accepted
    const meanwhile = load.answers(since, end)
    const waiting = load.hanging(500)
    const begunLater = load.done.filter(({ at, took }) => at - took >= since + FOUND_OUT && took > 500).length
    const failed = load.errors(since).length
    yield* path.heal
    return {
      slower: (100 * percentile(meanwhile, 0.99)) / before - 100,
      waited: meanwhile.filter((took) => took > 500).length,
      later: begunLater + waiting,
      failed,
      probes: probes / 4,
      ...(client.sluice === undefined ? {} : { connecting }),
      before,
      p99: percentile(meanwhile, 0.99)
    }
  })

/** One of two replicas is down for two seconds, and later a black hole for three. */
export const oneOfTwo = (rig: Rig) =>
  Effect.gen(function* () {
    const [path, other] = yield* pathsTo(rig)
    const node = rig.cluster.replicas[0]!
    const client = yield* rig.open({ replicas: [path!, other!] })
    const load = yield* Load.start(READERS_OF_TWO, () => client.read(rig.sleep(READ)))
    yield* Effect.addFinalizer(() => Effect.ignore(node.start))
    yield* Effect.sleep(2_000)
    const before = load.rate(now() - 1_000)
    const since = now()
    yield* node.stop
    const down = yield* load.fullAgain(now(), before, 2_000)
    yield* node.start
    yield* Effect.sleep(500)
    const holeAt = now()
    yield* path!.blackhole()
    const silent = yield* load.fullAgain(holeAt + 1, before, 3_000)
    yield* until(3_000, () => now() - holeAt >= 3_000)
    const failed = load.errors(since).length
    const hanging = load.hanging(2_000)
    yield* path!.heal
    return { failed, hanging, down, silent }
  })

/** The replica receives and shows nothing new, and catches up later. */
export const lag = (rig: Rig) =>
  Effect.gen(function* () {
    const { cluster } = rig
    const replica = cluster.replicas[0]!
    const client = yield* rig.open({ replicas: [replica] })
    const table = unique("lag")
    yield* client.query(`create table ${table} (id int)`)
    yield* cluster.awaitReplicated
    yield* Effect.addFinalizer(() => Effect.ignore(replica.catchUp))
    const newest = Effect.map(client.read(`select max(id) as id from ${table}`), ([row]) => Number(row?.id ?? 0))
    const served = Effect.map(
      client.sluice === undefined ? Effect.die("ours alone") : Effect.provide(Sql.stats, client.sluice),
      ({ read }) => read[0]!.acquired
    )
    let stale = 0
    let reads = 0
    const writeAndRead = (id: number) =>
      Effect.gen(function* () {
        yield* client.query(`insert into ${table} values (${id})`)
        const seen = yield* newest
        reads++
        if (seen < id) stale++
      })
    yield* replica.holdBack
    const since = now()
    // One flow after another: each has written, and reads.
    for (let id = 1; now() - since < 3_000; id++) yield* writeAndRead(id)
    yield* replica.catchUp
    yield* cluster.awaitReplicated
    const before = yield* served
    const back = yield* untilTrue(8_000, () =>
      Effect.zipRight(
        Effect.forkDaemon(newest),
        Effect.map(served, (n) => n > before)
      )
    )
    return { stale, reads, back: back satisfies Measured }
  })

const NO_READS = "it has no pool for reads"
const noReads = { "pg-pool": NO_READS, "postgres.js": NO_READS, "@effect/sql-pg": NO_READS }

export const scenarios: ReadonlyArray<Scenario> = [
  {
    id: "F5",
    name: "One of three replicas is a black hole for 4 s: the p99 of reads is no more than 5 % slower, and no read that begins 2 s later waits for it.",
    places: ["postgresql", "mysql"],
    notRun: noReads,
    replicas: 3,
    patience: 30,
    numbers: {
      failed: { title: "reads that failed", unit: "count", atMost: 0 },
      // A read that is long may be at work. Those that the black hole has swallowed are executed elsewhere when it is found out.
      waited: { title: "reads that waited for more than 500 ms", unit: "count" },
      later: { title: "of those that began 2 s later, waited so", unit: "count", atMost: 0 },
      slower: { title: "p99 of reads, slower by", unit: "%", atMost: 5 },
      // Its pool had begun them for callers before it was found out. Only one question for its role is under way.
      connecting: { title: "connects to it under way at once", unit: "count" },
      probes: { title: "connects to it", unit: "per second" },
      before: { title: "p99 before", unit: "ms" },
      p99: { title: "p99 meanwhile", unit: "ms" }
    },
    run: oneOfThree
  },
  {
    id: "F20",
    name: "A replica lags: no read misses what its own flow has written before, and the replica is used again when it has caught up.",
    places: ["postgresql", "mysql"],
    notRun: { peers: "a flow of statements has no position that it could read at" },
    replicas: 1,
    patience: 40,
    numbers: {
      stale: { title: "reads that missed the write before them", unit: "count", atMost: 0 },
      reads: { title: "of so many", unit: "count" },
      // Three good probes, one each two seconds.
      back: { title: "the replica answers reads again", unit: "ms", atMost: 6_500 }
    },
    run: lag
  },
  {
    id: "F26",
    name: "One replica of two is down, then a black hole: no read fails, and throughput is full again within one probe.",
    places: ["postgresql", "mysql"],
    notRun: noReads,
    replicas: 2,
    patience: 40,
    numbers: {
      failed: { title: "reads that failed", unit: "count", atMost: 0 },
      hanging: { title: "readers that hang after 2 s", unit: "count", atMost: 0 },
      down: { title: "full throughput after it went down", unit: "ms", atMost: 500 },
      silent: { title: "full throughput after it went silent", unit: "ms", atMost: 1_500 }
    },
    run: oneOfTwo
  }
]
