import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason, SqlRetry } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Deferred, Effect, Either, Exit, Fiber, Layer, Redacted } from "effect"
import { active, backends, eventually, onPool, pid, rowOn, rowsOf, type Told, table, told } from "./support/fixture.js"
import { takePlaces } from "./support/places.js"

const row = rowOn(pid)

const terminate = (name: string) =>
  Effect.flatMap(PgCluster.PgCluster, ({ primary }) => primary.terminateBackends({ applicationName: name }))

const one = { pool: { maxSize: 1 } }

/** The failure of a Layer that cannot connect. */
const refused = (config: PgSql.PgSqlConfig) =>
  Effect.flip(
    Effect.scoped(Layer.build(PgSql.layer({ duplicates: "allow", ...config })))
  ) as unknown as Effect.Effect<Error>

layer(PgCluster.layer({ settings: { max_connections: 20 } }), { excludeTestServices: true, timeout: "2 minutes" })(
  "errors",
  (it) => {
    it.effect("what the server refuses keeps its connection, is undone, and never tried again", () =>
      onPool(one, () =>
        Effect.gen(function* () {
          yield* Sql.query("drop table if exists child, parent")
          yield* table("parent", "id int primary key check (id < 100), n int not null")
          yield* table("child", "id int references parent")
          yield* Sql.query("insert into parent values (1, 1)")
          const kept = (tag: SqlReason.Tag): Told => [tag, "keep", "rolledBack", "never"]
          const rows: ReadonlyArray<readonly [sql: string, code: string, SqlReason.Tag, RegExp]> = [
            ["insert into parent values (1, 1)", "23505", "UniqueViolation", /parent_pkey.*\(23505\)/],
            ["insert into child values (7)", "23503", "ForeignKeyViolation", /child_id_fkey/],
            ["insert into parent values (100, 1)", "23514", "CheckViolation", /parent_id_check/],
            ["insert into parent values (2, null)", "23502", "NotNullViolation", /column "n"/],
            ["selct 1", "42601", "SyntaxError", /syntax error/],
            ["select * from nowhere", "42P01", "SyntaxError", /"nowhere" does not exist/],
            ["select nothing from parent", "42703", "SyntaxError", /"nothing" does not exist/],
            ["select 1 / 0", "22012", "InvalidData", /division by zero/],
            ["select 'x'::int", "22P02", "InvalidData", /integer/],
            ["insert into parent values (99999999999, 1)", "22003", "InvalidData", /out of range/],
            ["select '2024-13-01'::date", "22008", "InvalidData", /date/],
            ["select 'yesterdayish'::date", "22007", "InvalidData", /date/],
            ["select 'ab'::varchar(1)::\"char\"::text::bit(1)", "22P02", "InvalidData", /binary/],
            ["do $$ begin raise exception 'mine'; end $$", "P0001", "Unclassified", /\(P0001\)/]
          ]
          for (const [sql, code, tag, says] of rows) yield* row(Sql.query(sql), code, kept(tag), says)
          yield* row(
            Sql.withTransaction({ readOnly: true })(Sql.query("insert into parent values (3, 1)")),
            "25006",
            kept("NotWritable"),
            /read-only transaction/
          )
          yield* row(
            Sql.withTransaction(Effect.zipRight(Effect.ignore(Sql.query("select 1 / 0")), Sql.query("select 1"))),
            "25P02",
            kept("TransactionAborted"),
            /aborted/
          )
        })
      )
    )

    it.effect("what a role may not do is PermissionDenied", () =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        yield* primary.query("create role errors_guest login password 'guest'")
        yield* primary.query("create table secrets (id int)")
        yield* onPool({ ...one, url: asUser(primary, "errors_guest", "guest") }, () =>
          row(
            Sql.query("select * from secrets"),
            "42501",
            ["PermissionDenied", "keep", "rolledBack", "never"],
            /secrets/
          )
        )
      })
    )

    it.effect("timeouts of statements and locks keep the connection; a cancel by somebody else does too", () =>
      onPool(one, (name) =>
        Effect.gen(function* () {
          const { primary } = yield* PgCluster.PgCluster
          yield* table("locked", "id int")
          yield* row(
            Sql.withTransaction(
              Effect.zipRight(Sql.query("set local statement_timeout = 200"), Sql.query("select pg_sleep(30)"))
            ),
            "57014",
            ["StatementTimeout", "keep", "rolledBack", "never"],
            /statement timeout/
          )
          const other = yield* Effect.fork(
            onPool({}, (holder) =>
              Sql.withTransaction(
                Effect.zipRight(Sql.query("lock table locked"), Sql.query(`select pg_sleep(60), '${holder}'`))
              )
            )
          )
          yield* eventually(
            "the lock is held",
            Effect.map(primary.activity, (all) => all.some((one) => one.query.includes("pg_sleep(60)")))
          )
          yield* row(
            Sql.withTransaction(
              Effect.zipRight(Sql.query("set local lock_timeout = 20"), Sql.query("select * from locked"))
            ),
            "55P03",
            ["LockTimeout", "keep", "rolledBack", "transaction"],
            /lock timeout/
          )
          yield* row(
            Sql.withTransaction(Sql.query("lock table locked nowait")),
            "55P03",
            ["LockTimeout", "keep", "rolledBack", "transaction"],
            /could not obtain lock/
          )
          yield* Fiber.interrupt(other)
          const cancelled = Effect.gen(function* () {
            const fiber = yield* Effect.fork(Sql.query("select pg_sleep(31)"))
            yield* active(name, "pg_sleep(31)")
            yield* primary.query("select pg_cancel_backend(pid) from pg_stat_activity where application_name = $1", [
              name
            ])
            return yield* Fiber.join(fiber)
          })
          yield* row(cancelled, "57014", ["Cancelled", "keep", "rolledBack", "never"], /user request/)
        })
      )
    )

    it.effect("time limits of sessions and transactions that end the connection", () =>
      onPool(one, (name) =>
        Effect.gen(function* () {
          const ended = eventually(
            "the server has ended the session",
            Effect.map(backends(name), (all) => all.length === 0)
          )
          const ending = (setting: string, pinned: Effect.Effect<unknown, unknown, Sql.Sql>) =>
            Effect.gen(function* () {
              yield* Sql.query(`set local ${setting}`)
              yield* ended
              yield* pinned
            }).pipe(Sql.withTransaction)
          yield* row(
            ending("idle_in_transaction_session_timeout = 30", Sql.query("select 1")),
            "25P03",
            ["ServerShutdown", "destroy", "rolledBack", "transaction"],
            /lost inside a transaction.*idle-in-transaction timeout.*run a transaction again/
          )
          yield* row(
            Sql.withTransaction(
              Effect.zipRight(Sql.query("set local transaction_timeout = 500"), Sql.query("select pg_sleep(30)"))
            ),
            "25P04",
            ["StatementTimeout", "destroy", "rolledBack", "never"],
            /transaction timeout/
          )
          // The session is pinned, so that nobody resets the setting.
          const idle = Effect.gen(function* () {
            yield* Sql.query("set idle_session_timeout = 30")
            yield* ended
            yield* Sql.query("select 1")
          }).pipe(Sql.withConnection)
          const before = yield* pid
          told(
            yield* Effect.flip(idle),
            "57P05",
            ["ServerShutdown", "destroy", "rolledBack", "transaction"],
            /session had been changed.*idle-session timeout/
          )
          assert.notStrictEqual(yield* pid, before)
        })
      )
    )

    it.effect("a backend that an administrator ends: idle, running, in a transaction, in COMMIT", () =>
      onPool(one, (name) =>
        Effect.gen(function* () {
          yield* table("ended", "id int")
          yield* Sql.query(
            "create or replace function ended_sleep() returns trigger language plpgsql as $$ begin perform pg_sleep(20); return null; end $$"
          )
          yield* Sql.query(
            "create constraint trigger slow after insert on ended deferrable initially deferred for each row execute function ended_sleep()"
          )
          // Idle: nobody sees it.
          const before = yield* pid
          yield* terminate(name)
          assert.notStrictEqual(yield* pid, before)
          const during = <A, E>(effect: Effect.Effect<A, E, Sql.Sql>, text: string) =>
            Effect.gen(function* () {
              const fiber = yield* Effect.fork(effect)
              yield* active(name, text)
              yield* terminate(name)
              return yield* Fiber.join(fiber)
            })
          const sleep = Sql.query("select pg_sleep(32)")
          yield* row(
            during(sleep, "pg_sleep(32)"),
            "57P01",
            ["ServerShutdown", "destroy", "unknown", "idempotent"],
            /administrator command/
          )
          yield* row(
            during(Sql.withTransaction(sleep), "pg_sleep(32)"),
            "57P01",
            ["ServerShutdown", "destroy", "rolledBack", "transaction"],
            /administrator command/
          )
          yield* row(
            during(Sql.withTransaction(Sql.query("insert into ended values (1)")), "COMMIT"),
            "57P01",
            ["CommitUnknown", "destroy", "unknown", "idempotent"],
            /COMMIT was sent.*either written or not/
          )
          // Between two statements of a transaction: nothing was sent, everything is undone.
          const between = Effect.gen(function* () {
            yield* Sql.query("insert into ended values (2)")
            yield* terminate(name)
            yield* Sql.query("select 1")
          }).pipe(Sql.withTransaction)
          const lost = SqlReason.of(yield* Effect.flip(between))
          assert.include(["ServerShutdown", "ConnectionLost"], lost._tag)
          assert.include(["transaction", "always"], lost.retry)
          assert.deepStrictEqual(yield* rowsOf("ended"), [])
        })
      )
    )

    it.effect("conflicts: with retry the loser runs again, and everybody is written", () =>
      onPool({ pool: { maxSize: 8 } }, () =>
        Effect.gen(function* () {
          yield* table("counters", "id int primary key, n int not null")
          yield* Sql.query("insert into counters values (1, 0), (2, 0)")
          let bodies = 0
          // All four have read before the first one writes, so only one of them can commit at once.
          const all = yield* Effect.makeLatch()
          const increment = Effect.gen(function* () {
            const rows = yield* Sql.query<{ n: number }>("select n from counters where id = 1")
            if (++bodies === 4) yield* all.open
            yield* all.await
            yield* Sql.query("update counters set n = $1 where id = 1", [rows[0]!.n + 1])
          }).pipe(Sql.withTransaction({ isolation: "serializable", retry: true }))
          yield* Effect.all(
            Array.from({ length: 4 }, () => increment),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(yield* Sql.query("select n from counters where id = 1"), [{ n: 4 }])
          assert.isAbove(bodies, 4)
          // Two that lock the same rows in the opposite order.
          const both = yield* Deferred.make<void>()
          let arrived = 0
          const crossing = (first: number, second: number, retry: boolean) =>
            Effect.gen(function* () {
              yield* Sql.query("update counters set n = n + 10 where id = $1", [first])
              if (++arrived === 2) yield* Deferred.succeed(both, undefined)
              yield* Deferred.await(both)
              yield* Sql.query("update counters set n = n + 10 where id = $1", [second])
            }).pipe(Sql.withTransaction({ retry }), Effect.either)
          const crossed = yield* Effect.all([crossing(1, 2, false), crossing(2, 1, false)], { concurrency: 2 })
          const failures = crossed.flatMap((exit) => (Either.isLeft(exit) ? [exit.left] : []))
          assert.lengthOf(failures, 1)
          told(failures[0], "40P01", ["Deadlock", "keep", "rolledBack", "transaction"], /deadlock/)
          arrived = 0
          const again = yield* Effect.all([crossing(1, 2, true), crossing(2, 1, true)], { concurrency: 2 })
          assert.isTrue(again.every(Either.isRight))
          assert.deepStrictEqual(yield* Sql.query("select n from counters order by id"), [{ n: 34 }, { n: 30 }])
          const skewed = yield* Effect.exit(
            Effect.gen(function* () {
              yield* Sql.query("select n from counters where id = 1")
              yield* onPool({}, () => Sql.query("update counters set n = 0 where id = 1"))
              yield* Sql.query("update counters set n = 1 where id = 1")
            }).pipe(Sql.withTransaction({ isolation: "repeatable read" }), Effect.flip)
          )
          told(
            Exit.isSuccess(skewed) && skewed.value,
            "40001",
            ["SerializationFailure", "keep", "rolledBack", "transaction"],
            /could not serialize/
          )
        })
      )
    )

    it.effect("fromMatch tries again what it names", () =>
      onPool({ pool: { maxSize: 2 } }, () =>
        Effect.gen(function* () {
          yield* table("matched", "id int primary key")
          yield* Sql.query("insert into matched values (1)")
          let runs = 0
          const work = Effect.gen(function* () {
            if (++runs === 3) yield* Sql.query("delete from matched")
            yield* Sql.query("insert into matched values (1)")
          })
          const policy = yield* SqlRetry.fromMatch({ match: ["23505"], max: 4, backoffBase: "1 millis" })
          yield* work.pipe(Sql.retry(policy))
          assert.strictEqual(runs, 3)
          const reason = SqlReason.of(
            yield* Effect.flip(Sql.query("insert into matched values (1)").pipe(Sql.retry(policy)))
          )
          assert.strictEqual(reason.attempts, 4)
        })
      )
    )

    it.effect(
      "prepared statements: a plan that is stale or missing is made again; one of the program's own is told",
      () =>
        onPool(one, () =>
          Effect.gen(function* () {
            yield* table("plans", "id int")
            const select = Sql.query("select * from plans")
            yield* select
            yield* Sql.query("alter table plans add column more text")
            const before = yield* pid
            assert.deepStrictEqual(yield* select, [])
            // In a transaction only a plan that the program made itself can be stale.
            yield* Sql.withConnection(
              Effect.gen(function* () {
                yield* Sql.query("prepare by_hand as select * from plans")
                yield* Sql.query("alter table plans add column most text")
                yield* row(
                  Sql.withTransaction(Sql.query("execute by_hand")),
                  "0A000",
                  ["StalePlan", "keep", "rolledBack", "transaction"],
                  /cached plan must not change result type/
                )
              })
            )
            yield* Sql.withTransaction({ retry: true })(Effect.zipRight(Sql.query("select 1"), select))
            yield* row(
              Sql.query("execute never_made"),
              "26000",
              ["StalePlan", "keep", "rolledBack", "transaction"],
              /never_made/
            )
            // Another PREPARE of the program under the same name.
            yield* Sql.withConnection(
              Effect.gen(function* () {
                yield* Sql.query("prepare mine as select 1")
                told(
                  yield* Effect.flip(Sql.query("prepare mine as select 1")),
                  "42P05",
                  ["StalePlan", "keep", "rolledBack", "transaction"],
                  /already exists/
                )
              })
            )
            assert.strictEqual(yield* pid, before)
          })
        )
    )

    it.effect("no entry: password, user, database", () =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const never: Told = ["AuthenticationFailed", "none", "none", "never"]
        yield* primary.query("create role errors_nologin")
        told(
          yield* refused({ url: asUser(primary, "sluice", "wrong") }),
          "28P01",
          never,
          /check username and password/i
        )
        yield* primary.query("alter role errors_nologin password 'x'")
        told(yield* refused({ url: asUser(primary, "errors_nologin", "x") }), "28000", never, /pg_hba\.conf/)
        told(
          yield* refused({ url: Redacted.make(`${Redacted.value(primary.url)}_nowhere`) }),
          "3D000",
          never,
          /no such database/i
        )
      })
    )

    it.effect("a server that is full: callers share what is open; nothing open is TooManyConnections", () =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        /** The pool has one connection, the test takes the others, and then 40 callers come. */
        const full = (role: string, places: number, says: RegExp) => {
          const url = asUser(primary, role, "x")
          return onPool({ url, pool: { maxSize: 40 } }, (name) =>
            Effect.gen(function* () {
              yield* pid
              yield* takePlaces(url, places - 1)
              yield* eventually(
                "forty callers were served, and the server has refused the pool another connection",
                Effect.zipRight(
                  Effect.forEach(Array.from({ length: 40 }), () => Sql.query("select pg_sleep(0.01)"), {
                    concurrency: "unbounded"
                  }),
                  Effect.map(Sql.stats, ({ write }) => write.connectFailures > 0)
                )
              )
              assert.strictEqual((yield* backends(name)).length, 1)
              told(yield* refused({ url }), "53300", ["TooManyConnections", "none", "none", "always"], says)
            }).pipe(Effect.scoped)
          )
        }
        yield* primary.query("create role errors_two login password 'x' connection limit 2")
        yield* full("errors_two", 2, /lower maxSize, or raise max_connections/i)
        yield* primary.query("create role errors_many login password 'x'")
        const [places] = yield* primary.query<{ n: number }>(
          `select current_setting('max_connections')::int - current_setting('reserved_connections')::int
             - current_setting('superuser_reserved_connections')::int as n`
        )
        yield* full("errors_many", places!.n, /\(53300\)/)
      })
    )

    it.effect("a session that crashes takes all others with it, and they say so", () =>
      onPool({ pool: { maxSize: 2 } }, (name) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(Effect.flip(Sql.query("select pg_sleep(34)")))
          yield* active(name, "pg_sleep(34)")
          const [victim] = yield* Sql.query<{ pid: number }>("select pg_backend_pid() as pid")
          yield* Effect.sync(() => process.kill(victim!.pid, "SIGKILL"))
          const reason = SqlReason.of(yield* Fiber.join(fiber))
          assert.deepInclude(reason, {
            _tag: "ServerShutdown",
            code: "57P02",
            connection: "destroy",
            retry: "idempotent"
          })
          yield* (yield* PgCluster.PgCluster).primary.awaitReady
        })
      )
    )
  }
)

const asUser = (node: PgCluster.PgNode, user: string, password: string) =>
  Redacted.make(Redacted.value(node.url).replace(/\/\/[^@]*@/, `//${user}:${password}@`))
