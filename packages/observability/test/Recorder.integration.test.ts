/** What a report says of real servers: with the rights of an administrator, and with those of a program. */
import { assert, layer } from "@effect/vitest"
import { Recorder, type Report } from "@sluice/observability"
import { Sql } from "@sluice/sql"
import { MariaDbCluster, PgCluster } from "@sluice/testkit"
import { Effect, Fiber, Layer, Redacted } from "effect"
import * as Mysql from "../../sql-mysql2/test/support/fixture.js"
import * as Pg from "../../sql-pg/test/support/fixture.js"

/** The database with the pool of this name, when it is as it shall be. */
const databaseOf = (
  recorder: Recorder.Service,
  what: string,
  is: (database: Report.Database) => boolean
): Effect.Effect<Report.Database> =>
  Effect.gen(function* () {
    let found: Report.Database | undefined
    yield* Pg.eventually(
      what,
      Effect.map(recorder.report(), ({ databases }) => {
        found = databases.find((database) => database.system !== undefined && is(database))
        return found !== undefined
      })
    )
    return found!
  })

/** One connection idle in a transaction, whose number the server has told, until the effect has ended. */
const idleWith = <A, E, R>(askNumber: string, body: (number: number) => Effect.Effect<A, E, R>) =>
  Sql.withTransaction(Effect.flatMap(Sql.query<{ number: number }>(askNumber), ([row]) => body(Number(row!.number))))

/** What is the same of both databases. */
const told = (askNumber: string, system: string, idle: number | undefined) =>
  Effect.gen(function* () {
    const recorder = yield* Recorder.make()
    yield* idleWith(askNumber, (number) =>
      Effect.gen(function* () {
        const connects = (yield* Sql.stats).write.connects
        const { isWritable, pools, server, ...database } = yield* databaseOf(
          recorder,
          "the server has said how many connections it has",
          ({ pools, server }) => server !== undefined && pools[0]!.holders[0]?.kind === "idleInTransaction"
        )
        assert.deepInclude(database, { system, errors: {}, retries: { total: 0, denied: 0 } })
        assert.isTrue(isWritable)
        assert.deepInclude(server, { active: 0, idleInTransaction: idle })
        // That of the pool, and the control connection.
        assert.isAtLeast(server!.connections, 2)
        assert.isAbove(server!.maxConnections, 10)
        const [pool] = pools
        assert.deepInclude(pool, { using: 1, isUp: true, role: "primary", connects })
        assert.deepInclude(pool!.holders[0], { serverPid: number, activity: undefined, span: undefined })
      })
    )
    yield* Effect.ignore(Sql.query("select nothing from nowhere"))
    const { errors, lastMinute } = yield* databaseOf(
      recorder,
      "the error is counted",
      ({ lastMinute }) => Object.keys(lastMinute.errors).length > 0
    )
    assert.deepStrictEqual(errors, lastMinute.errors)
  }).pipe(Effect.scoped)

const options = { excludeTestServices: true, timeout: "2 minutes" } as const

layer(Layer.merge(PgCluster.layer(), MariaDbCluster.layer()), options)("A recorder of real servers", (it) => {
  it.effect("tells what PostgreSQL counts, and which of its processes works for a lease", () =>
    Pg.onPool({ pool: { maxSize: 2 } }, () => told("select pg_backend_pid() as number", "postgresql", 1))
  )

  it.effect("tells the same to a user of PostgreSQL without privileges", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      yield* primary.query("create role plain login password 'plain'")
      const url = Redacted.make(Redacted.value(primary.url).replace(/\/\/[^@]*@/, "//plain:plain@"))
      yield* Pg.onPool({ url, pool: { maxSize: 2 } }, () => told("select pg_backend_pid() as number", "postgresql", 1))
    })
  )

  it.effect("tells what MariaDB counts, but not to a user without PROCESS who is idle in a transaction", () =>
    Mysql.onPool({ pool: { maxSize: 2 } }, () => told("select connection_id() as number", "mysql", undefined))
  )

  it.effect("tells a user of MariaDB with PROCESS all of it", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      yield* Mysql.user("observer")
      yield* primary.query("create table if not exists sluice.one (id int primary key) engine=innodb")
      yield* primary.query("grant process on *.* to 'observer'@'%'")
      yield* Mysql.onPool({ url: Mysql.as(primary, "observer"), pool: { maxSize: 2 } }, () =>
        told("select connection_id() as number, count(*) from one for update", "mysql", 1)
      )
    })
  )

  it.effect("asks nobody while nobody looks, and nobody waits for a server that does not answer", () =>
    Pg.onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const recorder = yield* Recorder.make()
        const control = Effect.map(Sql.stats, ({ control }) => control[0]!.connects)
        const query = yield* Effect.fork(Sql.query("select pg_sleep(0.1)"))
        yield* Fiber.join(query)
        assert.strictEqual(yield* control, 0)
        // The first report comes before the first answer.
        assert.isUndefined((yield* recorder.report()).databases[0]!.server)
        yield* databaseOf(recorder, "it was asked", ({ server }) => server !== undefined)
        assert.strictEqual(yield* control, 1)
      }).pipe(Effect.scoped)
    )
  )
})
