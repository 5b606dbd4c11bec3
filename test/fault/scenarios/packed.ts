/** Reads that share a connection: what becomes of the others when one waits, and when the connection is lost. */
import { FaultProxy } from "@sluice/testkit"
import { Effect } from "effect"
import { unique } from "../../../packages/sql/test/support/eventually.js"
import type { Client, Rig, Scenario } from "../scoreboard/model.js"
import { settle, start, times, until } from "./support.js"

/** A table, and who locks it: with a connection beside the client's. */
const lockable = (rig: Rig, client: Client) =>
  Effect.gen(function* () {
    const table = unique("locked")
    yield* client.query(`create table ${table} (n int)`)
    yield* client.query(`insert into ${table} values (1)`)
    const read = `select n from ${table}`
    const holder = yield* rig.subject.open({
      database: rig.database,
      name: `${rig.name}_h`,
      user: yield* rig.cluster.login(`${rig.name}_h`),
      at: rig.cluster.primary,
      max: 1
    })
    /** Until the scope closes, or `unlock`. */
    const lock = Effect.gen(function* () {
      let isLocked = false
      let isOver = false
      const fiber = yield* Effect.forkDaemon(
        Effect.ignore(
          holder.pinned((query) =>
            Effect.gen(function* () {
              const [first, last] =
                rig.database === "postgresql"
                  ? [["begin", `lock table ${table} in access exclusive mode`], "commit"]
                  : [[`lock tables ${table} write`], "unlock tables"]
              for (const text of first as ReadonlyArray<string>) yield* query(text)
              isLocked = true
              yield* until(20_000, () => isOver)
              yield* query(last as string)
            })
          )
        )
      )
      const unlock = Effect.sync(() => {
        isOver = true
      })
      yield* Effect.addFinalizer(() => unlock)
      yield* until(5_000, () => isLocked)
      return Effect.zipRight(
        unlock,
        until(3_000, () => Effect.map(fiber.status, ({ _tag }) => _tag === "Done"))
      )
    })
    return { read, lock }
  })

/** Runs a text until it is known, and its connection is warm. */
const learn = (client: Client, text: string) => Effect.repeatN(client.read(text), 8)

/** One read of 101 waits for a lock; then one connection, the only one, is silent. */
export const oneWaits = (rig: Rig) =>
  Effect.gen(function* () {
    const path = yield* FaultProxy.make({ target: rig.cluster.primary })
    const client = yield* rig.open({ at: path })
    const { lock, read } = yield* lockable(rig, client)
    const short = (n: number) => `select ${n % 5} as n`
    for (const text of [read, ...times(5, short)]) yield* learn(client, text)
    // All connections of those who need one for each read are open.
    yield* settle(
      3_000,
      times(10, () => client.query(rig.sleep(0.2)))
    )
    const unlock = yield* lock
    const waiting = yield* start([client.query(read)])
    const others = yield* settle(
      2_000,
      times(100, (n) => client.query(short(n)))
    )
    yield* unlock
    yield* waiting.within(2_000)
    yield* waiting.leave
    // A client of its own, of which one connection is open.
    const silent = yield* rig.open({ at: path })
    yield* learn(silent, short(1))
    yield* path.blackhole({ new: false, forGood: true })
    const beside = yield* settle(
      2_000,
      times(101, () => silent.query(short(1)))
    )
    return {
      slowest: others.slowest,
      hanging: others.hanging,
      silent: beside.hanging,
      // The one on the silent socket itself is nobody else's.
      failed: others.failed + beside.failed
    }
  })

/** The session ends under fifty reads that wait for a lock. */
export const sessionEnds = (rig: Rig) =>
  Effect.gen(function* () {
    const path = yield* FaultProxy.make({ target: rig.cluster.primary })
    const client = yield* rig.open({ at: path })
    const { lock, read } = yield* lockable(rig, client)
    yield* learn(client, read)
    const failures = (isMarked: boolean) =>
      Effect.gen(function* () {
        const unlock = yield* lock
        const reads = yield* start(times(50, () => (isMarked ? client.read(read) : client.query(read))))
        yield* until(3_000, () =>
          Effect.map(rig.cluster.sessions(rig.name), (all) => all.some(({ isRunning }) => isRunning))
        )
        yield* Effect.sleep(100)
        yield* path.reset
        yield* Effect.sleep(200)
        yield* unlock
        const { failed, hanging } = yield* reads.within(3_000)
        yield* reads.leave
        return failed + hanging
      }).pipe(Effect.scoped)
    return {
      unmarked: yield* failures(false),
      ...(client.sluice === undefined ? {} : { marked: yield* failures(true) })
    }
  })

export const scenarios: ReadonlyArray<Scenario> = [
  {
    id: "F32",
    name: "One read waits for a lock and 100 others follow: none of them waits for it. The same when its socket is silent: one at most is not answered.",
    places: ["postgresql", "mysql"],
    patience: 40,
    numbers: {
      slowest: { title: "the slowest of the 100 others", unit: "ms", atMost: 100 },
      hanging: { title: "of them, hanging after 2 s", unit: "count", atMost: 0 },
      silent: { title: "of 101 with one silent socket, hanging after 2 s", unit: "count", atMost: 1 },
      failed: { title: "reads that failed", unit: "count", atMost: 0 }
    },
    run: oneWaits
  },
  {
    id: "F33",
    name: "A session ends under fifty reads: those marked as reads do not fail, and of the unmarked no more than a client of ten plain connections would have lost.",
    places: ["postgresql", "mysql"],
    patience: 40,
    numbers: {
      marked: { title: "of 50 marked reads, failed", unit: "count", atMost: 0 },
      unmarked: { title: "of 50 unmarked reads, failed", unit: "count", atMost: 10 }
    },
    run: sessionEnds
  }
]
