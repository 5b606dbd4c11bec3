/** Another server becomes the primary, or its address comes to mean another server. */

import type { SqlError } from "@effect/sql/SqlError"
import { SqlReason } from "@sluice/sql"
import { FaultProxy } from "@sluice/testkit"
import { Cause, Effect } from "effect"
import { unique } from "../../../packages/sql/test/support/eventually.js"
import type { Client, Query, Rig, Scenario } from "../scoreboard/model.js"
import { Load, now, untilTrue } from "./support.js"

/** Whether a server has refused a write because it takes none. */
const isReadOnly = (failure: unknown): boolean => {
  const error = Cause.isCause(failure) ? Cause.squash(failure) : failure
  if (error instanceof Error && (error as { _tag?: string })._tag === "SqlError") {
    if (SqlReason.of(error as SqlError)._tag === "NotWritable") return true
  }
  const texts = [error, (error as { cause?: unknown } | undefined)?.cause]
  return texts.some((one) => /read.only/i.test(String((one as Error | undefined)?.message ?? "")))
}

let ids = 0

const tableOn = (client: Client, rig: Rig) =>
  Effect.gen(function* () {
    const table = unique("moved")
    yield* client.query(`create table ${table} (id int primary key)`)
    yield* rig.cluster.awaitReplicated
    const insert = (query: Query) => Effect.suspend(() => query(`insert into ${table} values (${++ids})`))
    /** Writes the row once, however often it is executed. */
    const insertOnce = (query: Query) =>
      Effect.suspend(() => {
        const row = `into ${table} values (${++ids})`
        return query(rig.database === "postgresql" ? `insert ${row} on conflict do nothing` : `insert ignore ${row}`)
      })
    return { table, insert, insertOnce }
  })

/** The primary is told to take no more writes, and a quarter of a second later the replica takes them. */
export const demotion = (rig: Rig) =>
  Effect.gen(function* () {
    const { primary, replicas } = rig.cluster
    const [replica] = replicas
    const client = yield* rig.open({ at: primary, others: [replica!], acquireTimeout: 5_000 })
    const { insert, table } = yield* tableOn(client, rig)
    const writes = yield* Load.start(20, () => insert(client.query))
    const reads = yield* Load.start(5, () => client.read(`select count(*) as n from ${table}`))
    yield* Effect.sleep(1_000)
    const since = now()
    yield* primary.demote
    yield* Effect.sleep(250)
    yield* replica!.promote
    const promoted = now()
    const resumed = yield* untilTrue(5_000, () => writes.answers(promoted).length > 0, promoted)
    const refused = writes.done.filter(({ at, error }) => at >= since && error !== undefined && isReadOnly(error))
    const first = Math.min(...refused.map(({ at }) => at))
    return {
      // What was on its way when the first was refused could not know.
      again: refused.filter(({ at, took }) => at - took > first).length,
      resumed,
      reads: reads.errors(since).length,
      failed: writes.errors(since).length
    }
  })

/**
 * As an operator does it, so that the replica has everything and then takes the writes: PostgreSQL is stopped, which sends all that
 * it has written; MariaDB refuses writes meanwhile.
 */
export const switchover = (rig: Rig) =>
  Effect.gen(function* () {
    const { cluster } = rig
    const [replica] = cluster.replicas
    const client = yield* rig.open({
      at: cluster.primary,
      others: [replica!],
      acquireTimeout: 5_000,
      sluice: { failoverHold: "5 seconds" }
    })
    const { insertOnce } = yield* tableOn(client, rig)
    const load = yield* Load.start(50, () => insertOnce(client.idempotent))
    yield* Effect.sleep(1_000)
    const since = now()
    if (rig.database === "postgresql") yield* cluster.primary.stop
    else yield* Effect.zipRight(cluster.primary.demote, cluster.awaitReplicated)
    yield* replica!.promote
    const promotion = now() - since
    const resumed = yield* untilTrue(5_000, () => load.answers(since + promotion).length > 0)
    yield* Effect.sleep(500)
    return {
      failed: load.errors(since).length,
      pause: resumed === "never" ? resumed : Math.max(0, load.longestPause(since) - promotion),
      promotion
    }
  })

/** A name that is given another address: connections of before stay where they are, unless they are cut. */
export const moved = (rig: Rig) =>
  Effect.gen(function* () {
    const { primary, replicas } = rig.cluster
    const [replica] = replicas
    const path = yield* FaultProxy.make({ target: primary })
    // Those who do transactions alone have a client of their own: nothing else tells it where it is.
    const [one, two] = [yield* rig.open({ at: path }), yield* rig.open({ at: path })]
    const { insert } = yield* tableOn(one, rig)
    const writes = yield* Load.start(5, () => insert(one.query))
    const transactions = yield* Load.start(5, () => two.transaction((query) => insert(query)))
    yield* Effect.sleep(500)
    yield* path.aim(replica!)
    yield* path.reset
    yield* Effect.sleep(2_000)
    // Back without a cut: what is connected to the standby stays connected to it.
    yield* path.aim(primary)
    const since = now()
    const back = (load: Load) => untilTrue(4_000, () => load.answers(since).length > 0, since)
    const [statements, whole] = yield* Effect.all([back(writes), back(transactions)], { concurrency: 2 })
    return { statements, whole }
  })

const ONE = "it knows one server"
const one = { "pg-pool": ONE, "@effect/sql-pg": ONE, mysql2: ONE }

export const scenarios: ReadonlyArray<Scenario> = [
  {
    id: "F4",
    name: "The primary is demoted in place and a replica promoted: after the first refusal no write goes out over an older connection, writes resume within 1 s of the promotion, and reads go on.",
    places: ["postgresql", "mysql"],
    notRun: one,
    replicas: 1,
    isFresh: true,
    patience: 40,
    numbers: {
      again: { title: "writes refused that began after the first refusal", unit: "count", atMost: 0 },
      resumed: { title: "writes resume after the promotion", unit: "ms", atMost: 1_000 },
      reads: { title: "reads that failed", unit: "count", atMost: 0 },
      failed: { title: "writes that failed", unit: "count" }
    },
    run: demotion
  },
  {
    id: "F34",
    name: "A planned switchover under 50 writers, with a hold of 5 s: no write fails, and none waits for longer than the promotion and 300 ms.",
    places: ["postgresql", "mysql"],
    notRun: one,
    replicas: 1,
    isFresh: true,
    patience: 40,
    numbers: {
      failed: { title: "writes that failed", unit: "count", atMost: 0 },
      pause: { title: "longest pause of writes beyond the promotion", unit: "ms", atMost: 300 },
      promotion: { title: "the promotion took", unit: "ms" }
    },
    run: switchover
  },
  {
    id: "F35",
    name: "The address of the primary comes to point at a standby, and back: every kind of work resumes within 1 s after.",
    places: ["postgresql", "mysql"],
    replicas: 1,
    patience: 30,
    numbers: {
      statements: { title: "single writes resume", unit: "ms", atMost: 1_000 },
      whole: { title: "transactions resume", unit: "ms", atMost: 1_000 }
    },
    run: moved
  }
]
