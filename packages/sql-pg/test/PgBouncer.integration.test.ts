import { PgClient } from "@effect/sql-pg/PgClient"
import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Effect, Exit, Fiber, Layer, Option, Redacted, Stream } from "effect"
import { atOnce, booksBalance, eventually, onPool, pid, reasonOf, rowsOf, table } from "./support/fixture.js"
import { logged } from "./support/logged.js"
import { pgBouncer } from "./support/pgBouncer.js"

const through = <A, E>(
  config: PgSql.PgSqlConfig,
  body: Effect.Effect<A, E, Sql.Sql | PgClient>,
  { options = "", servers = 2 } = {}
) =>
  Effect.gen(function* () {
    const url = Redacted.make(`${yield* pgBouncer(servers)}${options}`)
    return yield* body.pipe(
      Effect.tap(() => booksBalance),
      Effect.provide(PgSql.layer({ url, proxy: "pgbouncer-transaction", duplicates: "allow", ...config }))
    )
  }).pipe(Effect.scoped)

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("behind PgBouncer", (it) => {
  it.effect("ten connections on two servers: statements, transactions and streams work", () =>
    through(
      { pool: { maxSize: 10 } },
      Effect.gen(function* () {
        yield* table("bounced", "id int primary key")
        const pids = yield* Effect.forEach(
          Array.from({ length: 300 }, (_, n) => n),
          (n) =>
            Effect.map(
              Sql.query<{ pid: number; n: number }>("select pg_backend_pid() as pid, $1::int as n", [n]),
              ([row]) => {
                assert.strictEqual(row!.n, n)
                return row!.pid
              }
            ),
          { concurrency: 50 }
        )
        assert.strictEqual(new Set(pids).size, 2)
        yield* Effect.forEach(
          Array.from({ length: 50 }, (_, n) => n),
          (n) =>
            Sql.withTransaction(
              Effect.gen(function* () {
                const before = yield* pid
                yield* Sql.query("insert into bounced values ($1)", [n])
                assert.strictEqual(yield* pid, before)
              })
            ),
          { concurrency: 10 }
        )
        assert.strictEqual((yield* rowsOf("bounced")).length, 50)
        const { client } = yield* Sql.Sql
        const rows = yield* Effect.all(
          Array.from({ length: 4 }, () => Stream.runCount(client`select g from generate_series(1, 1000) g`.stream)),
          { concurrency: 4 }
        )
        assert.deepStrictEqual(rows, [1000, 1000, 1000, 1000])
      })
    )
  )

  it.effect("an interrupted statement is cancelled on the server, and its connection is kept", () =>
    through(
      { pool: { maxSize: 1 } },
      Effect.gen(function* () {
        for (let i = 0; i < 5; i++) {
          const fiber = yield* Effect.fork(Sql.query("select pg_sleep(30)"))
          yield* Effect.sleep(50)
          yield* atOnce(Fiber.interrupt(fiber))
          yield* atOnce(pid)
        }
        const { closed } = (yield* Sql.stats).write
        assert.strictEqual(
          Object.values(closed).reduce((sum, n) => sum + n, 0),
          0
        )
      }),
      { servers: 1 }
    )
  )

  it.effect("a statement timeout is the client's", () =>
    through(
      { statementTimeout: "1 second" },
      Effect.gen(function* () {
        const reason = yield* reasonOf(Sql.query("select pg_sleep(30)"))
        assert.strictEqual(reason._tag, "StatementTimeout")
        yield* pid
      })
    )
  )

  it.effect("listen fails with InvalidUse, in each of its forms, and says what to do", () =>
    through(
      {},
      Effect.gen(function* () {
        const client = yield* PgClient
        for (const form of [Stream.runDrain(client.listen("channel")), Stream.runDrain(PgSql.listen("channel"))]) {
          const error = yield* Effect.flip(form)
          assert.strictEqual(SqlReason.of(error)._tag, "InvalidUse")
          assert.include(error.message, "server itself")
        }
      })
    )
  )

  for (const [mode, servers] of [
    ["transaction", 1],
    ["session", 4],
    ["session", 1]
  ] as const) {
    const fate = mode === "transaction" ? "fails, typed, instead of hearing nothing" : "hears"
    it.effect(`proxy forgotten, ${mode} mode, ${servers} server connections: a listener ${fate}`, () =>
      Effect.gen(function* () {
        const url = Redacted.make(yield* pgBouncer(servers, mode))
        const { primary } = yield* PgCluster.PgCluster
        yield* logged((entries) =>
          Effect.gen(function* () {
            let heard = 0
            const run = Stream.runForEach(PgSql.listen("channel"), () => Effect.sync(() => heard++))
            if (mode === "transaction") {
              const error = yield* Effect.flip(run)
              assert.strictEqual(SqlReason.of(error)._tag, "InvalidUse")
              assert.include(error.message, 'proxy: "pgbouncer-transaction"')
            } else {
              const fiber = yield* Effect.fork(run)
              yield* eventually(
                "it hears",
                Effect.zipRight(
                  primary.query("select pg_notify('channel', '')"),
                  Effect.sync(() => heard > 0)
                )
              )
              yield* Fiber.interrupt(fiber)
            }
            const uncertain = entries.filter(({ text }) => text.includes("could not be found out"))
            assert.strictEqual(uncertain.length, mode === "session" && servers === 1 ? 1 : 0)
            yield* booksBalance
          }).pipe(Effect.provide(PgSql.layer({ url, startup: "lazy", pool: { minIdle: 0 }, duplicates: "allow" })))
        )
      }).pipe(Effect.scoped)
    )
  }

  it.effect("options in the url are refused before PgBouncer refuses them", () =>
    Effect.gen(function* () {
      const failed = yield* Effect.exit(through({}, pid, { options: "?options=-c%20work_mem%3D1MB" }))
      assert.include(String(failed), "start-up parameter options")
    })
  )

  /** Two programs at once on two server connections, neither of which says that there is a pooler. */
  const unsaid = <A, E>(program: (who: "A" | "B") => Effect.Effect<A, E, Sql.Sql>, pipeline: boolean) =>
    Effect.gen(function* () {
      const url = Redacted.make(yield* pgBouncer(2))
      return yield* logged((entries) =>
        Effect.map(
          Effect.all(
            (["A", "B"] as const).map((who) =>
              program(who).pipe(
                Effect.tap(() => booksBalance),
                Effect.provide(PgSql.layer({ url, pipeline, pool: { maxSize: 4 }, duplicates: "allow" }))
              )
            ),
            { concurrency: 2 }
          ),
          (results) => ({ results, warnings: entries.filter(({ level }) => level === "Warning") })
        )
      )
    }).pipe(Effect.scoped)

  const forgetAll = Sql.query("do $$ begin execute 'deallocate all'; end $$")

  const forty = Array.from({ length: 40 }, (_, n) => n)

  for (const pipeline of [true, false]) {
    const how = pipeline ? "packed" : "not packed"

    it.effect(
      `proxy forgotten, ${how}: a statement never gets the answer of another one, and a warning names proxy`,
      () =>
        Effect.gen(function* () {
          const { results, warnings } = yield* unsaid(
            (who) =>
              Effect.forEach(
                forty,
                (n) => Effect.exit(Sql.query<{ who: string; v: number }>(`select '${who}' as who, $1::int as v`, [n])),
                { concurrency: 4 }
              ),
            pipeline
          )
          for (const [index, who] of ["A", "B"].entries()) {
            for (const [n, exit] of results[index]!.entries()) {
              assert.deepStrictEqual(Exit.isSuccess(exit) ? exit.value : String(exit), [{ who, v: n }])
            }
          }
          assert.isAtLeast(warnings.length, 1)
          assert.isAtMost(warnings.length, 2)
          for (const { text } of warnings) assert.include(text, 'proxy: "pgbouncer-transaction"')
        })
    )
  }

  it.effect("proxy forgotten: an UPDATE never touches the row of another program, in a transaction neither", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      yield* primary.query("create table acc (owner text primary key, n int not null)")
      yield* primary.query("insert into acc values ('A', 0), ('B', 0)")
      const { results, warnings } = yield* unsaid(
        (who) =>
          Effect.forEach(
            forty,
            (n) => {
              const update = Sql.query(`update acc set n = n + $1 where owner = '${who}'`, [1])
              return Effect.exit(n % 2 === 0 ? update : Sql.withTransaction(Effect.zipRight(pid, update)))
            },
            { concurrency: 4 }
          ),
        true
      )
      const rows = yield* primary.query<{ owner: string; n: number }>("select owner, n from acc order by owner")
      assert.deepStrictEqual(
        rows.map(({ n }) => n),
        results.map((exits) => exits.filter(Exit.isSuccess).length)
      )
      for (const exits of results) {
        for (const exit of exits) {
          const failure = Option.getOrUndefined(Exit.causeOption(exit))
          if (failure === undefined) continue
          const error = failure._tag === "Fail" ? failure.error : assert.fail(String(failure))
          assert.strictEqual(SqlReason.of(error)._tag, "StalePlan")
        }
      }
      assert.isAtLeast(warnings.length, 1)
    })
  )

  it.effect("a program may prepare statements under names of its own", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Sql.withConnection(
        Effect.gen(function* () {
          for (let n = 1; n <= 3; n++) yield* Sql.query(`prepare s${n} as select ${n}`)
          for (let n = 1; n <= 3; n++) {
            assert.deepStrictEqual(yield* Sql.query(`select $1::int as plan${n}`, [n]), [{ [`plan${n}`]: n }])
          }
        })
      )
    )
  )

  for (const proxy of ["pgbouncer-transaction", undefined] as const) {
    it.effect(
      `${proxy === undefined ? "proxy forgotten" : "with proxy"}: reads and writes of two programs are their own, while one forgets all statements and prepares its own`,
      () =>
        Effect.gen(function* () {
          const { primary } = yield* PgCluster.PgCluster
          yield* primary.query("drop table if exists shared_out")
          yield* primary.query("create table shared_out (owner text primary key, n int not null)")
          yield* primary.query("insert into shared_out values ('A', 0), ('B', 0)")
          const url = Redacted.make(yield* pgBouncer(2))
          const program = (who: "A" | "B") =>
            Effect.forEach(
              forty,
              (n) => {
                const read = Sql.query<{ who: string; v: number }>(`select '${who}' as who, $1::int as v`, [n])
                const write = Sql.query(`update shared_out set n = n + $1 where owner = '${who}'`, [1])
                const own = Effect.zipRight(Effect.exit(Sql.query(`prepare s${n % 3} as select ${n}`)), read)
                const inside = Sql.withTransaction(Effect.zipRight(write, read))
                return Effect.exit(
                  [read, Effect.zipRight(write, read), inside, who === "A" ? own : Effect.zipRight(forgetAll, read)][
                    n % 4
                  ]!
                )
              },
              { concurrency: 4 }
            ).pipe(
              Effect.tap(() => booksBalance),
              Effect.provide(PgSql.layer({ url, proxy, pool: { maxSize: 4 }, duplicates: "allow" }))
            )
          const { results, warnings } = yield* logged((entries) =>
            Effect.map(Effect.all([program("A"), program("B")], { concurrency: 2 }), (results) => ({
              results,
              warnings: entries.filter(({ level }) => level === "Warning")
            }))
          )
          let lost = 0
          for (const [index, who] of ["A", "B"].entries()) {
            for (const [n, exit] of results[index]!.entries()) {
              if (Exit.isSuccess(exit)) {
                assert.deepStrictEqual(exit.value, [{ who, v: n }])
                continue
              }
              // What has run in a transaction, or has written, is not run again unasked.
              const failure = Option.getOrThrow(Exit.causeOption(exit))
              assert.strictEqual(failure._tag, "Fail", String(failure))
              if (failure._tag === "Fail") assert.strictEqual(SqlReason.of(failure.error)._tag, "StalePlan")
              lost++
            }
          }
          // Each program has counted its own row, once for each of its writes that is said to be done.
          const rows = yield* primary.query<{ owner: string; n: number }>(
            "select owner, n from shared_out order by owner"
          )
          for (const [index, { n }] of rows.entries()) {
            const done = results[index]!.filter(
              (exit, n) => Exit.isSuccess(exit) && (n % 4 === 1 || n % 4 === 2)
            ).length
            assert.isAtLeast(n, done)
            assert.isAtMost(n, done + lost)
          }
          if (proxy === undefined) {
            for (const { text } of warnings) assert.include(text, 'proxy: "pgbouncer-transaction"')
            assert.isAtLeast(warnings.length, 1)
          } else {
            assert.strictEqual(lost, 0)
            assert.deepStrictEqual(warnings, [])
          }
        }).pipe(Effect.scoped)
    )
  }

  it.effect("plans that a DO block has thrown away are made again; one warning says that they were lost", () =>
    logged((entries) =>
      onPool({ pool: { maxSize: 1 }, resetOnRelease: "never" }, () =>
        Effect.gen(function* () {
          const read = (n: number) => Sql.query("select $1::int as n", [n])
          for (let n = 0; n < 5; n++) yield* read(n)
          yield* forgetAll
          assert.deepStrictEqual(yield* read(7), [{ n: 7 }])
          yield* forgetAll
          assert.deepStrictEqual(yield* Sql.withTransaction(read(8)), [{ n: 8 }])
          yield* forgetAll
          assert.deepStrictEqual(yield* Sql.withConnection(read(9)), [{ n: 9 }])
          const inside = Effect.zipRight(forgetAll, read(10))
          const reason = yield* reasonOf(Sql.withTransaction(Effect.zipRight(pid, inside)))
          assert.deepInclude(reason, { _tag: "StalePlan", retry: "transaction", connection: "keep" })
          assert.deepStrictEqual(yield* read(11), [{ n: 11 }])
          const warnings = entries.filter(({ level }) => level === "Warning")
          assert.strictEqual(warnings.length, 1)
          assert.include(warnings[0]!.text, 'proxy: "pgbouncer-transaction"')
        })
      )
    )
  )

  it.effect("a pool through it and a pool on the server itself are no duplicates; two through it are", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      const url = yield* pgBouncer(2)
      const build = (config: PgSql.PgSqlConfig) => Layer.build(PgSql.layer({ ...config, duplicates: "error" }))
      yield* build({ url: primary.url })
      yield* build({ url: Redacted.make(url), proxy: "pgbouncer-transaction" })
      const again = Redacted.make(url.replace("127.0.0.1", "localhost"))
      const reason = yield* reasonOf(build({ url: again, proxy: "pgbouncer-transaction" }))
      assert.strictEqual(reason._tag, "InvalidOptions")
    }).pipe(Effect.scoped)
  )
})
