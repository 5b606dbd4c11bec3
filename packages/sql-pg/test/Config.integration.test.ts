import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Effect, Layer, Redacted } from "effect"
import Pg from "pg"
import { failureOf } from "./support/fixture.js"

const refused = (config: PgSql.PgSqlConfig) => failureOf(PgSql.layer({ duplicates: "allow", ...config }))

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("configuration", (it) => {
  const cases: ReadonlyArray<{
    readonly name: string
    readonly config: (node: PgCluster.PgNode) => PgSql.PgSqlConfig
    readonly tag: SqlReason.Tag
    readonly says: RegExp
  }> = [
    {
      name: "two wrong ports and a wrong timeout: all of them",
      config: () => ({ port: 0, replicas: [{ port: 70_000 }], statementTimeout: Infinity }),
      tag: "InvalidOptions",
      says: /port must.*replicas\[0\]\.port.*statementTimeout/
    },
    {
      name: "no password where one is asked for",
      config: ({ port }) => ({ host: "127.0.0.1", port, username: "sluice", database: "sluice" }),
      tag: "AuthenticationFailed",
      says: /set password/i
    }
  ]

  for (const { config, name, says, tag } of cases) {
    it.effect(`${name}: the Layer fails with ${tag}, says what to do, and shows no password`, () =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const { message, reason } = yield* refused(config(primary))
        assert.strictEqual(reason._tag, tag)
        assert.match(message, says)
        assert.strictEqual(reason.outcome, "none")
      })
    )
  }

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
      const { reason } = yield* refused(config)
      assert.strictEqual(reason._tag, "TooManyConnections")
      assert.strictEqual(reason.retry, "always")
    }).pipe(Effect.scoped)
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
      for (const [name, options] of Object.entries({
        Client: { Client: Pg.Client },
        options: { options: "-c search_path=app" },
        lock_timeout: { lock_timeout: 100 },
        query_timeout: { query_timeout: 100 },
        onConnect: { onConnect: () => {} },
        idleTimeout: { idleTimeout: 5 }
      })) {
        const refused = PgSql.layerFromPool({ acquire: poolOf({ connectionString: url.href, ...(options as object) }) })
        const error = yield* Effect.flip(Effect.scoped(Layer.build(refused)))
        assert.strictEqual(SqlReason.of(error)._tag, "InvalidOptions")
        assert.include(error.message, `pool.options.${name} is no option here: `)
      }
    })
  )
})
