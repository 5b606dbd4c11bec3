/** What this program does with payments. No function here acquires or releases a connection. */
import { SqlClient, type SqlError } from "@effect/sql"
import { Sql } from "@sluice/sql"
import { Data, Effect, Metric, type ParseResult, Schema } from "effect"

/** What a client sends. The client chooses the id, so it may send the same payment twice and pays once. */
export class NewPayment extends Schema.Class<NewPayment>("NewPayment")({
  id: Schema.UUID,
  /** In the smallest unit of the currency. */
  amount: Schema.Int.pipe(Schema.between(1, 1_000_000_000)),
  currency: Schema.String.pipe(Schema.pattern(/^[A-Z]{3}$/))
}) {}

export class Payment extends NewPayment.extend<Payment>("Payment")({
  state: Schema.Literal("pending", "paid")
}) {}

export class PaymentNotFound extends Data.TaggedError("PaymentNotFound")<{ readonly id: string }> {}

/**
 * Counts requests that were aborted inside their transaction. The statement was cancelled and the transaction rolled
 * back.
 */
export const abortedAtWork = Metric.counter("payments_aborted_at_work", { incremental: true })

/**
 * Asks the card company, which answers after 20 ms. A real program would do this outside of the transaction. The demo
 * does it inside, so that each payment holds its connection for a while and clients can hang up at the worst moment.
 */
const chargeCard = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`select pg_sleep(0.02)`)

/** Writes and charges a payment, in one transaction: all statements below run on one connection of the primary. */
export const pay = ({ amount, currency, id }: NewPayment) =>
  Sql.withTransaction(
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const inserted = yield* sql`
        insert into payments ${sql.insert({ id, amount, currency })} on conflict (id) do nothing returning id`
      if (inserted.length > 0) {
        yield* chargeCard
        yield* sql`update payments set state = 'paid' where id = ${id}`
      }
      const [row] = yield* sql`select id, amount, currency, state from payments where id = ${id}`
      return { payment: yield* Schema.decodeUnknown(Payment)(row), created: inserted.length > 0 }
    }).pipe(Effect.onInterrupt(() => Metric.increment(abortedAtWork)))
  )

/**
 * Reads a payment from a replica. If the replica does not have it, asks the primary: a payment that was made a moment
 * ago may not have arrived on the replica yet.
 */
export const find = (id: string) =>
  Sql.read(select(id)).pipe(
    Effect.flatMap((rows) => (rows.length > 0 ? Effect.succeed(rows) : Sql.write(select(id)))),
    Effect.flatMap(
      ([row]): Effect.Effect<Payment, PaymentNotFound | ParseResult.ParseError> =>
        row === undefined ? new PaymentNotFound({ id }) : Schema.decodeUnknown(Payment)(row)
    )
  )

const select = (id: string): Effect.Effect<ReadonlyArray<object>, SqlError.SqlError, SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql`select id, amount, currency, state from payments where id = ${id}`)
