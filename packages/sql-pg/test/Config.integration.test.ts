import * as Http from "node:http"
import * as Net from "node:net"
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { FaultProxy, PgCluster } from "@sluice/testkit"
import { Config, ConfigProvider, type Duration, Effect, Exit, Layer, Logger, Redacted } from "effect"
import Pg from "pg"
import { eventually, onPool, pid } from "./support/fixture.js"

/** A server that is not PostgreSQL, for as long as the scope lives. */
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

const sockets = new Set<Net.Socket>()

const speaking = (greeting: string | Buffer) => () =>
  Net.createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    if (greeting.length > 0) socket.write(greeting)
  })

const failureOf = (config: PgSql.PgSqlConfig) =>
  Effect.gen(function* () {
    const error = yield* Layer.build(PgSql.layer({ duplicates: "allow", ...config })).pipe(
      Effect.scoped,
      Effect.flip,
      Effect.timeout("40 seconds")
    )
    assert.strictEqual((error as any)._tag, "SqlError")
    assert.notInclude(String(error) + JSON.stringify(error) + (error as any).message, "s3cret")
    return { reason: SqlReason.of(error), message: (error as Error).message }
  })

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("configuration", (it) => {
  const cases: ReadonlyArray<{
    readonly name: string
    readonly config: (node: PgCluster.PgNode) => PgSql.PgSqlConfig
    readonly tag: SqlReason.Tag
    readonly says: RegExp
  }> = [
    {
      name: "a url that is none",
      config: () => ({ url: Redacted.make("mysql://app:s3cret@db/pay") }),
      tag: "InvalidOptions",
      says: /url must begin with postgres:\/\//
    },
    {
      name: "a url that cannot be parsed",
      config: () => ({ url: Redacted.make("postgres://app:s3cret@[db/pay") }),
      tag: "InvalidOptions",
      says: /url cannot be read/
    },
    {
      name: "two wrong ports and a wrong timeout: all of them",
      config: () => ({ port: 0, replicas: [{ port: 70_000 }], statementTimeout: Infinity }),
      tag: "InvalidOptions",
      says: /statementTimeout.*primary: port.*replica 1: port/
    },
    {
      name: "maxSize 0",
      config: ({ url }) => ({ url, pool: { maxSize: 0 } }),
      tag: "InvalidOptions",
      says: /maxSize/
    },
    {
      name: "timeouts that contradict each other",
      config: ({ url }) => ({ url, pool: { acquireTimeout: "10 millis", validateTimeout: "1 second" } }),
      tag: "InvalidOptions",
      says: /validateTimeout/
    },
    {
      name: "a wrong password",
      config: ({ port }) => ({ host: "127.0.0.1", port, username: "sluice", password: Redacted.make("s3cret") }),
      tag: "AuthenticationFailed",
      says: /check username and password/i
    },
    {
      name: "no password where one is asked for",
      config: ({ port }) => ({ host: "127.0.0.1", port, username: "sluice", database: "sluice" }),
      tag: "AuthenticationFailed",
      says: /set password/i
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
      name: "TLS where the server has none",
      config: ({ url }) => ({ url, ssl: true }),
      tag: "ConnectFailed",
      says: /set ssl to false/i
    }
  ]

  for (const { config, name, says, tag } of cases) {
    it.effect(`${name}: the Layer fails with ${tag}, says what to do, and shows no password`, () =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const { message, reason } = yield* failureOf(config(primary))
        assert.strictEqual(reason._tag, tag)
        assert.match(message, says)
        assert.strictEqual(reason.outcome, "none")
      })
    )
  }

  it.effect("a port where nothing listens, or something else: ConnectFailed, at once or within connectTimeout", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      const proxy = yield* FaultProxy.make({ target: primary })
      yield* proxy.refuse
      const at = (port: number, connectTimeout: Duration.DurationInput = "30 seconds"): PgSql.PgSqlConfig => ({
        host: "127.0.0.1",
        port,
        username: "app",
        password: Redacted.make("s3cret"),
        pool: { connectTimeout, acquireTimeout: "30 seconds" }
      })
      const refused = yield* failureOf(at(proxy.port))
      assert.strictEqual(refused.reason._tag, "ConnectFailed")
      assert.match(refused.message, /nothing listens there/i)
      const http = yield* listening(() => Http.createServer())
      const mysql = yield* listening(speaking(Buffer.from([0x4a, 0, 0, 0, 0x0a, 0x35, 0x2e, 0x35, 0, 0, 0, 0])))
      const ssh = yield* listening(speaking("SSH-2.0-OpenSSH_9.2\r\n"))
      const silent = yield* listening(speaking(""))
      for (const [port, connectTimeout] of [[http], [mysql], [ssh], [silent, "300 millis"]] as const) {
        const { message, reason } = yield* failureOf(at(port, connectTimeout))
        assert.strictEqual(reason._tag, "ConnectFailed")
        assert.include(message, `127.0.0.1:${port}`)
      }
      assert.match((yield* failureOf(at(http))).message, /does not speak PostgreSQL's protocol/i)
      assert.match((yield* failureOf(at(mysql))).message, /does not speak PostgreSQL's protocol/i)
    }).pipe(Effect.scoped)
  )

  it.effect("startup lazy: the Layer starts without the database, and statements fail typed until it is there", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      const proxy = yield* FaultProxy.make({ target: primary })
      yield* proxy.refuse
      const url = Redacted.make(Redacted.value(primary.url).replace(`:${primary.port}/`, `:${proxy.port}/`))
      yield* onPool(
        { url, startup: "lazy", pool: { acquireTimeout: "200 millis", validateTimeout: "100 millis" } },
        () =>
          Effect.gen(function* () {
            yield* eventually(
              "a statement fails, and says why",
              Effect.map(
                Effect.flip(pid),
                (error) => SqlReason.of(error)._tag === "AcquireTimeout" && error.message.includes("ECONNREFUSED")
              )
            )
            yield* proxy.heal
            yield* eventually("a statement succeeds", Effect.map(Effect.exit(pid), Exit.isSuccess))
          })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("too many connections is TooManyConnections", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      yield* primary.query("create role few login password 's3cret' connection limit 1")
      const config: PgSql.PgSqlConfig = {
        host: primary.host,
        port: primary.port,
        database: "sluice",
        username: "few",
        password: Redacted.make("s3cret"),
        pool: { maxSize: 1 }
      }
      yield* Layer.build(PgSql.layer(config))
      const { reason } = yield* failureOf(config)
      assert.strictEqual(reason._tag, "TooManyConnections")
      assert.strictEqual(reason.retry, "always")
    }).pipe(Effect.scoped)
  )

  it.effect("a second pool on one database is reported with both names and places, or refused, or allowed", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      const logs: Array<string> = []
      const logger = Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ message }) => {
          logs.push(String(message))
        })
      )
      const build = (name: string, duplicates: PgSql.PgSqlConfig["duplicates"]) =>
        Layer.build(PgSql.layer({ url: primary.url, pool: { name, maxSize: 1 }, duplicates })).pipe(
          Effect.provide(logger)
        )
      yield* Effect.scoped(build("first", undefined))
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* build("requests", undefined)
          assert.deepStrictEqual(logs, [])
          yield* build("jobs", "warn")
          assert.lengthOf(logs, 1)
          assert.match(logs[0]!, /"jobs", made at .*Config\.integration.*"requests", made at .*Config\.integration/)
          const error = yield* Effect.flip(build("third", "error"))
          assert.strictEqual(SqlReason.of(error)._tag, "InvalidOptions")
          yield* build("fourth", "allow")
          assert.lengthOf(logs, 1)
        })
      )
      yield* Effect.scoped(build("last", "error"))
    })
  )

  it.effect("layerConfig reads Effect's configuration and provides Sql, SqlClient and PgClient on one pool", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        assert.strictEqual(yield* PgClient.PgClient, sql as any)
        assert.strictEqual((yield* Sql.Sql).client, sql)
        assert.strictEqual((yield* PgClient.PgClient).config.port, primary.port)
        assert.deepStrictEqual(yield* sql`select 1 as one`, [{ one: 1 }])
      }).pipe(
        Effect.provide(PgSql.layerConfig({ url: Config.redacted("DATABASE_URL") })),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["DATABASE_URL", Redacted.value(primary.url)]])))
      )
    })
  )

  it.effect("layerFromPool connects as a pool of pg would, with as many connections, and uses none of its own", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      const poolOf = (options: Pg.PoolConfig) =>
        Effect.acquireRelease(
          Effect.sync(() => new Pg.Pool({ ...options, application_name: "from-pool" })),
          (pool) => Effect.promise(() => pool.end())
        )
      const url = new URL(Redacted.value(primary.url))
      let asked = 0
      const each = {
        "a url": { connectionString: url.href, max: 3, idleTimeoutMillis: 7_000 },
        fields: {
          host: url.hostname,
          port: Number(url.port),
          database: url.pathname.slice(1),
          user: url.username,
          password: async () => {
            asked++
            return url.password
          },
          max: 3,
          connectionTimeoutMillis: 0
        }
      }
      for (const [how, options] of Object.entries(each)) {
        const acquire = poolOf(options)
        let pool: Pg.Pool | undefined
        yield* Effect.gen(function* () {
          assert.deepStrictEqual(yield* Sql.query("select current_setting('application_name') as name"), [
            { name: "from-pool" }
          ])
          assert.strictEqual((yield* Sql.stats).write.max, 3, how)
          assert.strictEqual(pool?.totalCount, 0)
        }).pipe(
          Effect.provide(
            PgSql.layerFromPool({
              acquire: Effect.tap(acquire, (made) => Effect.sync(() => (pool = made))),
              duplicates: "allow"
            })
          )
        )
        assert.isTrue(pool?.ended)
      }
      assert.strictEqual(asked, 1)
      const refused = Layer.build(
        PgSql.layerFromPool({ acquire: poolOf({ connectionString: url.href, Client: Pg.Client }) })
      )
      const error = yield* Effect.flip(Effect.scoped(refused))
      assert.strictEqual(SqlReason.of(error)._tag, "InvalidOptions")
      assert.include(error.message, "Client")
    })
  )
})
