import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeFileSystem, NodePath } from "@effect/platform-node"
import { SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { PgClient, PgMigrator } from "@effect/sql-pg"
import { assert } from "@effect/vitest"
import { PgCluster } from "@sluice/testkit"
import { Effect, Fiber, HashMap, Layer, Option, Queue, Redacted, Stream } from "effect"
import * as tls from "../../packages/sql/test/support/tls.js"
import { contract, dumping, eventually, idsOf, unique } from "./contract.js"
import { Server } from "./databases.js"
import { unixSocket } from "./door.js"
import type * as Drivers from "./drivers.js"

/** Listens, and gives what arrives once the server is known to have heard of it. */
const listening = (channel: string) =>
  Effect.gen(function* () {
    const client = yield* PgClient.PgClient
    const arrived = yield* Queue.unbounded<string>()
    const ready = unique("ready")
    let isReady = false
    const fiber = yield* client.listen(channel).pipe(
      Stream.runForEach((payload) => {
        if (payload !== ready) return Queue.offer(arrived, payload)
        isReady = true
        return Effect.void
      }),
      Effect.fork
    )
    yield* eventually(
      `${channel} is listened to`,
      Effect.zipRight(
        client`select pg_notify(${channel}, ${ready})`,
        Effect.sync(() => isReady)
      )
    )
    return { arrived, fiber }
  })

const notify = (channel: string, payload: string) =>
  Effect.flatMap(PgClient.PgClient, (sql) => Effect.asVoid(sql`select pg_notify(${channel}, ${payload})`))

const pidOf = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.map(sql<{ pid: number }>`select pg_backend_pid() as pid`, (rows) => rows[0]!.pid)
)

contract(
  "PostgreSQL, the client",
  ({ it, run }) => {
    it.effect("listen gives the payloads of one channel in the order of sending", () =>
      run(
        {},
        Effect.gen(function* () {
          const channel = `Odd "channel" ${unique("c")}`
          const other = unique("other")
          const one = yield* listening(channel)
          const two = yield* listening(other)
          yield* Effect.forEach(["1", "2", "3"], (payload) => notify(channel, payload))
          yield* notify(other, "x")
          assert.deepStrictEqual(
            [yield* Queue.take(one.arrived), yield* Queue.take(one.arrived), yield* Queue.take(one.arrived)],
            ["1", "2", "3"]
          )
          assert.strictEqual(yield* Queue.take(two.arrived), "x")
          assert.deepStrictEqual(yield* Queue.poll(one.arrived), Option.none())
          yield* Fiber.interruptAll([one.fiber, two.fiber])
        })
      )
    )

    it.effect("every listener of a channel gets every notification", () =>
      run(
        {},
        Effect.gen(function* () {
          const channel = unique("c")
          const one = yield* listening(channel)
          const two = yield* listening(channel)
          const next = ({ arrived }: typeof one) =>
            Queue.take(arrived).pipe(Effect.repeat({ until: (payload) => payload === "news" }))
          yield* notify(channel, "news")
          assert.deepStrictEqual([yield* next(one), yield* next(two)], ["news", "news"])
          yield* Fiber.interruptAll([one.fiber, two.fiber])
        })
      )
    )

    it.effect("a notification of a transaction comes when it commits, and never when it does not", () =>
      run(
        {},
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const channel = unique("c")
          const { arrived, fiber } = yield* listening(channel)
          yield* Effect.ignore(sql.withTransaction(Effect.zipRight(notify(channel, "lost"), Effect.fail("no"))))
          yield* sql.withTransaction(notify(channel, "kept"))
          assert.strictEqual(yield* Queue.take(arrived), "kept")
          yield* Fiber.interrupt(fiber)
        })
      )
    )

    it.effect("the listeners of a client share one connection, beside those of its statements", () =>
      run(
        { maxConnections: 2 },
        Effect.gen(function* () {
          const { config } = yield* PgClient.PgClient
          const name = config.applicationName!
          const listeners = yield* Effect.forEach(
            Array.from({ length: 5 }, () => unique("c")),
            listening
          )
          const server = yield* Server
          assert.isAtMost((yield* server.sessions(name)).length, 2)
          yield* Fiber.interruptAll(listeners.map((one) => one.fiber))
        })
      )
    )

    it.effect("config says where the client is connected to and as whom, however that was configured", () =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const expected = {
          host: "127.0.0.1",
          port: primary.port,
          database: "sluice",
          username: "sluice",
          password: "sluice",
          applicationName: "contract-config"
        }
        const actual = (options: Drivers.Options<"postgresql">) =>
          run(
            { applicationName: "contract-config", ...options },
            Effect.map(PgClient.PgClient, ({ config }) => ({
              host: config.host,
              port: config.port,
              database: config.database,
              username: config.username,
              password: config.password && Redacted.value(config.password),
              applicationName: config.applicationName
            }))
          )
        assert.deepStrictEqual(
          yield* actual({
            url: undefined,
            host: "127.0.0.1",
            port: primary.port,
            database: "sluice",
            username: "sluice",
            password: Redacted.make("sluice")
          }),
          expected
        )
        assert.deepStrictEqual(yield* actual({}), expected)
      })
    )

    it.effect("host may be the folder of a Unix socket", () =>
      Effect.gen(function* () {
        const { port } = yield* Server
        const { folder } = yield* unixSocket(`.s.PGSQL.${port}`, yield* Server)
        yield* run(
          {
            url: undefined,
            host: folder,
            port,
            database: "sluice",
            username: "sluice",
            password: Redacted.make("sluice")
          },
          Effect.flatMap(SqlClient.SqlClient, (sql) => sql`select 1`)
        )
      }).pipe(Effect.scoped)
    )

    it.effect("ssl asks for TLS and checks the certificate; a server without TLS is refused", () =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const url = Redacted.make(Redacted.value(primary.url).replace("127.0.0.1", "localhost"))
        const usesTls = Effect.flatMap(
          SqlClient.SqlClient,
          (sql) => sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`
        )
        yield* primary.query("alter system set ssl = off")
        yield* primary.query("select pg_reload_conf()")
        assert.strictEqual(((yield* Effect.flip(run({ url, ssl: true }, usesTls))) as SqlError)._tag, "SqlError")
        const { gid, uid } = Fs.statSync(primary.dataDir)
        for (const [name, text] of [
          ["server.crt", tls.certificate],
          ["server.key", tls.key]
        ] as const) {
          const path = Path.join(primary.dataDir, name)
          Fs.writeFileSync(path, text, { mode: 0o600 })
          Fs.chownSync(path, uid, gid)
        }
        yield* primary.query("alter system set ssl = on")
        yield* primary.query("select pg_reload_conf()")
        const secure = run({ url, ssl: { ca: tls.certificate } }, usesTls)
        // The server takes its new configuration a moment later.
        yield* eventually("the server speaks TLS", Effect.isSuccess(secure))
        assert.deepStrictEqual(yield* secure, [{ ssl: true }])
        assert.deepStrictEqual(yield* run({ url, ssl: false }, usesTls), [{ ssl: false }])
        assert.strictEqual(((yield* Effect.flip(run({ url, ssl: true }, usesTls))) as SqlError)._tag, "SqlError")
      })
    )

    it.effect("applicationName is shown by the server", () =>
      run(
        { applicationName: "contract-shown" },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          assert.deepStrictEqual(yield* sql`show application_name`, [{ application_name: "contract-shown" }])
        })
      )
    )

    it.effect("stream makes the sockets of the connections", () => {
      const sockets: Array<Net.Socket> = []
      const make = () => {
        const socket = new Net.Socket()
        sockets.push(socket)
        return socket
      }
      return run(
        { stream: make },
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`select 1`
          assert.isAbove(sockets.length, 0)
          assert.isTrue(sockets.some((socket) => !socket.destroyed && socket.bytesRead > 0))
        })
      )
    })

    it.effect("idleTimeout closes what nobody uses, down to minConnections", () =>
      run(
        { maxConnections: 4, minConnections: 2, idleTimeout: "200 millis" },
        Effect.gen(function* () {
          const { config } = yield* PgClient.PgClient
          const sql = yield* SqlClient.SqlClient
          const server = yield* Server
          const sessions = Effect.map(server.sessions(config.applicationName!), (all) => all.length)
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* Effect.replicateEffect(sql.reserve, 4)
              assert.strictEqual(yield* sessions, 4)
            })
          )
          yield* eventually(
            "two are left",
            Effect.map(sessions, (n) => n === 2)
          )
        })
      )
    )

    it.effect("connectionTTL replaces a connection, although it is in use again and again", () =>
      run(
        { maxConnections: 1, connectionTTL: "1 second" },
        Effect.gen(function* () {
          const first = yield* pidOf
          yield* eventually(
            "another connection serves",
            Effect.map(pidOf, (pid) => pid !== first)
          )
        })
      )
    )

    it.effect("PgMigrator runs migrations and hands pg_dump all that it needs", () =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const dump = dumping("pg_dump", "-- a comment\ncreate table dumped ();")
        yield* run(
          {},
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            const fs = yield* FileSystem.FileSystem
            const schemaDirectory = yield* fs.makeTempDirectoryScoped()
            const t = unique("t")
            const journal = unique("migrations")
            const migrate = PgMigrator.layer({
              loader: PgMigrator.fromRecord({
                "0001_make": sql.unsafe(`create table ${t} (id int primary key)`),
                "0002_fill": sql`insert into ${sql(t)} (id) values (${1})`
              }),
              schemaDirectory,
              table: journal
            })
            yield* Effect.scoped(Layer.build(migrate))
            yield* PgMigrator.run({
              loader: PgMigrator.fromRecord({
                "0003_more": sql`insert into ${sql(t)} (id) values (${2})`
              }),
              schemaDirectory,
              table: journal
            })
            assert.deepStrictEqual(yield* idsOf(t), [1, 2])
            assert.include(yield* fs.readFileString(Path.join(schemaDirectory, "_schema.sql")), "create table dumped")
          }).pipe(Effect.scoped, Effect.provide(Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, dump.layer)))
        )
        // Schema and journal, for the Layer and for the run.
        assert.strictEqual(dump.calls.length, 4)
        const { PGDATABASE, PGHOST, PGPASSWORD, PGPORT, PGUSER } = Object.fromEntries(
          HashMap.toEntries(dump.calls.at(-1)!.env)
        )
        assert.deepStrictEqual(
          { PGDATABASE, PGHOST, PGPASSWORD, PGPORT, PGUSER },
          {
            PGDATABASE: "sluice",
            PGHOST: "127.0.0.1",
            PGPASSWORD: "sluice",
            PGPORT: String(primary.port),
            PGUSER: "sluice"
          }
        )
      })
    )
  },
  { database: "postgresql" }
)
