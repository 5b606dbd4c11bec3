/** The table of the example, and its first rows. */
import { SqlClient } from "@effect/sql"
import { Effect } from "effect"

/** Number of payments that are there from the start. None of them has been handed over yet. */
export const seeded = 3_000

/** Creates the table and fills it, unless it is there already. */
export const create = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    create table if not exists payments (
      id         uuid primary key,
      amount     integer not null check (amount > 0),
      currency   text not null,
      state      text not null default 'pending',
      synced     boolean not null default false,
      created_at timestamptz not null default now()
    )`
  yield* sql`create index if not exists payments_to_sync on payments (created_at) where not synced`
  yield* sql`
    insert into payments (id, amount, currency, state)
    select gen_random_uuid(), 100 + n, 'EUR', 'paid' from generate_series(1, ${seeded}::int) as n
    where not exists (select from payments)`
})
