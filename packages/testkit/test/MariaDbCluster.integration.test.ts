import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Fiber, Redacted } from "effect"
import Mysql from "mysql2"
import { FaultProxy, MariaDbCluster } from "../src/index.js"
import { until } from "../src/internal/live.js"
import { find } from "../src/internal/mariaDbBinaries.js"
import { endsCleanly } from "./fixtures/ending.js"
import { nothingHappens } from "./fixtures/support.js"
import { stopsAndPauses } from "./fixtures/verbs.js"

type ServerError = Mysql.QueryError

/** What the application sees: its own connection, and how that ended. */
const session = (
  node: MariaDbCluster.MariaDbNode,
  options: { readonly user?: string; readonly password?: string; readonly port?: number } = {}
) =>
  Effect.acquireRelease(
    Effect.async<{ readonly client: Mysql.Connection; readonly errors: Array<string> }, ServerError>((resume) => {
      const url = new URL(Redacted.value(node.url))
      if (options.user !== undefined) url.username = options.user
      if (options.password !== undefined) url.password = options.password
      if (options.port !== undefined) url.port = String(options.port)
      const client = Mysql.createConnection({ uri: url.href, connectTimeout: 0 })
      const errors: Array<string> = []
      client.on("error", (error: ServerError) => errors.push(error.code ?? error.message))
      client.connect((error) => resume(error ? Effect.fail(error) : Effect.succeed({ client, errors })))
      return Effect.sync(() => client.destroy())
    }),
    ({ client }) => Effect.sync(() => client.destroy())
  ).pipe(
    Effect.map(({ client, errors }) => ({
      id: client.threadId!,
      query: (sql: string) =>
        Effect.async<ReadonlyArray<Record<string, unknown>>, ServerError>((resume) => {
          client.query(sql, (error, rows) =>
            resume(error ? Effect.fail(error) : Effect.succeed(rows as Array<Mysql.RowDataPacket>))
          )
        }),
      broken: until(Effect.sync(() => errors.length > 0)).pipe(Effect.map(() => errors[0]!))
    }))
  )

const ids = (node: MariaDbCluster.MariaDbNode) => Effect.map(node.activity, (rows) => rows.map(({ id }) => id))

const one = Effect.map(MariaDbCluster.MariaDbCluster, ({ primary }) => primary)

layer(
  MariaDbCluster.layer({
    settings: { max_connections: 10, sql_mode: "ANSI_QUOTES", init_connect: "set @quoted = 'it\\'s # \"one\"'" },
    database: 'a `b`;\n"c"',
    password: "p@ss'w\\rd/%"
  }),
  { timeout: "60 seconds" }
)("MariaDbCluster, one node", (it) => {
  it.scoped("runs MariaDB with the database, the user and the settings that were asked for", () =>
    Effect.gen(function* () {
      const node = yield* one
      const { query } = yield* session(node)
      const [row] = yield* query(
        "select version() like '%MariaDB%' as mariadb, database() as db, current_user() as me, @@max_connections as max, @@global.sql_mode as mode, @quoted as quoted"
      )
      assert.deepStrictEqual(row, {
        mariadb: 1,
        db: 'a `b`;\n"c"',
        me: "sluice@%",
        max: 10,
        mode: "ANSI_QUOTES",
        quoted: 'it\'s # "one"'
      })
      assert.strictEqual(node.name, "primary")
      assert.strictEqual(yield* node.role, "primary")
    })
  )

  it.scoped("refuses a wrong password and the administrators that MariaDB brings along", () =>
    Effect.gen(function* () {
      const node = yield* one
      for (const login of [{ password: "wrong" }, { user: "root", password: "" }, { user: "", password: "" }]) {
        assert.strictEqual((yield* Effect.flip(session(node, login))).errno, 1045)
      }
    })
  )

  it.scoped("the application may do everything in databases and nothing to the server", () =>
    Effect.gen(function* () {
      const { query } = yield* session(yield* one)
      yield* query("create database another")
      yield* query("create table another.t as select 1 as n")
      assert.deepStrictEqual(yield* query("select n from another.t"), [{ n: 1 }])
      yield* query("drop database another")
      for (const sql of ["set global read_only = off", "show replica status"]) {
        assert.strictEqual((yield* Effect.flip(query(sql))).errno, 1227)
      }
    })
  )

  it.scoped("query passes parameters and reports the server's error without the password", () =>
    Effect.gen(function* () {
      const node = yield* one
      assert.deepStrictEqual(yield* node.query("select ? + 1 as sum, ? as text", [41, "it's"]), [
        { sum: 42, text: "it's" }
      ])
      assert.deepStrictEqual(yield* node.query("set global max_connect_errors = 99"), [])
      const error = yield* Effect.flip(node.query("select * from nowhere"))
      assert.strictEqual(error._tag, "MariaDbClusterError")
      assert.strictEqual(error.phase, "query")
      assert.strictEqual((error.cause as ServerError).errno, 1146)
      assert.include(error.message, 'node "primary"')
      assert.notInclude(error.message, "p@ss")
      assert.notInclude(String(node.url), "p@ss")
    })
  )

  it.scoped("activity shows the application's sessions and not its own", () =>
    Effect.gen(function* () {
      const node = yield* one
      const idle = yield* session(node)
      const busy = yield* session(node)
      const sleeping = yield* Effect.fork(busy.query("select sleep(3600)"))
      yield* until(Effect.map(node.activity, (rows) => rows[1]?.query === "select sleep(3600)"))
      const rows = yield* node.activity
      assert.deepStrictEqual(
        rows.map(({ command, database, id, query, user }) => ({ command, database, id, query, user })),
        [
          { command: "Sleep", database: 'a `b`;\n"c"', id: idle.id, query: null, user: "sluice" },
          { command: "Query", database: 'a `b`;\n"c"', id: busy.id, query: "select sleep(3600)", user: "sluice" }
        ]
      )
      assert.match(rows[0]!.host, /^127\.0\.0\.1:\d+$/)
      assert.strictEqual(rows[1]!.state, "User sleep")
      assert.isAtLeast(rows[1]!.millis, 0)
      yield* node.query("kill query ?", [busy.id])
      yield* Fiber.await(sleeping)
    })
  )

  it.scoped(
    "the testkit's own connections are neither shown nor ended, and an interrupted query ends on the server",
    () =>
      Effect.gen(function* () {
        const node = yield* one
        const app = yield* session(node)
        yield* node.query("create table locked as select 1 as n")
        yield* app.query("begin")
        yield* app.query("update locked set n = 2")
        // Waits for the lock, and does not look after its client meanwhile.
        const own = yield* Effect.fork(node.query("update locked set n = 3"))
        const waiting = Effect.map(
          node.query("select 1 from information_schema.processlist where info = 'update locked set n = 3'"),
          (rows) => rows.length === 1
        )
        yield* until(waiting)
        assert.deepStrictEqual(yield* ids(node), [app.id])
        assert.strictEqual(yield* node.terminateBackends({ user: "sluice-testkit" }), 0)
        assert.isTrue(yield* waiting)
        yield* Fiber.interrupt(own)
        yield* until(Effect.map(waiting, (still) => !still))
      })
  )

  it.scoped("terminateBackends ends the sessions that match, waits until they are gone, and counts them", () =>
    Effect.gen(function* () {
      const node = yield* one
      const first = yield* session(node)
      const second = yield* session(node)
      const third = yield* session(node)
      assert.strictEqual(yield* node.terminateBackends({ user: "nobody" }), 0)
      assert.strictEqual(yield* node.terminateBackends({ id: first.id, user: "sluice" }), 1)
      assert.deepStrictEqual(yield* ids(node), [second.id, third.id])
      assert.strictEqual(yield* first.broken, "PROTOCOL_CONNECTION_LOST")
      yield* second.query("select 1")
      assert.strictEqual(yield* node.terminateBackends({ database: "mysql" }), 0)
      assert.strictEqual(yield* node.terminateBackends(), 2)
      assert.deepStrictEqual(yield* ids(node), [])
      assert.strictEqual(yield* second.broken, "PROTOCOL_CONNECTION_LOST")
    })
  )

  it.scoped("terminateBackends also waits for a session that has much to roll back", () =>
    Effect.gen(function* () {
      const node = yield* one
      const { query } = yield* session(node)
      yield* query("create table much (n int primary key)")
      yield* query("begin")
      yield* query("insert into much select seq from seq_1_to_200000")
      assert.strictEqual(yield* node.terminateBackends(), 1)
      assert.deepStrictEqual(yield* ids(node), [])
    })
  )

  it.scoped("a server whose places are all taken refuses the application and answers every verb", () =>
    Effect.gen(function* () {
      const node = yield* one
      const all = yield* Effect.replicateEffect(session(node), 10)
      assert.strictEqual((yield* Effect.flip(session(node))).errno, 1040)
      assert.strictEqual((yield* ids(node)).length, 10)
      assert.strictEqual(yield* node.role, "primary")
      assert.strictEqual((yield* node.query("select 1")).length, 1)
      yield* node.awaitReady
      // Many verbs at a time, too.
      yield* Effect.all(Effect.replicate(node.activity, 50), { concurrency: "unbounded" })
      assert.strictEqual(yield* node.terminateBackends({ id: all[0]!.id }), 1)
      yield* session(node)
    })
  )

  for (const mode of ["fast", "immediate"] as const) {
    it.scoped(`restart("${mode}") breaks open sessions and keeps port and committed data`, () =>
      Effect.gen(function* () {
        const node = yield* one
        const { broken, query } = yield* session(node)
        yield* query(`create table ${mode} (n int)`)
        yield* query(`insert into ${mode} values (1)`)
        yield* node.restart(mode)
        assert.strictEqual(yield* broken, "PROTOCOL_CONNECTION_LOST")
        const after = yield* session(node)
        assert.deepStrictEqual(yield* after.query(`select n from ${mode}`), [{ n: 1 }])
        assert.strictEqual((yield* node.log).includes("Starting crash recovery"), mode === "immediate")
      })
    )
  }

  stopsAndPauses(it, { node: one, session: Effect.flatMap(one, (node) => session(node)), processes: 1 })

  it.scoped("FaultProxy stands in front of it: a reset breaks the session and not the server", () =>
    Effect.gen(function* () {
      const node = yield* one
      const proxy = yield* FaultProxy.make({ target: node })
      const { broken, id, query } = yield* session(node, { port: proxy.port })
      yield* query("select 1")
      assert.strictEqual(yield* proxy.reset, 1)
      assert.strictEqual(yield* broken, "ECONNRESET")
      yield* until(Effect.map(ids(node), (present) => !present.includes(id)))
      yield* Effect.flatMap(session(node, { port: proxy.port }), ({ query }) => query("select 1"))
    })
  )
})

describe("MariaDbCluster, replicas", () => {
  it.scopedLive("every replica follows the primary, refuses writes, and can be promoted when the primary is gone", () =>
    Effect.gen(function* () {
      const cluster = yield* MariaDbCluster.make({ replicas: 2 })
      const { primary, replicas } = cluster
      const [first, second] = replicas as [MariaDbCluster.MariaDbNode, MariaDbCluster.MariaDbNode]
      const numbers = (node: MariaDbCluster.MariaDbNode, condition = "true") =>
        Effect.map(node.query<{ n: number }>(`select n from t where ${condition} order by n`), (rows) =>
          rows.map(({ n }) => n)
        )
      assert.deepStrictEqual(
        cluster.nodes.map(({ name }) => name),
        ["primary", "replica-1", "replica-2"]
      )
      assert.deepStrictEqual(yield* Effect.forEach(cluster.nodes, ({ role }) => role), [
        "primary",
        "replica",
        "replica"
      ])

      yield* primary.query("create table t (n int primary key)")
      yield* primary.query("insert into t select seq from seq_1_to_1000")
      yield* cluster.awaitReplicated
      for (const replica of replicas) {
        assert.strictEqual((yield* numbers(replica)).length, 1000)
        const { query } = yield* session(replica)
        assert.strictEqual((yield* Effect.flip(query("insert into t values (0)"))).errno, 1290)
        yield* Effect.flip(query("set global read_only = off"))
      }

      // A replica that does not apply holds awaitReplicated back.
      yield* second.query("stop slave sql_thread")
      yield* primary.query("insert into t values (0)")
      const waiting = yield* Effect.fork(cluster.awaitReplicated)
      yield* until(Effect.map(numbers(first, "n = 0"), (found) => found.length === 1))
      assert.deepStrictEqual(yield* numbers(second, "n = 0"), [])
      yield* Effect.replicateEffect(nothingHappens, 3) // longer than one look
      assert.isNull(waiting.unsafePoll())
      yield* second.query("start slave sql_thread")
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(yield* numbers(second, "n = 0"), [0])

      // Restarting the primary does not lose the replicas, nor does restarting one of them.
      yield* primary.restart("immediate")
      yield* first.restart("immediate")
      yield* primary.query("insert into t values (-1)")
      yield* cluster.awaitReplicated
      assert.deepStrictEqual(yield* numbers(first, "n < 0"), [-1])

      // What was received is not lost, even if it was not yet applied.
      yield* first.query("stop slave sql_thread")
      yield* primary.query("insert into t values (-2)")
      const [written] = yield* primary.query<{ at: string }>("select @@gtid_binlog_pos as at")
      const received = first.query<{ Gtid_IO_Pos: string }>("show slave status")
      yield* until(Effect.map(received, ([row]) => row?.Gtid_IO_Pos === written!.at))

      const refused = yield* Effect.flip(primary.promote)
      assert.strictEqual(refused.phase, "promote")
      assert.include(refused.message, "it is no replica")
      yield* primary.stop("immediate")
      yield* first.promote
      assert.strictEqual(yield* first.role, "primary")
      assert.strictEqual(yield* second.role, "replica")
      yield* first.restart()
      const { query } = yield* session(first)
      yield* query("insert into t values (-3)")
      assert.deepStrictEqual(yield* numbers(first, "n < 0"), [-3, -2, -1])

      // The other one can be told to follow it, and the old primary no longer counts.
      yield* second.query("stop slave")
      yield* second.query("change master to master_host = ?, master_port = ?", [first.host, first.port])
      yield* second.query("start slave")
      yield* until(Effect.map(numbers(second, "n = -3"), (found) => found.length === 1))
    })
  )

  it.scopedLive("a primary whose places are all taken keeps its replicas", () =>
    Effect.gen(function* () {
      const cluster = yield* MariaDbCluster.make({ replicas: 1, settings: { max_connections: 10 } })
      const { primary, replicas } = cluster
      yield* Effect.replicateEffect(session(primary), 10)
      yield* replicas[0]!.restart()
      yield* primary.query("create table t (n int)")
      yield* cluster.awaitReplicated
      assert.deepStrictEqual(yield* replicas[0]!.query("select * from t"), [])
    })
  )
})

describe("MariaDbCluster, the beginning", () => {
  it.effect("without MariaDB it says how to get it", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(find(["/nowhere", "/nor-here"]))
      assert.strictEqual(error.phase, "binaries")
      assert.include(error.message, "/nowhere, /nor-here")
      assert.include(error.message, "sudo apt-get install -y mariadb-server-core")
      assert.include(error.message, "brew install mariadb")
    })
  )
})

endsCleanly({
  kind: "MariaDbCluster",
  make: MariaDbCluster.make,
  refusal: {
    settings: { sql_mode: "LAX" },
    phase: "bootstrap",
    says: "Error while setting value 'LAX' to 'sql_mode'"
  }
})
