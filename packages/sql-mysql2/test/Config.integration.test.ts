import { FileSystem, Path } from "@effect/platform"
import { CommandExecutor } from "@effect/platform/CommandExecutor"
import { SqlClient } from "@effect/sql"
import { MysqlMigrator } from "@effect/sql-mysql2"
import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { FaultProxy, MariaDbCluster } from "@sluice/testkit"
import { Effect, Fiber, Layer, Redacted } from "effect"
import { as, eventually, failureOf, onPool, running, user } from "./support/fixture.js"

const refused = (config: MysqlSql.MysqlSqlConfig) => failureOf(MysqlSql.layer({ duplicates: "allow", ...config }))

layer(MariaDbCluster.layer({ replicas: 1 }), { excludeTestServices: true, timeout: "2 minutes" })(
  "configuration",
  (it) => {
    const cases: ReadonlyArray<{
      readonly name: string
      readonly config: (node: MariaDbCluster.MariaDbNode) => MysqlSql.MysqlSqlConfig
      readonly tag: SqlReason.Tag
      readonly says: RegExp
    }> = [
      {
        name: "two wrong ports, a wrong timeout and options of mysql2's pool: all of them",
        config: () => ({
          port: 0,
          replicas: [{ port: 70_000 }],
          statementTimeout: Infinity,
          mysql2: { connectionLimit: 5 } as MysqlSql.Mysql2Options
        }),
        tag: "InvalidOptions",
        says: /port must.*replicas\[0\]\.port.*statementTimeout.*mysql2\.connectionLimit is no option here: use pool\.maxSize/
      },
      {
        name: "an unknown character set",
        config: () => ({ mysql2: { charset: "klingon" } }),
        tag: "InvalidOptions",
        says: /mysql2\.charset must be a character set.*"klingon"/
      },
      {
        name: "a socket that does not exist",
        config: () => ({ path: "/nowhere/mysql.sock", username: "app", password: Redacted.make("s3cret") }),
        tag: "ConnectFailed",
        says: /no such socket/i
      }
    ]

    for (const { config, name, says, tag } of cases) {
      it.effect(`${name}: the Layer fails with ${tag}, says what to do, and shows no password`, () =>
        Effect.gen(function* () {
          const { primary } = yield* MariaDbCluster.MariaDbCluster
          const { message, reason } = yield* refused(config(primary))
          assert.strictEqual(reason._tag, tag)
          assert.match(message, says)
          assert.strictEqual(reason.outcome, "none")
        })
      )
    }

    it.effect(
      "options of mysql2 reach each connection, the one that was reset too: dates, numbers, character set",
      () =>
        onPool(
          {
            pool: { maxSize: 1 },
            mysql2: {
              charset: "latin1_swedish_ci",
              dateStrings: true,
              decimalNumbers: true,
              bigNumberStrings: true,
              timezone: "+02:00"
            }
          },
          () =>
            Effect.gen(function* () {
              const read = Sql.query(
                "select cast('2026-01-02 03:04:05' as datetime) d, cast(1.5 as decimal(5, 2)) n, cast(9007199254740993 as unsigned) b, @@collation_connection c"
              )
              const expected = [{ d: "2026-01-02 03:04:05", n: 1.5, b: "9007199254740993", c: "latin1_swedish_ci" }]
              assert.deepEqual(yield* read, expected)
              yield* Sql.query("set names latin1 collate latin1_bin")
              assert.deepEqual(yield* read, expected)
              assert.deepEqual(yield* Sql.query("select ? as t", ["grün"]), [{ t: "grün" }])
            })
        )
    )

    it.effect("reads go to a replica, writes to the primary; both have a control connection of their own", () =>
      Effect.gen(function* () {
        const { awaitReplicated, primary, replicas } = yield* MariaDbCluster.MariaDbCluster
        yield* user("both")
        yield* awaitReplicated
        yield* onPool(
          {
            primary: { url: as(primary, "both") },
            replicas: [{ url: as(replicas[0]!, "both") }],
            pool: { maxSize: 2 }
          },
          () =>
            Effect.gen(function* () {
              const port = Effect.map(Sql.query<{ p: number }>("select @@port as p"), (rows) => rows[0]!.p)
              assert.strictEqual(yield* port, primary.port)
              assert.strictEqual(yield* Sql.read(port), replicas[0]!.port)
              const fiber = yield* Effect.fork(Sql.read(Sql.query("select sleep(10)")))
              yield* running("both", "sleep(10)")
              yield* Fiber.interrupt(fiber)
              yield* Sql.read(port)
              // Nobody waits for a kill, the next read neither.
              yield* eventually(
                "the control connections are open",
                Effect.map(Sql.stats, ({ control }) => control.every(({ open }) => open > 0))
              )
              const { control } = yield* Sql.stats
              assert.deepStrictEqual(
                control.map(({ endpoint, open }) => [endpoint, open]),
                [
                  // Each server is asked for its role.
                  [`127.0.0.1:${primary.port}/sluice`, 1],
                  [`127.0.0.1:${replicas[0]!.port}/sluice`, 1]
                ]
              )
            })
        )
      })
    )

    it.effect("a primary and its replica are two servers: a pool on each is no duplicate", () =>
      Effect.gen(function* () {
        const { primary, replicas } = yield* MariaDbCluster.MariaDbCluster
        const build = (url: Redacted.Redacted) => Layer.build(MysqlSql.layer({ url, duplicates: "error" }))
        yield* build(primary.url)
        yield* build(replicas[0]!.url)
        const proxy = yield* FaultProxy.make({ target: replicas[0]! })
        const through = Redacted.value(replicas[0]!.url).replace(`:${replicas[0]!.port}/`, `:${proxy.port}/`)
        const error = yield* Effect.flip(build(Redacted.make(through)))
        assert.strictEqual(SqlReason.of(error)._tag, "InvalidOptions")
      }).pipe(Effect.scoped)
    )

    it.effect("migrations of @effect/sql-mysql2 run, once", () =>
      onPool({}, () =>
        Effect.gen(function* () {
          const create = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`create table migrated (id int primary key)`)
          const run = MysqlMigrator.run({ loader: MysqlMigrator.fromRecord({ "1_create": create }) }).pipe(
            // Only a schema that is dumped needs them.
            Effect.provide(Layer.mergeAll(FileSystem.layerNoop({}), Path.layer)),
            Effect.provideService(CommandExecutor, undefined as never)
          )
          assert.deepStrictEqual(yield* run, [[1, "create"]])
          assert.deepStrictEqual(yield* run, [])
          yield* Sql.query("insert into migrated values (1)")
        })
      )
    )
  }
)
