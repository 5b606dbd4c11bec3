/** Clients of every database: how they are configured, how many connections they have, and how they end. */
import { Migrator, SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { assert } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer, Redacted, Stream } from "effect"
import { contract, eventually, idsOf, noSessions, spansOf, table, unique } from "./contract.js"
import { Server } from "./databases.js"

contract("the client", ({ driver, it, run }) => {
  const { words } = driver

  const currentDatabase = Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.map(sql.unsafe<{ d: string }>(`select ${words.currentDatabase} as d`), (rows) => rows[0]!.d)
  )

  it.effect("host, port, database, username and password say what a url says", () =>
    Effect.gen(function* () {
      const { host, port, url } = yield* Server
      const [one, two] = [unique("url"), unique("fields")]
      const { username = "sluice" } = yield* Effect.flatMap(Server, (server) => server.client(two))
      const at = { host, port, database: words.otherDatabase, username, password: Redacted.make("sluice") }
      const ways = [
        { name: one, options: { url: yield* url(one, { database: words.otherDatabase }) } },
        { name: two, options: { url: undefined, ...at } }
      ]
      for (const { options } of ways) assert.strictEqual(yield* run(options, currentDatabase), words.otherDatabase)
    })
  )

  it.effect("there are never more than maxConnections, and all of them are used", () =>
    run(
      { maxConnections: 3 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const ids = new Set<number>()
        const twelve = Effect.forEach(
          Array.from({ length: 12 }),
          () => sql.unsafe<{ id: number }>(`${words.sleep(0.05)}, ${words.session} as id`),
          { concurrency: "unbounded" }
        )
        yield* eventually(
          "all three are used",
          Effect.map(twelve, (all) => {
            for (const [row] of all) ids.add(row!.id)
            return ids.size >= 3
          })
        )
        yield* twelve
        assert.strictEqual(ids.size, 3)
      })
    )
  )

  it.effect("a Layer without a server, with a wrong password or database, fails with a SqlError", () =>
    Effect.gen(function* () {
      const server = yield* Server
      const name = unique("wrong")
      for (const at of [{ port: 1 }, { password: "wrong" }, { database: "no_such_database" }]) {
        const options = yield* server.client(name, at)
        const error = yield* Effect.flip(Effect.scoped(Layer.build(driver.layer(options))))
        assert.strictEqual(error._tag, "SqlError")
      }
      yield* noSessions(name)
    })
  )

  it.effect("layerConfig reads the configuration; what is missing is a ConfigError", () =>
    Effect.gen(function* () {
      const server = yield* Server
      const name = unique("configured")
      const url = yield* server.url(name, { database: words.otherDatabase })
      const configured = driver.layerConfig({ url: Config.redacted("DATABASE_URL") })
      const from = (values: ReadonlyArray<readonly [string, string]>) =>
        currentDatabase.pipe(
          Effect.provide(configured),
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map(values)))
        )
      assert.strictEqual(yield* from([["DATABASE_URL", Redacted.value(url)]]), words.otherDatabase)
      const missing = yield* Effect.flip(from([]))
      assert.strictEqual((missing as { readonly _op?: string })._op, "MissingData")
    })
  )

  it.effect("make gives a client without a Layer, for as long as its scope lives", () =>
    Effect.gen(function* () {
      const server = yield* Server
      const name = unique("made")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const client = yield* driver.make(yield* server.client(name))
          assert.deepStrictEqual(yield* client`select 1 as n`, [{ n: 1 }])
          assert.isAbove((yield* server.sessions(name)).length, 0)
        })
      )
      yield* noSessions(name)
    })
  )

  it.effect("a statement after the client's scope has closed is a SqlError", () =>
    Effect.gen(function* () {
      const server = yield* Server
      const client = yield* Effect.scoped(Effect.flatMap(server.client(unique("closed")), driver.make))
      for (const late of [
        client`select 1`,
        client.withTransaction(Effect.void),
        Stream.runDrain(client`select 1`.stream)
      ]) {
        assert.strictEqual((yield* Effect.flip(late as Effect.Effect<unknown, SqlError>))._tag, "SqlError")
      }
    })
  )

  it.effect("spans say which database, where", () =>
    Effect.gen(function* () {
      const { host, port } = yield* Server
      const name = unique("spans")
      const { username = "sluice" } = yield* Effect.flatMap(Server, (server) => server.client(name))
      yield* run(
        {
          url: undefined,
          host,
          port,
          database: words.otherDatabase,
          username,
          password: Redacted.make("sluice")
        },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          for (const work of [sql`select 1`, sql.withTransaction(Effect.void), Stream.runDrain(sql`select 1`.stream)]) {
            const { seen } = yield* spansOf(work as Effect.Effect<unknown, SqlError>)
            const attributes = seen[0]!.attributes
            assert.deepStrictEqual(
              ["db.system.name", "db.namespace", "server.address", "server.port"].map((name) => attributes[name]),
              [driver.database, words.otherDatabase, host, port]
            )
          }
        })
      )
    })
  )

  it.effect("a statement goes on working when its tables change, inside a transaction too", () =>
    run(
      { maxConnections: 1 },
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const server = yield* Server
        const t = yield* table("id int primary key")
        yield* sql`insert into ${sql(t)} (id) values (${1})`
        const all = sql`select * from ${sql(t)} where id = ${1}`
        assert.deepStrictEqual(yield* all, [{ id: 1 }])
        yield* sql.unsafe(`alter table ${t} add column a int`)
        assert.deepStrictEqual(yield* all, [{ id: 1, a: null }])
        yield* sql.withTransaction(
          Effect.gen(function* () {
            assert.deepStrictEqual(yield* all, [{ id: 1, a: null }])
            yield* sql.unsafe(`alter table ${t} add column b int`)
            assert.deepStrictEqual(yield* all, [{ id: 1, a: null, b: null }])
          })
        )
        // Changed by somebody else, between two uses inside of transactions.
        yield* server.query(`alter table ${t} drop column b`)
        assert.deepStrictEqual(yield* sql.withTransaction(all), [{ id: 1, a: null }])
      })
    )
  )

  it.effect("two migrators at once run each migration once", () =>
    run(
      {},
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table(`id ${words.serial} primary key, step int`)
        const journal = unique("migrations")
        const migrator = Migrator.make({})
        const migrate = (steps: Record<string, Effect.Effect<unknown, unknown, SqlClient.SqlClient>>) =>
          migrator({ loader: Migrator.fromRecord(steps), table: journal })
        const step = sql`insert into ${sql(t)} (step) values (${1})`
        yield* migrate({ "0001_one": step })
        const both = yield* Effect.all(
          [1, 2].map(() => migrate({ "0001_one": step, "0002_two": step })),
          { concurrency: 2 }
        )
        assert.deepStrictEqual(both.map((ran) => ran.length).sort(), [0, 1])
        assert.deepStrictEqual(yield* idsOf(t), [1, 2])
      })
    )
  )
})
