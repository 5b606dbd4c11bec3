import * as Http from "node:http"
import * as Net from "node:net"
import { FileSystem, Path } from "@effect/platform"
import { CommandExecutor } from "@effect/platform/CommandExecutor"
import { SqlClient } from "@effect/sql"
import { MysqlClient, MysqlMigrator } from "@effect/sql-mysql2"
import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { FaultProxy, MariaDbCluster } from "@sluice/testkit"
import { Config, ConfigProvider, Effect, Exit, Fiber, Layer, Logger, Redacted } from "effect"
import { as, eventually, onPool, running, thread, urlThrough, user } from "./support/fixture.js"

const sockets = new Set<Net.Socket>()

/** A server that is not MySQL, for as long as the scope lives. */
const listening = (make: () => Net.Server) =>
  Effect.acquireRelease(
    Effect.async<Net.Server>((resume) => {
      const server = make()
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  ).pipe(Effect.map((server) => (server.address() as Net.AddressInfo).port))

const speaking = (greeting: string | Buffer) => () =>
  Net.createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    if (greeting.length > 0) socket.write(greeting)
  })

const failureOf = (config: MysqlSql.MysqlSqlConfig) =>
  Effect.gen(function* () {
    const error = yield* Layer.build(MysqlSql.layer({ duplicates: "allow", ...config })).pipe(
      Effect.scoped,
      Effect.flip,
      Effect.timeout("40 seconds")
    )
    assert.strictEqual((error as any)._tag, "SqlError")
    assert.notInclude(String(error) + JSON.stringify(error) + (error as any).message, "s3cret")
    return { reason: SqlReason.of(error), message: (error as Error).message }
  })

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
        name: "a url that is none",
        config: () => ({ url: Redacted.make("postgres://app:s3cret@db/pay") }),
        tag: "InvalidOptions",
        says: /url must begin with mysql:\/\//
      },
      {
        name: "a url that cannot be parsed",
        config: () => ({ url: Redacted.make("mysql://app:s3cret@[db/pay") }),
        tag: "InvalidOptions",
        says: /url cannot be read/
      },
      {
        name: "two wrong ports, a wrong timeout and options of mysql2's pool: all of them",
        config: () => ({
          port: 0,
          replicas: [{ port: 70_000 }],
          statementTimeout: Infinity,
          mysql2: { connectionLimit: 5 } as MysqlSql.Mysql2Options
        }),
        tag: "InvalidOptions",
        says: /statementTimeout.*connectionLimit has another name here: pool\.maxSize.*primary: port.*replica 1: port/
      },
      {
        name: "an unknown character set",
        config: () => ({ mysql2: { charset: "klingon" } }),
        tag: "InvalidOptions",
        says: /Unknown charset 'klingon'/
      },
      {
        name: "maxSize 0",
        config: ({ url }) => ({ url, pool: { maxSize: 0 } }),
        tag: "InvalidOptions",
        says: /maxSize/
      },
      {
        name: "a wrong password",
        config: ({ port }) => ({ host: "127.0.0.1", port, username: "sluice", password: Redacted.make("s3cret") }),
        tag: "AuthenticationFailed",
        says: /check username and password/i
      },
      {
        name: "an unknown database",
        config: ({ url }) => ({ url: Redacted.make(`${Redacted.value(url)}_nowhere`) }),
        tag: "AuthenticationFailed",
        says: /there is no such database/i
      },
      {
        name: "a host that does not exist",
        config: () => ({ host: "no-such-host.invalid", username: "app", password: Redacted.make("s3cret") }),
        tag: "ConnectFailed",
        says: /cannot be resolved/i
      },
      {
        name: "a socket that does not exist",
        config: () => ({ path: "/nowhere/mysql.sock", username: "app", password: Redacted.make("s3cret") }),
        tag: "ConnectFailed",
        says: /no such socket/i
      },
      {
        name: "TLS where the server has none",
        config: ({ url }) => ({ url, ssl: {} }),
        tag: "ConnectFailed",
        says: /leave ssl out/i
      }
    ]

    for (const { config, name, says, tag } of cases) {
      it.effect(`${name}: the Layer fails with ${tag}, says what to do, and shows no password`, () =>
        Effect.gen(function* () {
          const { primary } = yield* MariaDbCluster.MariaDbCluster
          const { message, reason } = yield* failureOf(config(primary))
          assert.strictEqual(reason._tag, tag)
          assert.match(message, says)
          assert.strictEqual(reason.outcome, "none")
        })
      )
    }

    it.effect("a port where nothing listens, or something else: ConnectFailed, at once or within connectTimeout", () =>
      Effect.gen(function* () {
        const { primary } = yield* MariaDbCluster.MariaDbCluster
        const proxy = yield* FaultProxy.make({ target: primary })
        yield* proxy.refuse
        const at = (port: number): MysqlSql.MysqlSqlConfig => ({
          host: "127.0.0.1",
          port,
          username: "app",
          password: Redacted.make("s3cret"),
          pool: { connectTimeout: "300 millis" }
        })
        const refused = yield* failureOf(at(proxy.port))
        assert.strictEqual(refused.reason._tag, "ConnectFailed")
        assert.match(refused.message, /nothing listens there/i)
        const http = yield* listening(() => Http.createServer())
        const ssh = yield* listening(speaking("SSH-2.0-OpenSSH_9.2\r\n"))
        const garbage = yield* listening(speaking(Buffer.from([5, 0, 0, 0, 1, 2, 3, 4, 5])))
        const silent = yield* listening(speaking(""))
        for (const port of [http, ssh, garbage, silent]) {
          const { message, reason } = yield* failureOf(at(port))
          assert.strictEqual(reason._tag, "ConnectFailed")
          assert.include(message, `127.0.0.1:${port}`)
        }
      }).pipe(Effect.scoped)
    )

    it.effect("startup lazy: the Layer starts without the database, and statements fail typed until it is there", () =>
      Effect.gen(function* () {
        const { primary } = yield* MariaDbCluster.MariaDbCluster
        const proxy = yield* FaultProxy.make({ target: primary })
        yield* proxy.refuse
        const url = yield* urlThrough(proxy)
        yield* onPool(
          { url, startup: "lazy", pool: { acquireTimeout: "400 millis", validateTimeout: "400 millis" } },
          () =>
            Effect.gen(function* () {
              yield* eventually(
                "a statement fails, and says why",
                Effect.map(
                  Effect.flip(thread),
                  (error) => SqlReason.of(error)._tag === "AcquireTimeout" && error.message.includes("ECONNREFUSED")
                )
              )
              yield* proxy.heal
              yield* eventually("a statement succeeds", Effect.map(Effect.exit(thread), Exit.isSuccess))
            })
        )
      }).pipe(Effect.scoped)
    )

    it.effect("a second pool on one database is reported with both names and places", () =>
      Effect.gen(function* () {
        const { primary } = yield* MariaDbCluster.MariaDbCluster
        const logs: Array<string> = []
        const logger = Logger.replace(
          Logger.defaultLogger,
          Logger.make(({ message }) => {
            logs.push(String(message))
          })
        )
        const build = (name: string) =>
          Layer.build(MysqlSql.layer({ url: primary.url, pool: { name, maxSize: 1 } })).pipe(Effect.provide(logger))
        yield* build("requests")
        assert.deepStrictEqual(logs, [])
        yield* build("jobs")
        assert.lengthOf(logs, 1)
        assert.match(logs[0]!, /"jobs", made at .*Config\.integration.*"requests", made at .*Config\.integration/)
      }).pipe(Effect.scoped)
    )

    it.effect("layerConfig reads Effect's configuration and provides Sql, SqlClient and MysqlClient on one pool", () =>
      Effect.gen(function* () {
        const { primary } = yield* MariaDbCluster.MariaDbCluster
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          assert.strictEqual(yield* MysqlClient.MysqlClient, sql as any)
          assert.strictEqual((yield* Sql.Sql).client, sql)
          assert.strictEqual((yield* MysqlClient.MysqlClient).config.port, primary.port)
          assert.deepEqual(yield* sql`select 1 as one`, [{ one: 1 }])
        }).pipe(
          Effect.provide(MysqlSql.layerConfig({ url: Config.redacted("DATABASE_URL") })),
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["DATABASE_URL", Redacted.value(primary.url)]])))
        )
      })
    )

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
              yield* Sql.query("set names utf8mb4")
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
                "a control connection is open",
                Effect.map(Sql.stats, ({ control }) => control.some(({ open }) => open > 0))
              )
              const { control } = yield* Sql.stats
              assert.deepStrictEqual(
                control.map(({ endpoint, open }) => [endpoint, open]),
                [
                  [`127.0.0.1:${primary.port}/sluice`, 0],
                  [`127.0.0.1:${replicas[0]!.port}/sluice`, 1]
                ]
              )
            })
        )
      })
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
