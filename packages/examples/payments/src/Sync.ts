/**
 * Hands payments over to the ledger: a job in the same process as the requests, on the same pool. Everything it does
 * is of class `background`: when connections are scarce, requests come first.
 */
import { SqlClient } from "@effect/sql"
import { Sql } from "@sluice/sql"
import { Effect, Layer, Metric, Schedule } from "effect"

/** Payments handed over. */
export const synced = Metric.counter("payments_synced", { incremental: true })

/** One round: up to 50 payments. `skip locked` lets two processes share the work. */
export const round = Sql.query(
  `update payments set synced = true where id in (
     select id from payments where not synced and state = 'paid' order by created_at limit 50 for update skip locked
   ) returning id`
).pipe(
  Effect.tap((rows) => Metric.incrementBy(synced, rows.length)),
  Sql.withPriority("background")
)

/** A round every quarter of a second, for as long as the program runs. A round that fails is logged, the next one comes. */
export const layer = Layer.scopedDiscard(
  round.pipe(
    Effect.catchAll((error) => Effect.logWarning(`sync: ${error.message}`)),
    Effect.repeat(Schedule.spaced("250 millis")),
    Effect.forkScoped
  )
)

/**
 * The night somebody syncs everything again: one statement for each payment, all at once. The ledger takes 5 ms for each.
 * They queue for the same few connections, behind every request that comes later. Gives the number that were written.
 */
export const everything = (count: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = yield* sql<{ id: string }>`select id from payments order by created_at limit ${count}`
    return yield* Effect.reduce(
      yield* Effect.forEach(
        rows,
        ({ id }) => sql`update payments set synced = true where id = ${id} and pg_sleep(0.005)::text = '' returning id`,
        { concurrency: "unbounded" }
      ),
      0,
      (sum, written) => Effect.succeed(sum + written.length)
    )
  }).pipe(
    Sql.withPriority("background"),
    // Nobody waits for this work, so it may wait longer for its turn than a request.
    Sql.withAcquireTimeout("1 minute")
  )
