/** Runs load and faults against the program, one phase after the other, and measures. */
import { HttpServer } from "@effect/platform"
import { Sql } from "@sluice/sql"
import { PgCluster } from "@sluice/testkit"
import { Clock, Effect, Fiber, Metric, Ref, Schedule } from "effect"
import * as App from "./App.js"
import * as Board from "./Board.js"
import type { Evidence } from "./Claims.js"
import { ms } from "./Claims.js"
import * as Live from "./Live.js"
import * as Load from "./Load.js"
import * as Meter from "./Meter.js"
import * as Payments from "./Payments.js"
import * as Sync from "./Sync.js"

const phases = [
  "start",
  "normal load",
  "aborted requests",
  "background flood",
  "restart of the primary",
  "failover",
  "drain"
] as const

const normal: Load.Clients = { payers: 16, readers: 4 }
const stormSize = 2_000
const floodSize = 2_200

const now = Clock.currentTimeMillis
const counted = (metric: Metric.Metric.Counter<number>) => Effect.map(Metric.value(metric), ({ count }) => count)
const plural = (n: number, what: string) => `${n.toLocaleString("en-US")} ${what}`

/** The moment at which a condition first holds; `undefined` if it does not within five seconds. Looks every 5 ms. */
const moment = <R>(condition: Effect.Effect<boolean, never, R>) =>
  condition.pipe(
    Effect.repeat({ until: (met) => met, schedule: Schedule.spaced("5 millis") }),
    Effect.zipRight(now),
    Effect.timeoutTo({ duration: "5 seconds", onSuccess: (at): number | undefined => at, onTimeout: () => undefined })
  )

/** What every phase needs. */
interface Stage {
  readonly url: string
  readonly cluster: PgCluster.PgCluster
  readonly board: Board.Board
  readonly meter: Meter.Meter
}

const normalLoad = ({ board, meter, url }: Stage) =>
  Effect.gen(function* () {
    const { stop } = yield* Load.clients(url, normal, meter)
    const from = yield* now
    yield* Effect.sleep("3 seconds")
    const rate = Meter.between(meter.answers, from).length / (((yield* now) - from) / 1_000)
    yield* board.note(`${normal.payers} clients pay, ${normal.readers} look: ${Math.round(rate)} requests/s`)
    yield* stop
  }).pipe(Effect.scoped)

/** Thousands of clients hang up after 1 ms, while a few normal ones go on. Measures what is left of them afterwards. */
const storm = ({ board, cluster, meter, url }: Stage) =>
  Effect.gen(function* () {
    const { stop } = yield* Load.clients(url, { payers: 4, readers: 2 }, meter)
    const sent = yield* Ref.make(0)
    const progress = Effect.flatMap(
      Ref.updateAndGet(sent, (n) => n + 1),
      (n) => board.note(plural(n, "requests aborted"))
    )
    // At most 20 at a time, so a busy machine may be too slow to get through all of them.
    yield* Load.impatient(url, stormSize, "15 seconds", progress)
    const over = yield* now

    const known = meter.acknowledged[0] ?? ""
    const next = yield* Effect.either(Load.send(`${url}/payments/${known}`))
    const nextMs = (yield* now) - over
    yield* stop
    const quiet = yield* now
    const idle = Effect.map(Sql.stats, ({ write }) => write.using + write.quarantined + write.waiting === 0)
    const total = yield* Ref.get(sent)
    const stopped = Effect.map(counted(App.aborted), (count) => count >= total)
    const idleAt = yield* moment(Effect.zipWith(stopped, idle, (a, b) => a && b))
    yield* Effect.sleep(Math.max(0, over + 1_000 - (yield* now)))
    const sessions = yield* Effect.forEach(cluster.nodes, ({ activity }) => activity)
    const left = sessions
      .flat()
      .filter(
        ({ applicationName, queryStart, state }) =>
          applicationName === Live.applicationName && state !== "idle" && (queryStart?.getTime() ?? 0) <= over
      )
    yield* board.note(`${plural(total, "requests aborted")}, ${left.length} backends left at work`)
    return {
      sent: total,
      interrupted: yield* counted(App.aborted),
      interruptedAtWork: yield* counted(Payments.abortedAtWork),
      nextStatus: next._tag === "Right" ? next.right.status : 0,
      nextMs,
      idleAfterMs: idleAt === undefined ? undefined : idleAt - quiet,
      backends: left.length
    }
  }).pipe(Effect.scoped)

/** Thousands of background statements queue on the pool that the requests use as well. */
const flood = ({ board, meter, url }: Stage) =>
  Effect.gen(function* () {
    const { stop } = yield* Load.clients(url, normal, meter)
    const from = yield* now
    const most = yield* Ref.make(0)
    const look = Effect.gen(function* () {
      const { write } = yield* Sql.stats
      yield* Ref.update(most, (n) => Math.max(n, write.waiting))
      yield* board.note(plural(write.waiting, "statements waiting"))
    })
    yield* Effect.forkScoped(Effect.repeat(look, Schedule.spaced("20 millis")))
    const written = yield* Sync.everything(floodSize)
    const waits = Meter.between(meter.waits, from).filter(({ pool }) => pool === Live.poolName)
    yield* stop
    const result = {
      queued: floodSize,
      written,
      waiting: yield* Ref.get(most),
      interactiveP99: Meter.p99(waits.filter(({ background }) => !background)),
      backgroundP99: Meter.p99(waits.filter(({ background }) => background))
    }
    return {
      ...result,
      said: `p99 wait: requests ${ms(result.interactiveP99)}, background ${ms(result.backgroundP99)}`
    }
  }).pipe(
    Effect.scoped,
    Effect.tap(({ said }) => board.note(said))
  )

/** A fault of the primary, and what the board says about it. */
interface Outage<E> {
  readonly kill: Effect.Effect<void, E>
  readonly revive: Effect.Effect<void, E>
  readonly killed: string
  readonly revived: string
}

/** The primary is away for a second, under load. Measures how long the program takes to recover once payments are possible. */
const outage = <E>({ board, meter, url }: Stage, { kill, killed, revive, revived }: Outage<E>) =>
  Effect.gen(function* () {
    const { stop } = yield* Load.clients(url, normal, meter)
    const served = (from: number, to?: number) =>
      Meter.between(meter.answers, from, to).filter(({ failure }) => failure === undefined)
    const writes = (from: number, to?: number) => served(from, to).filter(({ write }) => write)
    yield* Effect.sleep("2 seconds")
    const from = yield* now
    // Writes per millisecond, without the first half second, in which the clients arrive.
    const before = writes(from - 1_500, from).length / 1_500

    yield* board.note(killed)
    yield* kill
    yield* Effect.sleep("1 second")
    yield* revive
    const acceptsAt = yield* now
    yield* board.note(`down for ${ms(acceptsAt - from)}, ${revived}`)

    // Throughput is full when half a second has had four fifths of the payments of a half second before the crash.
    const window = 500
    const fullAt = yield* moment(
      Effect.map(now, (at) => at - window >= acceptsAt && writes(at - window, at).length >= 0.8 * before * window)
    )
    const until = acceptsAt + 2_000
    yield* Effect.sleep(Math.max(0, until - (yield* now)))
    yield* stop
    const firstWrite = writes(acceptsAt)[0]
    const fullMs = fullAt === undefined ? undefined : fullAt - acceptsAt
    yield* board.note(`down for ${ms(acceptsAt - from)}, full throughput ${ms(fullMs)} after: ${revived}`)
    return {
      from,
      acceptsAt,
      until,
      firstWriteMs: firstWrite === undefined ? undefined : firstWrite.at - acceptsAt,
      fullMs,
      readsMeanwhile: served(from, acceptsAt).filter(({ write }) => !write).length
    }
  }).pipe(Effect.scoped)

/** The primary crashes, and starts again. This server has little to recover and would be back in a tenth of a second. */
const restart = (stage: Stage) =>
  outage(stage, {
    kill: stage.cluster.primary.stop("immediate"),
    revive: stage.cluster.primary.start,
    killed: "the primary is down",
    revived: "it accepts again"
  })

/** The primary crashes for good, and its replica becomes the primary. */
const failover = ({ cluster, ...stage }: Stage) =>
  Effect.gen(function* () {
    const { primary, replicas } = cluster
    // From now on the primary acknowledges what the replica has. Else its crash loses the last payments, whatever a client does.
    yield* primary.query("alter system set synchronous_standby_names = '*'")
    yield* primary.query("select pg_reload_conf()")
    return yield* outage(
      { cluster, ...stage },
      {
        kill: primary.stop("immediate"),
        revive: replicas[0]!.promote,
        killed: "the primary is gone for good",
        revived: "the replica is the primary"
      }
    )
  })

const countFound = (node: PgCluster.PgNode, ids: ReadonlyArray<string>) =>
  Effect.map(
    node.query<{ found: number }>("select count(*)::int as found from payments where id = any($1::uuid[])", [ids]),
    ([row]) => row?.found ?? 0
  )

/** The whole demo: starts the cluster, runs every phase, closes the program and looks for what is left. */
export const run = Effect.gen(function* () {
  const startedAt = yield* now
  const meter = yield* Meter.make
  const board = yield* Board.make(phases, meter)
  yield* board.begin("start")
  yield* board.note("a primary and a streaming replica, PostgreSQL 18")
  const cluster = yield* PgCluster.make({ replicas: 1 })

  const work = Effect.gen(function* () {
    const url = yield* HttpServer.addressFormattedWith(Effect.succeed)
    const sql = yield* Sql.Sql
    yield* board.watch(sql.stats)
    const listening = yield* Effect.fork(meter.listen)
    yield* board.note(`a primary and a streaming replica, PostgreSQL 18; ${url}`)
    const stage: Stage = { url, cluster, board, meter }

    yield* board.begin("normal load")
    yield* normalLoad(stage)
    yield* board.begin("aborted requests")
    const stormed = yield* storm(stage)
    yield* board.begin("background flood")
    const flooded = yield* flood(stage)
    yield* board.begin("restart of the primary")
    const restarted = yield* restart(stage)
    yield* board.begin("failover")
    const failedOver = yield* failover(stage)
    yield* board.begin("drain")
    yield* Fiber.interrupt(listening)
    return { sql, storm: stormed, flood: flooded, restart: restarted, failover: failedOver, drainFrom: yield* now }
  })
  // When the Layer's scope closes, the program's server, job and pools end. The cluster goes on, so that it can be
  // asked.
  const { drainFrom, sql, ...measured } = yield* Effect.provide(work, Live.layer(cluster, { port: 0 }))
  const drainMs = (yield* now) - drainFrom
  // The only server that is left.
  const survivor = cluster.replicas[0]!
  // The server may take a moment to see that a socket was closed.
  const ours = Effect.map(survivor.activity, (all) =>
    all.filter(({ applicationName }) => applicationName === Live.applicationName)
  )
  const sessions = yield* Effect.repeat(ours, {
    until: (left) => left.length === 0,
    schedule: Schedule.spaced("20 millis").pipe(Schedule.upTo("2 seconds"))
  }).pipe(Effect.zipRight(ours))
  const found = yield* countFound(survivor, meter.acknowledged)
  yield* board.note(`everything closed in ${ms(drainMs)}`)
  yield* board.end
  const evidence: Evidence = {
    ...measured,
    answers: meter.answers,
    acknowledged: meter.acknowledged.length,
    found,
    synced: yield* counted(Sync.synced),
    closed: {
      pools: yield* sql.stats,
      sessions: sessions.length,
      drainMs
    },
    elapsedMs: (yield* now) - startedAt
  }
  return evidence
}).pipe(Effect.scoped)
