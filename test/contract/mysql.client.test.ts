import * as Path from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeFileSystem, NodePath } from "@effect/platform-node"
import { SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { MysqlClient, MysqlMigrator } from "@effect/sql-mysql2"
import { assert } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { contract, dumping, idsOf, unique } from "./contract.js"
import { Server } from "./databases.js"
import { unixSocket } from "./door.js"
import type * as Drivers from "./drivers.js"

contract(
  "MySQL, the client",
  ({ it, run }) => {
    it.effect("the Layer gives one client, by its own name and as the SqlClient", () =>
      run(
        {},
        Effect.gen(function* () {
          const client = yield* MysqlClient.MysqlClient
          assert.strictEqual<unknown>(client, yield* SqlClient.SqlClient)
          assert.strictEqual(client[MysqlClient.TypeId], MysqlClient.TypeId)
          assert.isTrue(SqlClient.TypeId in client)
          assert.deepStrictEqual(yield* client`select 1 as n`, [{ n: 1 }])
        })
      )
    )

    it.effect("config says what the client was configured with", () =>
      Effect.gen(function* () {
        const server = yield* Server
        const name = unique("config")
        const client = yield* server.client(name)
        const upper = (s: string) => s.toUpperCase()
        yield* run(
          { ...client, transformResultNames: upper, transformQueryNames: upper, spanAttributes: { a: 1 } },
          Effect.map(MysqlClient.MysqlClient, ({ config }) => {
            assert.deepStrictEqual(
              [config.host, config.port, config.database, config.username],
              [server.host, server.port, "sluice", name]
            )
            assert.strictEqual(config.password && Redacted.value(config.password), "sluice")
            assert.strictEqual(config.transformResultNames, upper)
            assert.strictEqual(config.transformQueryNames, upper)
            assert.deepStrictEqual(config.spanAttributes, { a: 1 })
          })
        )
        const url = yield* server.url(name)
        yield* run(
          { url },
          Effect.map(MysqlClient.MysqlClient, ({ config }) => assert.strictEqual(config.url, url))
        )
      })
    )

    it.effect("poolConfig says how mysql2 reads and writes values", () =>
      Effect.gen(function* () {
        const read = (poolConfig: Drivers.Options<"mysql">["poolConfig"]) =>
          run(
            { poolConfig },
            Effect.gen(function* () {
              const sql = yield* SqlClient.SqlClient
              const statement = sql`select cast('2024-02-29 01:02:03' as datetime) as at, cast(1.25 as decimal(5, 2)) as d,
                (select count(*) from seq_1_to_5) as small, cast(9007199254740993 as signed) as large`
              const [row] = yield* statement
              assert.deepStrictEqual(yield* statement.unprepared, [row!])
              return row as { at: unknown; d: unknown; small: unknown; large: unknown }
            })
          )
        assert.deepStrictEqual(yield* read({}), {
          at: new Date(2024, 1, 29, 1, 2, 3),
          d: "1.25",
          small: 5,
          large: "9007199254740993"
        })
        assert.deepStrictEqual(yield* read({ dateStrings: true, decimalNumbers: true, bigNumberStrings: true }), {
          at: "2024-02-29 01:02:03",
          d: 1.25,
          small: "5",
          large: "9007199254740993"
        })
        assert.deepStrictEqual((yield* read({ timezone: "+05:00" })).at, new Date("2024-02-29T01:02:03+05:00"))
      })
    )

    it.effect("poolConfig may ask for TLS; a server without it is refused", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(
          run(
            { poolConfig: { ssl: {} } },
            Effect.flatMap(SqlClient.SqlClient, (sql) => sql`select 1`)
          )
        )
        assert.strictEqual((error as SqlError)._tag, "SqlError")
      })
    )

    it.effect("poolConfig may name the server's Unix socket", () =>
      Effect.gen(function* () {
        const { path } = yield* unixSocket("mysqld.sock", yield* Server)
        const { database, password, username } = yield* Effect.flatMap(Server, (server) =>
          server.client(unique("unix"))
        )
        yield* run(
          { host: undefined, port: undefined, database, password, username, poolConfig: { socketPath: path } },
          Effect.flatMap(SqlClient.SqlClient, (sql) =>
            Effect.map(sql`select 1 as n`, (rows) => assert.deepStrictEqual(rows, [{ n: 1 }]))
          )
        )
      }).pipe(Effect.scoped)
    )

    it.effect("poolConfig may choose the character set of the session", () =>
      run(
        { poolConfig: { charset: "latin1_swedish_ci" } },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          assert.deepStrictEqual(yield* sql`select @@character_set_client as c, ${"é"} as e`, [{ c: "latin1", e: "é" }])
        })
      )
    )

    it.effect("MysqlMigrator runs migrations and hands mysqldump all that it needs", () =>
      Effect.gen(function* () {
        const server = yield* Server
        const name = unique("migrator")
        const dump = dumping("mysqldump", "/* a comment */\ncreate table dumped (id int);")
        const migrated = (options: Drivers.Options<"mysql">) =>
          run(
            options,
            Effect.gen(function* () {
              const sql = yield* SqlClient.SqlClient
              const fs = yield* FileSystem.FileSystem
              const schemaDirectory = yield* fs.makeTempDirectoryScoped()
              const t = unique("t")
              const journal = unique("migrations")
              const migrate = MysqlMigrator.layer({
                loader: MysqlMigrator.fromRecord({
                  "0001_make": sql.unsafe(`create table ${t} (id int primary key)`),
                  "0002_fill": sql`insert into ${sql(t)} (id) values (${1})`
                }),
                schemaDirectory,
                table: journal
              })
              yield* Effect.scoped(Layer.build(migrate))
              yield* MysqlMigrator.run({
                loader: MysqlMigrator.fromRecord({
                  "0003_alter": sql.unsafe(`alter table ${t} add column name varchar(10)`),
                  "0004_more": sql`insert into ${sql(t)} (id, name) values (${2}, ${"x"})`
                }),
                schemaDirectory,
                table: journal
              })
              assert.deepStrictEqual(yield* idsOf(t), [1, 2])
              assert.include(yield* fs.readFileString(Path.join(schemaDirectory, "_schema.sql")), "create table dumped")
            }).pipe(Effect.scoped, Effect.provide(Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, dump.layer)))
          )
        yield* migrated(yield* server.client(name))
        yield* migrated({ url: yield* server.url(name) })
        // Schema and journal, for the Layer and for the run.
        assert.strictEqual(dump.calls.length, 8)
        for (const { args } of dump.calls) {
          assert.deepStrictEqual(args.slice(0, 8), [
            "-h",
            server.host,
            "-P",
            String(server.port),
            "-u",
            name,
            "-psluice",
            "sluice"
          ])
        }
      })
    )

    it.effect("a client without a database chooses one in its statements", () =>
      Effect.gen(function* () {
        const server = yield* Server
        const client = yield* server.client(unique("none"))
        yield* run(
          { ...client, database: undefined },
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            assert.deepStrictEqual(yield* sql`select database() as d`, [{ d: null }])
            assert.deepStrictEqual(yield* sql`select count(*) > ${-1} as n from information_schema.tables`, [{ n: 1 }])
          })
        )
      })
    )
  },
  { database: "mysql" }
)
