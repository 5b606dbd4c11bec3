/** How a Layer of ours ends, as the server sees it. */
import { assert } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { Effect } from "effect"
import { eventually, noSessions, unique } from "./contract.js"
import { Server } from "./databases.js"
import { ours } from "./ours.js"

/** Sessions whose client went away without a goodbye, as each server counts them. */
const abandoned = {
  postgres: "select sum(sessions_abandoned)::int as n from pg_stat_database",
  mysql:
    "select cast(variable_value as int) as n from information_schema.global_status where variable_name = 'aborted_clients'"
}

/** Sessions that there have been. */
const ended = {
  postgres: "select sum(sessions)::int as n from pg_stat_database",
  mysql:
    "select cast(variable_value as int) as n from information_schema.global_status where variable_name = 'connections'"
}

ours("closing", ({ dialect, it, optionsOf, session }) => {
  const scheme = dialect.scheme as keyof typeof abandoned
  const count = (sql: string) =>
    Effect.flatMap(Server, ({ query }) => Effect.map(query(sql), (rows) => Number((rows[0] as any).n)))

  it.effect("a Layer that ends says goodbye on every connection: the server counts no client that went away", () =>
    Effect.gen(function* () {
      const name = unique("closing")
      const own = yield* optionsOf(name)
      const layer = dialect.layer({ ...own, pool: { maxSize: 4, minIdle: 4 } })
      const before = yield* count(ended[scheme])
      const lost = yield* count(abandoned[scheme])
      for (let i = 0; i < 5; i++) {
        yield* Effect.gen(function* () {
          yield* Effect.all([session, session, session, session], { concurrency: "unbounded" })
          yield* eventually(
            "all connections are idle",
            Effect.map(Sql.stats, ({ write }) => write.available === 4 && write.using === 0)
          )
        }).pipe(Effect.provide(layer))
      }
      yield* noSessions(name)
      yield* eventually(
        "the server has counted the sessions that ended",
        Effect.map(count(ended[scheme]), (now) => now - before >= 20)
      )
      assert.strictEqual(yield* count(abandoned[scheme]), lost)
    })
  )
})
