import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Fiber, Redacted } from "effect"
import Pg from "pg"
import { PgCluster } from "../src/index.js"
import { until } from "../src/internal/live.js"
import { endsCleanly } from "./fixtures/ending.js"
import { nothingHappens, portAnswers } from "./fixtures/support.js"
import { stopsAndPauses } from "./fixtures/verbs.js"

/** What the application sees: its own connection, and how that ended. */
const session = (node: PgCluster.PgNode, options: { readonly name?: string; readonly password?: string } = {}) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        const url = new URL(Redacted.value(node.url))
        if (options.password !== undefined) url.password = options.password
        const client = new Pg.Client({ connectionString: url.href, application_name: options.name ?? "app" })
        const errors: Array<string> = []
        client.on("error", (error) => errors.push((error as { code?: string }).code ?? error.message))
        await client.connect()
        return { client, errors }
      },
      catch: (cause) => cause as Error & { readonly code?: string }
    }),
    ({ client }) => Effect.promise(() => client.end().catch(() => {}))
  ).pipe(
    Effect.map(({ client, errors }) => ({
      query: (sql: string) =>
        Effect.tryPromise({
          try: () => client.query(sql),
          catch: (cause) => cause as Error & { readonly code?: string }
        }).pipe(Effect.map(({ rows }) => rows as ReadonlyArray<Record<string, unknown>>)),
      end: Effect.promise(() => client.end()),
      broken: until(Effect.sync(() => errors.length > 0)).pipe(Effect.map(() => errors[0]!))
    }))
  )

const names = (node: PgCluster.PgNode) =>
  Effect.map(node.activity, (rows) => rows.map(({ applicationName }) => applicationName))

const one = Effect.map(PgCluster.PgCluster, ({ primary }) => primary)

layer(PgCluster.layer({ settings: { max_connections: 17, "sluice.quoted": "it's" }, password: "p@ss'w\\rd/%" }), {
  timeout: "60 seconds"
})("PgCluster, one node", (it) => {
  it.scoped("runs PostgreSQL 18 with the database, the user and the settings that were asked for", () =>
    Effect.gen(function* () {
      const node = yield* one
      const { query } = yield* session(node)
      const [row] = yield* query(
        `select current_setting('server_version_num')::int / 10000 as version, current_database() as database,
                current_user as "user", current_setting('max_connections') as max, current_setting('sluice.quoted') as quoted`
      )
      assert.deepStrictEqual(row, { version: 18, database: "sluice", user: "sluice", max: "17", quoted: "it's" })
      assert.strictEqual(node.name, "primary")
      assert.strictEqual(yield* node.role, "primary")
    })
  )

  it.scoped("refuses a wrong password", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(session(yield* one, { password: "wrong" }))
      assert.strictEqual(error.code, "28P01")
    })
  )

  it.scoped("query passes parameters and reports the server's error without the password", () =>
    Effect.gen(function* () {
      const node = yield* one
      assert.deepStrictEqual(yield* node.query("select $1::int + 1 as sum", [41]), [{ sum: 42 }])
      const error = yield* Effect.flip(node.query("select * from nowhere"))
      assert.strictEqual(error._tag, "PgClusterError")
      assert.strictEqual(error.phase, "query")
      assert.strictEqual((error.cause as { code: string }).code, "42P01")
      assert.include(error.message, 'node "primary"')
      assert.notInclude(error.message, "p@ss")
      assert.notInclude(String(node.url), "p@ss")
    })
  )

  it.scoped("activity shows the application's sessions and not its own", () =>
    Effect.gen(function* () {
      const node = yield* one
      const first = yield* session(node, { name: "first" })
      yield* session(node, { name: "second" })
      yield* first.query("begin")
      yield* first.query("select 7 as seven")
      const rows = yield* node.activity
      assert.deepStrictEqual(
        rows.map(({ applicationName, database, query, state, user }) => ({
          applicationName,
          database,
          query,
          state,
          user
        })),
        [
          {
            applicationName: "first",
            database: "sluice",
            query: "select 7 as seven",
            state: "idle in transaction",
            user: "sluice"
          },
          { applicationName: "second", database: "sluice", query: "", state: "idle", user: "sluice" }
        ]
      )
      assert.strictEqual(rows[0]!.waitEvent, "ClientRead")
      assert.isAbove(rows[0]!.pid, 0)
      assert.instanceOf(rows[0]!.backendStart, Date)
      assert.isAtLeast(Number(rows[0]!.queryStart), Number(rows[0]!.backendStart))
    })
  )

  it.scoped(
    "the testkit's own connections are neither shown nor ended, and an interrupted query ends on the server",
    () =>
      Effect.gen(function* () {
        const node = yield* one
        const { query } = yield* session(node)
        const own = yield* Effect.fork(node.query("select pg_sleep(3600)"))
        const sleeping = Effect.map(
          query("select 1 from pg_stat_activity where query = 'select pg_sleep(3600)' and state = 'active'"),
          (rows) => rows.length === 1
        )
        yield* until(sleeping)
        assert.deepStrictEqual(yield* names(node), ["app"])
        assert.strictEqual(yield* node.terminateBackends({ applicationName: "sluice-testkit" }), 0)
        assert.isTrue(yield* sleeping)
        yield* Fiber.interrupt(own)
        yield* until(Effect.map(sleeping, (still) => !still))
      })
  )

  it.scoped("terminateBackends ends the sessions that match, waits until they are gone, and counts them", () =>
    Effect.gen(function* () {
      const node = yield* one
      const first = yield* session(node, { name: "first" })
      const second = yield* session(node, { name: "second" })
      assert.strictEqual(yield* node.terminateBackends({ applicationName: "nobody" }), 0)
      assert.strictEqual(yield* node.terminateBackends({ applicationName: "first", user: "sluice" }), 1)
      assert.deepStrictEqual(yield* names(node), ["second"])
      assert.strictEqual(yield* first.broken, "57P01")
      yield* second.query("select 1")
      assert.strictEqual(yield* node.terminateBackends({ database: "postgres" }), 0)
      assert.strictEqual(yield* node.terminateBackends(), 1)
      assert.strictEqual(yield* second.broken, "57P01")
    })
  )

  for (const mode of ["fast", "immediate"] as const) {
    it.scoped(`restart("${mode}") breaks open sessions and keeps port and committed data`, () =>
      Effect.gen(function* () {
        const node = yield* one
        const { broken, query } = yield* session(node)
        yield* query(`create table ${mode} as select 1 as n`)
        yield* node.restart(mode)
        assert.strictEqual(yield* broken, mode === "fast" ? "57P01" : "Connection terminated unexpectedly")
        const after = yield* session(node)
        assert.deepStrictEqual(yield* after.query(`select n from ${mode}`), [{ n: 1 }])
        assert.strictEqual((yield* node.log).includes("automatic recovery in progress"), mode === "immediate")
      })
    )
  }

  it.scoped('stop("smart") lets the last client finish and refuses new ones meanwhile', () =>
    Effect.gen(function* () {
      const node = yield* one
      const last = yield* session(node)
      const stopping = yield* Effect.fork(node.stop("smart"))
      yield* until(
        Effect.match(Effect.scoped(session(node)), {
          onFailure: ({ code }) => code === "57P03",
          onSuccess: () => false
        })
      )
      assert.isNull(stopping.unsafePoll())
      yield* last.query("select 1")
      yield* last.end
      yield* Fiber.join(stopping)
      assert.isFalse(yield* portAnswers(node))
      yield* node.start
    })
  )

  it.scoped("a second stop with another mode ends a smart stop that waits", () =>
    Effect.gen(function* () {
      const node = yield* one
      const { broken } = yield* session(node)
      const stopping = yield* Effect.fork(node.stop("smart"))
      yield* until(Effect.map(node.log, (log) => /smart shutdown request/.test(log.split("ready to accept").at(-1)!)))
      yield* node.stop("fast")
      yield* Fiber.join(stopping)
      assert.strictEqual(yield* broken, "57P01")
      yield* node.start
    })
  )

  stopsAndPauses(it, { node: one, session: Effect.flatMap(one, (node) => session(node)), processes: 3 })
})

describe("PgCluster, replicas", () => {
  it.scopedLive("every replica follows the primary, refuses writes, and can be promoted when the primary is gone", () =>
    Effect.gen(function* () {
      const cluster = yield* PgCluster.make({ replicas: 2 })
      const { primary, replicas } = cluster
      const [first, second] = replicas as [PgCluster.PgNode, PgCluster.PgNode]
      assert.deepStrictEqual(
        cluster.nodes.map(({ name }) => name),
        ["primary", "replica-1", "replica-2"]
      )
      assert.deepStrictEqual(yield* Effect.forEach(cluster.nodes, ({ role }) => role), [
        "primary",
        "replica",
        "replica"
      ])

      yield* primary.query("create table t as select generate_series(1, 1000) as n")
      yield* cluster.awaitReplicated
      for (const replica of replicas) {
        assert.deepStrictEqual(yield* replica.query("select count(*)::int as n from t"), [{ n: 1000 }])
        const { query } = yield* session(replica)
        assert.strictEqual((yield* Effect.flip(query("insert into t values (0)"))).code, "25006")
      }

      // A replica that does not replay holds awaitReplicated back.
      yield* second.query("select pg_wal_replay_pause()")
      yield* primary.query("insert into t values (0)")
      const waiting = yield* Effect.fork(cluster.awaitReplicated)
      yield* until(Effect.map(first.query("select from t where n = 0"), (rows) => rows.length === 1))
      assert.deepStrictEqual(yield* second.query("select from t where n = 0"), [])
      yield* nothingHappens
      assert.isNull(waiting.unsafePoll())
      yield* second.query("select pg_wal_replay_resume()")
      yield* Fiber.join(waiting)
      assert.strictEqual((yield* second.query("select from t where n = 0")).length, 1)

      // Restarting the primary does not lose the replicas.
      yield* primary.restart("immediate")
      yield* primary.query("insert into t values (-1)")
      yield* cluster.awaitReplicated

      assert.strictEqual((yield* Effect.flip(primary.promote)).phase, "promote")
      yield* primary.stop("immediate")
      yield* first.promote
      assert.strictEqual(yield* first.role, "primary")
      assert.strictEqual(yield* second.role, "replica")
      const { query } = yield* session(first)
      assert.deepStrictEqual(yield* query("insert into t values (-2) returning n"), [{ n: -2 }])
      assert.deepStrictEqual(yield* query("select count(*)::int as n from t where n <= 0"), [{ n: 3 }])
    })
  )
})

endsCleanly({
  kind: "PgCluster",
  make: PgCluster.make,
  refusal: {
    settings: { max_connections: "many" },
    phase: "start",
    says: 'invalid value for parameter "max_connections": "many"'
  }
})
