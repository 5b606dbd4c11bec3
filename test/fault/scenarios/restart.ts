/** A database that goes away, refuses, or asks for another password. */
import type { SqlError } from "@effect/sql/SqlError"
import { SqlReason } from "@sluice/sql"
import { FaultProxy } from "@sluice/testkit"
import { Cause, Effect, type Scope } from "effect"
import type { Numbers, Rig, Scenario } from "../scoreboard/model.js"
import { Load, now, Patience, settle, start, times, until } from "./support.js"

/** How long the server stays away, in milliseconds. */
const DOWN = 3_000

/**
 * Ten seconds, and for writes what a server may take besides to stop and to start where the machine does other things too. Reads
 * find their way to the primary after half of it.
 */
const ACQUIRE = { write: 25_000, read: 10_000 } as const

/** Milliseconds for which throughput is looked for after the server is back. */
const BACK = 6_000

/** Callers, and what each asks for: with ten connections this is a load of 200 statements a second. */
const CALLERS = 30
const WORK = 0.05

/** Whether ours has said that the connection was lost, or the server stopped. */
const isLoss = (cause: unknown): boolean => {
  const error = Cause.isCause(cause) ? Cause.squash(cause) : cause
  return ["ConnectionLost", "ServerShutdown"].includes(SqlReason.of(error as SqlError)._tag)
}

/** A restart under work, with as many callers as the contract says; on the pool of a replica, if there is a `read`. */
export const restart = (rig: Rig, side: "write" | "read"): Effect.Effect<Numbers, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const { cluster, sleep } = rig
    const node = side === "write" ? cluster.primary : cluster.replicas[0]!
    const path = yield* FaultProxy.make({ target: node })
    const client = yield* rig.open({
      acquireTimeout: ACQUIRE[side],
      ...(side === "write" ? { at: path } : { replicas: [path] })
    })
    const ask = side === "write" ? client.query : client.read
    yield* Effect.addFinalizer(() => Effect.ignore(node.start))
    const before = yield* Effect.scoped(
      Effect.gen(function* () {
        const load = yield* Load.start(CALLERS, () => ask(sleep(WORK)))
        yield* Effect.sleep(1_500)
        return load.rate(now() - 750)
      })
    )
    const running = (count: number) =>
      until(4_000, () =>
        Effect.map(cluster.sessions(rig.name), (all) => all.filter(({ isRunning }) => isRunning).length === count)
      )
    // What was under way must not be taken for what is begun now.
    yield* running(0)
    // Before the replica is missed no read looks for another way.
    const busy = yield* start(times(10, () => ask(sleep(side === "write" ? 30 : 1))))
    yield* running(10)
    const waiting = yield* start(times(100, (n) => ask(`select ${n} as n`)))
    yield* Effect.sleep(100)
    yield* node.stop
    const downAt = now()
    const attempts = yield* path.accepted
    const newcomers = yield* start(times(20, (n) => ask(`select ${n} as n`)))
    yield* Effect.sleep(DOWN)
    const tried = (yield* path.accepted) - attempts
    const seconds = (now() - downAt) / 1_000
    yield* node.start
    const upAt = now()
    const away = upAt - downAt
    const load = yield* Load.start(CALLERS, () => ask(sleep(WORK)))
    const full = yield* load.fullAgain(upAt, before, BACK)
    const [lost, waited, came] = yield* Effect.all([busy.within(6_000), waiting.within(6_000), newcomers.within(6_000)])
    yield* Effect.forEach([busy, waiting, newcomers], (batch) => batch.leave)
    return {
      lost: lost.failed,
      unserved: waited.failed + came.failed,
      hanging: lost.hanging + waited.hanging + came.hanging,
      tried: tried / seconds,
      // Before it those who come are told at once that the database is down.
      dead: load.errors(load.firstAnswer(upAt)).length,
      ...(client.sluice === undefined ? {} : { untyped: lost.errors.filter((error) => !isLoss(error)).length }),
      full,
      away
    }
  })

const restartNumbers = (lost: number) =>
  ({
    lost: { title: "of the 10 in flight, lost", unit: "count", atMost: lost },
    unserved: { title: "of the 120 who waited or came, failed", unit: "count", atMost: 0 },
    hanging: { title: "of all 130, hanging at the end", unit: "count", atMost: 0 },
    tried: { title: "connects tried while down", unit: "per second", atMost: 12 },
    untyped: { title: "of the lost, told something else than a lost connection", unit: "count", atMost: 0 },
    dead: { title: "failures after the first answer of the server that is back", unit: "count", atMost: 0 },
    full: { title: "full throughput again", unit: "ms", atMost: 2_000 },
    away: { title: "the server was away for", unit: "ms" }
  }) as const

const READS = "it has no pool for reads"

const restarts: ReadonlyArray<Scenario> = [
  {
    id: "F1",
    name: "A database restarts, 3 s down: only the 10 statements in flight may fail, all who wait are served, at most 10 connects a second are tried meanwhile, and throughput is full within 2 s.",
    places: ["postgresql", "mysql"],
    patience: 60,
    numbers: restartNumbers(10),
    run: (rig) => restart(rig, "write")
  },
  {
    id: "F1",
    variant: "read pool",
    name: "The same on the pool of a replica, where not even those in flight fail.",
    places: ["postgresql", "mysql"],
    notRun: { "pg-pool": READS, "postgres.js": READS, "@effect/sql-pg": READS },
    replicas: 1,
    patience: 60,
    numbers: restartNumbers(0),
    run: (rig) => restart(rig, "read")
  }
]

/** The server has room for three connections of a pool that wants ten. */
export const refused = (rig: Rig) =>
  Effect.gen(function* () {
    const path = yield* FaultProxy.make({ target: rig.cluster.primary })
    // All that they ask for takes three connections more than a second, and a busy machine several times as long.
    const client = yield* rig.open({ room: 3, at: path, acquireTimeout: 5_000 * (yield* Patience) })
    const began = now()
    const callers = times(40, () => Effect.repeatN(client.query(rig.sleep(0.02)), 4))
    let most = 0
    yield* Effect.map(rig.cluster.sessions(rig.name), (all) => {
      most = Math.max(most, all.length)
    }).pipe(Effect.zipRight(Effect.sleep(50)), Effect.forever, Effect.forkScoped)
    const { failed, hanging, slowest } = yield* settle(9_000, callers)
    const seconds = Math.max(1, (now() - began) / 1_000)
    return { failed, hanging, tried: ((yield* path.accepted) - 3) / seconds, most, slowest }
  })

const refusals: ReadonlyArray<Scenario> = [
  {
    id: "F15",
    name: "The server takes three connections and no more: 40 callers of five statements are served by what works, none fails, and there is no storm of connects.",
    places: ["postgresql", "mysql"],
    patience: 30,
    numbers: {
      failed: { title: "of 40 callers, failed", unit: "count", atMost: 0 },
      hanging: { title: "hanging after 9 s", unit: "count", atMost: 0 },
      tried: { title: "connects tried in vain", unit: "per second", atMost: 12 },
      most: { title: "sessions on the server at once", unit: "count", atMost: 3 },
      slowest: { title: "all are served", unit: "ms" }
    },
    run: refused
  }
]

/** How long the server has the new password and the program does not, in milliseconds. */
const UNKNOWN = 2_500

/** Milliseconds. */
const TOGETHER = 500

export const rotated = (rig: Rig) =>
  Effect.gen(function* () {
    const { cluster, name, sleep, subject } = rig
    const path = yield* FaultProxy.make({ target: cluster.primary })
    let secret = "one"
    let reads = 0
    yield* cluster.setPassword(name, secret)
    const client = yield* subject.open({
      database: rig.database,
      name,
      user: name,
      password: () => {
        reads++
        return secret
      },
      at: path,
      max: 4,
      acquireTimeout: 1_000
    })
    yield* settle(
      3_000,
      times(4, () => client.query(sleep(0.2)))
    )
    yield* cluster.setPassword(name, "two")
    const open = yield* settle(
      3_000,
      times(4, () => client.query(sleep(0.2)))
    )
    yield* cluster.end(name)
    const load = yield* Load.start(8, () => client.query(sleep(0.01)))
    // Connects that were under way together, before the first of them was refused, are one attempt.
    yield* Effect.sleep(TOGETHER)
    const [accepted, readBefore] = [yield* path.accepted, reads]
    yield* Effect.sleep(UNKNOWN)
    const tried = (yield* path.accepted) - accepted
    const readMeanwhile = reads - readBefore
    secret = "two"
    const since = now()
    const isBack = yield* until(5_000, () => load.answers(since).length > 0)
    return {
      lost: open.failed + open.hanging,
      tried: tried / (UNKNOWN / 1_000),
      extra: Math.max(0, readMeanwhile - tried),
      back: isBack ? now() - since : ("never" as const)
    }
  })

const FIXED = "its password is a text that never changes"

const rotations: ReadonlyArray<Scenario> = [
  {
    id: "F14",
    name: "Credentials are rotated: old connections continue, the secret is read once for each attempt, at most one attempt a second is made with the wrong one, and the new one is found.",
    places: ["postgresql", "mysql"],
    notRun: { mysql2: FIXED, "@effect/sql-pg": FIXED },
    patience: 30,
    numbers: {
      lost: { title: "failures on open connections", unit: "count", atMost: 0 },
      // Attempts after 1, 2 and 3 s lie in these 2.5 s.
      tried: { title: "attempts with the wrong password", unit: "per second", atMost: 1.2 },
      extra: { title: "reads of the secret beyond one for each attempt", unit: "count", atMost: 0 },
      back: { title: "first answer after the program has the new one", unit: "ms", atMost: 1_000 }
    },
    run: rotated
  }
]

export const scenarios: ReadonlyArray<Scenario> = [...restarts, ...rotations, ...refusals]
