import { PgClient } from "@effect/sql-pg/PgClient"
import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Effect, Fiber, Redacted, Stream } from "effect"
import { atOnce, booksBalance, pid, reasonOf, rowsOf, table } from "./support/fixture.js"
import { pgBouncer } from "./support/pgBouncer.js"

const through = <A, E>(
  config: PgSql.PgSqlConfig,
  body: Effect.Effect<A, E, Sql.Sql | PgClient>,
  { options = "", servers = 2 } = {}
) =>
  Effect.gen(function* () {
    const url = Redacted.make(`${yield* pgBouncer(servers)}${options}`)
    return yield* body.pipe(
      Effect.tap(() => booksBalance),
      Effect.provide(PgSql.layer({ url, proxy: "pgbouncer-transaction", duplicates: "allow", ...config }))
    )
  }).pipe(Effect.scoped)

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("behind PgBouncer", (it) => {
  it.effect("ten connections on two servers: statements, transactions and streams work", () =>
    through(
      { pool: { maxSize: 10 } },
      Effect.gen(function* () {
        yield* table("bounced", "id int primary key")
        const pids = yield* Effect.forEach(
          Array.from({ length: 300 }, (_, n) => n),
          (n) =>
            Effect.map(
              Sql.query<{ pid: number; n: number }>("select pg_backend_pid() as pid, $1::int as n", [n]),
              ([row]) => {
                assert.strictEqual(row!.n, n)
                return row!.pid
              }
            ),
          { concurrency: 50 }
        )
        assert.strictEqual(new Set(pids).size, 2)
        yield* Effect.forEach(
          Array.from({ length: 50 }, (_, n) => n),
          (n) =>
            Sql.withTransaction(
              Effect.gen(function* () {
                const before = yield* pid
                yield* Sql.query("insert into bounced values ($1)", [n])
                assert.strictEqual(yield* pid, before)
              })
            ),
          { concurrency: 10 }
        )
        assert.strictEqual((yield* rowsOf("bounced")).length, 50)
        const { client } = yield* Sql.Sql
        const rows = yield* Effect.all(
          Array.from({ length: 4 }, () => Stream.runCount(client`select g from generate_series(1, 1000) g`.stream)),
          { concurrency: 4 }
        )
        assert.deepStrictEqual(rows, [1000, 1000, 1000, 1000])
      })
    )
  )

  it.effect("an interrupted statement is cancelled on the server, and its connection is kept", () =>
    through(
      { pool: { maxSize: 1 } },
      Effect.gen(function* () {
        for (let i = 0; i < 5; i++) {
          const fiber = yield* Effect.fork(Sql.query("select pg_sleep(30)"))
          yield* Effect.sleep(50)
          yield* atOnce(Fiber.interrupt(fiber))
          yield* atOnce(pid)
        }
        const { closed } = (yield* Sql.stats).write
        assert.strictEqual(
          Object.values(closed).reduce((sum, n) => sum + n, 0),
          0
        )
      }),
      { servers: 1 }
    )
  )

  it.effect("a statement timeout is the client's", () =>
    through(
      { statementTimeout: "1 second" },
      Effect.gen(function* () {
        const reason = yield* reasonOf(Sql.query("select pg_sleep(30)"))
        assert.strictEqual(reason._tag, "StatementTimeout")
        yield* pid
      })
    )
  )

  it.effect("listen fails with InvalidUse, and says what to do", () =>
    through(
      {},
      Effect.gen(function* () {
        const client = yield* PgClient
        const error = yield* Effect.flip(Stream.runDrain(client.listen("channel")))
        assert.strictEqual(SqlReason.of(error)._tag, "InvalidUse")
        assert.include(error.message, "server itself")
      })
    )
  )

  it.effect("options in the url are refused before PgBouncer refuses them", () =>
    Effect.gen(function* () {
      const failed = yield* Effect.exit(through({}, pid, { options: "?options=-c%20work_mem%3D1MB" }))
      assert.include(String(failed), "start-up parameter options")
    })
  )
})
