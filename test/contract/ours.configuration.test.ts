/** What a Layer of ours says of a configuration that cannot work, and what it makes of one that can. */
import * as Http from "node:http"
import * as Net from "node:net"
import * as Reactivity from "@effect/experimental/Reactivity"
import { SqlClient } from "@effect/sql"
import { assert } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { FaultProxy } from "@sluice/testkit"
import { Config, ConfigProvider, Effect, Exit, Layer, Logger, Redacted, Scope } from "effect"
import { eventually, unique } from "./contract.js"
import { Server } from "./databases.js"
import { unixSocket } from "./door.js"
import { failureOf, type Options, ours } from "./ours.js"

/** A server of another kind, for as long as the scope lives: one that says this first, or one of HTTP. Gives its port. */
const foreign = (greeting: Buffer | undefined) =>
  Effect.acquireRelease(
    Effect.async<{ readonly server: Net.Server; readonly sockets: Set<Net.Socket> }>((resume) => {
      const sockets = new Set<Net.Socket>()
      const server =
        greeting === undefined
          ? Http.createServer()
          : Net.createServer((socket) => {
              sockets.add(socket.on("error", () => {}))
              if (greeting.length > 0) socket.write(greeting)
            })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ server, sockets })))
    }),
    ({ server, sockets }) =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  ).pipe(Effect.map(({ server }) => (server.address() as Net.AddressInfo).port))

/** Milliseconds: a connect that ends at once is not ended by this. */
const LONG = 30_000

/** Milliseconds after which a connect is given up that gets no answer. */
const SHORT = 300

ours("configuration", ({ dialect, it, onPool, optionsOf, session }) => {
  const { otherScheme, scheme } = dialect
  const password = Redacted.make("s3cret")

  const layerOf = (options: Options) => dialect.layer({ duplicates: "allow", ...options })

  /** The options of a client that could connect, with others instead of some. */
  const working = (more: Options) => Effect.map(optionsOf(unique("config")), (own) => layerOf({ ...own, ...more }))

  const url = (text: string) => Redacted.make(text)

  const cases: ReadonlyArray<{
    readonly name: string
    readonly layer: Effect.Effect<Layer.Layer<any, unknown>, unknown, Server>
    readonly tag: SqlReason.Tag
    readonly says: RegExp
  }> = [
    {
      name: "a url that is none",
      layer: Effect.succeed(layerOf({ url: url(`${otherScheme}://app:s3cret@db/pay`) })),
      tag: "InvalidOptions",
      says: dialect.urlBegins
    },
    {
      name: "a url that cannot be parsed",
      layer: Effect.succeed(layerOf({ url: url(`${scheme}://app:s3cret@[db/pay`) })),
      tag: "InvalidOptions",
      says: /url cannot be read/
    },
    {
      name: "maxSize 0",
      layer: working({ pool: { maxSize: 0 } }),
      tag: "InvalidOptions",
      says: /maxSize/
    },
    {
      name: "timeouts that contradict each other",
      layer: working({ pool: { acquireTimeout: "10 millis", validateTimeout: "1 second" } }),
      tag: "InvalidOptions",
      says: /validateTimeout/
    },
    {
      name: "a wrong password",
      layer: Effect.map(Server, ({ port }) => layerOf({ host: "127.0.0.1", port, username: "sluice", password })),
      tag: "AuthenticationFailed",
      says: /check username and password/i
    },
    {
      name: "an unknown database",
      layer: Effect.gen(function* () {
        const server = yield* Server
        const own = yield* server.url(unique("config"))
        return layerOf({ url: url(`${Redacted.value(own)}_nowhere`) })
      }),
      tag: "AuthenticationFailed",
      says: /there is no such database/i
    },
    {
      name: "a host that does not exist",
      layer: Effect.succeed(layerOf({ host: "no-such-host.invalid", username: "app", password })),
      tag: "ConnectFailed",
      says: /cannot be resolved/i
    },
    {
      name: "TLS where the server has none",
      layer: Effect.flatMap(Server, (server) => Effect.map(server.client(unique("config")), dialect.tls)),
      tag: "ConnectFailed",
      says: dialect.noTls
    }
  ]

  for (const { layer, name, says, tag } of cases) {
    it.effect(`${name}: the Layer fails with ${tag}, says what to do, and shows no password`, () =>
      Effect.gen(function* () {
        const { message, reason } = yield* failureOf(yield* layer)
        assert.strictEqual(reason._tag, tag)
        assert.match(message, says)
        assert.strictEqual(reason.outcome, "none")
      })
    )
  }

  it.effect("a port where nothing listens, or something else: ConnectFailed, at once or within connectTimeout", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: yield* Server })
      yield* proxy.refuse
      const at = (port: number, connectTimeout: number) =>
        failureOf(
          layerOf({
            host: "127.0.0.1",
            port,
            username: "app",
            password,
            pool: { connectTimeout, acquireTimeout: "30 seconds" }
          })
        )
      const refused = yield* at(proxy.port, LONG)
      assert.strictEqual(refused.reason._tag, "ConnectFailed")
      assert.match(refused.message, /nothing listens there/i)
      const silent = yield* foreign(Buffer.alloc(0))
      const others = Object.entries(dialect.foreign)
      for (const [name, greeting] of others) {
        const port = yield* foreign(greeting)
        const isRecognised = dialect.recognised.names.includes(name)
        const { message, reason } = yield* at(port, isRecognised ? LONG : SHORT)
        assert.strictEqual(reason._tag, "ConnectFailed", name)
        assert.include(message, `127.0.0.1:${port}`)
        if (isRecognised) assert.match(message, dialect.recognised.says)
      }
      const { message, reason } = yield* at(silent, SHORT)
      assert.strictEqual(reason._tag, "ConnectFailed")
      assert.include(message, `127.0.0.1:${silent}`)
    }).pipe(Effect.scoped)
  )

  it.effect("no connection: refused, unknown name, no answer, cut while connecting", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: yield* Server })
      const through = (port: number, pool: Options["pool"] = {}) =>
        Effect.map(optionsOf(unique("config"), { port }), (own) => layerOf({ ...own, pool }))
      const told = (
        { message, reason }: { readonly message: string; readonly reason: SqlReason.SqlReason },
        code: string | undefined,
        says: RegExp
      ) => {
        const { _tag, connection, outcome, retry } = reason
        assert.deepStrictEqual([_tag, connection, outcome, retry], ["ConnectFailed", "none", "none", "always"])
        assert.strictEqual(reason.code, code)
        assert.match(message, says)
      }
      yield* proxy.blackhole()
      const swallowed = yield* failureOf(yield* through(proxy.port, { connectTimeout: "200 millis" }))
      told(swallowed, undefined, /Check that the address is right/)
      yield* proxy.reset
      yield* proxy.heal
      yield* proxy.refuse
      told(yield* failureOf(yield* through(proxy.port)), "ECONNREFUSED", /nothing listens there/i)
      const unknown = layerOf({ host: "no-such-host.invalid", username: "app" })
      told(yield* failureOf(unknown), "ENOTFOUND", /check the host/)
      const gone = yield* FaultProxy.make({ target: { host: "127.0.0.1", port: proxy.port } })
      const { reason } = yield* failureOf(yield* through(gone.port))
      assert.deepStrictEqual([reason._tag, reason.connection, reason.retry], ["ConnectFailed", "none", "always"])
    }).pipe(Effect.scoped)
  )

  it.effect("startup lazy: the Layer starts without the database, and statements fail typed until it is there", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: yield* Server })
      yield* proxy.refuse
      yield* onPool(
        {
          at: { port: proxy.port },
          startup: "lazy",
          pool: { acquireTimeout: "400 millis", validateTimeout: "400 millis" }
        },
        () =>
          Effect.gen(function* () {
            yield* eventually(
              "a statement fails, and says why",
              Effect.map(
                Effect.flip(session),
                (error) => SqlReason.of(error)._tag === "AcquireTimeout" && error.message.includes("ECONNREFUSED")
              )
            )
            yield* proxy.heal
            yield* eventually("a statement succeeds", Effect.map(Effect.exit(session), Exit.isSuccess))
          })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("a second pool on one database is reported with both names and places, or refused, or allowed", () =>
    Effect.gen(function* () {
      const own = yield* optionsOf(unique("config"))
      const logs: Array<string> = []
      const logger = Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ message }) => {
          logs.push(String(message))
        })
      )
      const build = (name: string, duplicates: Options["duplicates"]) =>
        Layer.build(dialect.layer({ ...own, pool: { name, maxSize: 1 }, duplicates })).pipe(Effect.provide(logger))
      yield* Effect.scoped(build("first", undefined))
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* build("requests", undefined)
          assert.deepStrictEqual(logs, [])
          yield* build("jobs", "warn")
          assert.lengthOf(logs, 1)
          const place = "made at .*ours\\.configuration"
          assert.match(logs[0]!, new RegExp(`"jobs", ${place}.*"requests", ${place}`))
          const error = yield* Effect.flip(build("third", "error"))
          assert.strictEqual(SqlReason.of(error)._tag, "InvalidOptions")
          yield* build("fourth", "allow")
          assert.lengthOf(logs, 1)
        })
      )
      yield* Effect.scoped(build("last", "error"))
    })
  )

  it.effect(
    "a second pool on one server is reported behind another address too, and other databases and users are not",
    () =>
      Effect.gen(function* () {
        const server = yield* Server
        const url = new URL(Redacted.value(yield* server.url(unique("config"))))
        const socket = yield* unixSocket(`.s.PGSQL.${server.port}`, server)
        const through = yield* FaultProxy.make({ target: server })
        const at = (change: (url: URL) => void) => {
          const changed = new URL(url)
          change(changed)
          return { url: Redacted.make(changed.href) }
        }
        const user = unique("twin")
        for (const text of dialect.createUser(user, "s3cret")) yield* server.query(text)
        const database = unique("other")
        yield* server.query(`create database ${database}`)
        const others: Readonly<Record<string, Options>> = {
          "the name of this machine": at((url) => (url.hostname = "localhost")),
          "another port": at((url) => (url.port = String(through.port))),
          "a Unix socket": dialect.bySocket(socket, {
            port: server.port,
            database: "sluice",
            username: url.username,
            password: Redacted.make("sluice")
          })
        }
        const different: Readonly<Record<string, Options>> = {
          "another user": at((url) => {
            url.hostname = "localhost"
            url.username = user
            url.password = "s3cret"
          }),
          "another database": at((url) => {
            url.hostname = "localhost"
            url.pathname = database
          })
        }
        const logs: Array<string> = []
        const logger = Logger.replace(
          Logger.defaultLogger,
          Logger.make(({ message }) => {
            logs.push(String(message))
          })
        )
        const build = (options: Options, duplicates: Options["duplicates"]) =>
          Layer.build(dialect.layer({ ...options, duplicates, pool: { maxSize: 2 } })).pipe(Effect.provide(logger))
        const first = yield* Scope.make()
        yield* Scope.extend(build({ url: Redacted.make(url.href) }, "error"), first)
        for (const [name, options] of Object.entries(different)) {
          yield* Effect.scoped(build(options, "error"))
          assert.deepStrictEqual(logs, [], name)
        }
        for (const [name, options] of Object.entries(others)) {
          yield* Effect.scoped(build(options, "warn"))
          assert.lengthOf(logs, 1, name)
          assert.match(
            logs[0]!,
            /a second pool on one database: .*made at .*ours\.configuration.* and .*made at .*ours\.config/
          )
          assert.include(logs[0], `127.0.0.1:${server.port}`)
          const error = yield* Effect.flip(Effect.scoped(build(options, "error")))
          assert.strictEqual(SqlReason.of(error)._tag, "InvalidOptions", name)
          assert.lengthOf(logs.splice(0), 1, name)
        }
        yield* Scope.close(first, Exit.void)
        // The pools of one Layer are meant.
        const replicas = [others["the name of this machine"]]
        yield* Effect.scoped(build({ ...others["another port"], replicas } as Options, "error"))
        assert.deepStrictEqual(logs, [])
      }).pipe(Effect.scoped)
  )

  it.effect(
    "layerConfig reads Effect's configuration, in objects and arrays too, and provides Sql, SqlClient and the driver's client",
    () =>
      Effect.gen(function* () {
        const server = yield* Server
        const url = yield* server.url(unique("config"))
        const configured = dialect.layerConfig({
          url: Config.redacted("DATABASE_URL"),
          replicas: [{ url: Config.redacted("REPLICA_URL") }],
          duplicates: "allow",
          pool: { maxSize: Config.integer("CONNECTIONS"), acquireTimeout: "20 seconds" }
        })
        const from = (values: Readonly<Record<string, string>>) =>
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            const client: any = yield* dialect.client
            assert.strictEqual(client, sql)
            assert.strictEqual((yield* Sql.Sql).client, sql)
            assert.strictEqual(client.config.port, server.port)
            assert.deepStrictEqual(yield* sql`select 1 as one`, [{ one: 1 }])
            const { read, write } = yield* Sql.stats
            assert.deepStrictEqual([write.max, ...read.map(({ max }) => max)], [3, 3])
          }).pipe(
            Effect.provide(configured),
            Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(values))))
          )
        // On the same server, but another endpoint: a pool of its own.
        const replica = new URL(Redacted.value(url))
        replica.hostname = "localhost"
        yield* from({ DATABASE_URL: Redacted.value(url), REPLICA_URL: replica.href, CONNECTIONS: "3" })
        const missing = yield* Effect.flip(from({ DATABASE_URL: Redacted.value(url), CONNECTIONS: "3" }))
        assert.include(String(missing), "REPLICA_URL")
      })
  )

  it.effect("make asks nothing of its callers but a scope, and shares the Reactivity of a program that has one", () =>
    Effect.gen(function* () {
      const own = yield* optionsOf(unique("config"))
      const made = dialect.make({ ...own, duplicates: "allow" })
      /** A query that counts its runs, and has run once. */
      const counted = Effect.gen(function* () {
        const { client } = yield* made
        let runs = 0
        yield* client.reactiveMailbox(
          ["people"],
          Effect.map(client`select 1`, () => ++runs)
        )
        const ran = (times: number) =>
          eventually(
            `the query has run ${times} times`,
            Effect.sync(() => runs === times)
          )
        yield* ran(1)
        return ran
      })
      yield* Effect.scoped(counted)
      yield* Effect.gen(function* () {
        const ran = yield* counted
        yield* Effect.flatMap(Reactivity.Reactivity, ({ invalidate }) => invalidate(["people"]))
        yield* ran(2)
      }).pipe(Effect.scoped, Effect.provide(Reactivity.layer))
    })
  )
})
