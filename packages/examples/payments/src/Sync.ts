/**
 * Hands payments over to the ledger: a job in the same process as the requests, on the same pool. When connections are scarce,
 * requests come first.
 */
import { SqlClient } from "@effect/sql"
import { Job, Sql } from "@sluice/sql"
import { Effect, Metric, Schedule } from "effect"

/** Counts the payments that were handed over. */
export const synced = Metric.counter("payments_synced", { incremental: true })

/** Hands over up to 50 payments. With `skip locked` two processes can share the work. */
export const round = Sql.query(
  `update payments set synced = true where id in (
     select id from payments where not synced and state = 'paid' order by created_at limit 50 for update skip locked
   ) returning id`
).pipe(Effect.tap((rows) => Metric.incrementBy(synced, rows.length)))

/** Runs a round every quarter of a second. A round that fails is followed by the next one. */
export const layer = Job.layer({ name: "sync", schedule: Schedule.spaced("250 millis") }, round)

/**
 * Hands payments over once more, `count` times: one statement for each payment, all at once, of which each takes 5 ms. They
 * queue for the few connections of the pool, behind every request, also behind those that come later. Succeeds with the
 * number of payments that were written.
 */
export const everything = (count: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = yield* sql<{ id: string }>`select id from payments order by created_at limit ${count}`
    // A slow machine may not have so many payments yet: then some are handed over several times.
    const ids = rows.length === 0 ? [] : Array.from({ length: count }, (_, index) => rows[index % rows.length]!.id)
    return yield* Effect.reduce(
      yield* Effect.forEach(
        ids,
        (id) => sql`update payments set synced = true where id = ${id} and pg_sleep(0.005)::text = '' returning id`,
        { concurrency: "unbounded" }
      ),
      0,
      (sum, written) => Effect.succeed(sum + written.length)
    )
  }).pipe(
    Sql.withPriority("background"),
    // No client waits for this work, so it may wait longer for a connection than a request may.
    Sql.withAcquireTimeout("1 minute")
  )
