import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Effect, Redacted, Stream } from "effect"
import pg from "pg"
import { booksBalance, onPool, pid, reasonOf } from "./support/fixture.js"
import { logged } from "./support/logged.js"
import { pgBouncer } from "./support/pgBouncer.js"

const failing = {
  types: {
    getTypeParser: (oid: number, format?: any) =>
      oid === 23
        ? (text: string) => {
            if (text === "300") throw new Error("the connection is closed to 300")
            return Number(text)
          }
        : pg.types.getTypeParser(oid, format)
  } as any
}

const renaming = { transformQueryNames: (name: string) => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`) }

const thousand = "select g from generate_series(1, 1000) g"

const divided = "select 1 / (300 - g) as g from generate_series(1, 1000) g"

/** Every way to read the rows of a text, each as a number of rows. */
const forms = (text: string) =>
  Effect.map(Sql.Sql, ({ client }) => {
    const stream = Stream.runCount(client.unsafe(text).stream)
    const query = Effect.map(Sql.query(text), (rows) => rows.length)
    const form = (name: string, effect: typeof query, inside = false) => ({ name, effect, inside })
    return [
      form("a query", query),
      form(
        "unprepared",
        Effect.map(client.unsafe(text).unprepared, (rows) => rows.length)
      ),
      form(
        "values",
        Effect.map(client.unsafe(text).values, (rows) => rows.length)
      ),
      form(
        "several statements",
        Effect.map(Sql.query(`select 1::int8; ${text}`), (rows) => rows.length)
      ),
      form("a stream", stream),
      form("a pinned query", Sql.withConnection(Effect.zipRight(pid, query))),
      form("a pinned stream", Sql.withConnection(Effect.zipRight(pid, stream))),
      form("a query in a transaction", Sql.withTransaction(query), true),
      form("a later query in a transaction", Sql.withTransaction(Effect.zipRight(pid, query)), true),
      form("a stream in a transaction", Sql.withTransaction(stream), true)
    ]
  })

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("values", (it) => {
  it.effect("a row that cannot be read fails the statement in every form, and its connection goes on", () =>
    onPool({ ...failing, pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const before = yield* Effect.map(Sql.query<{ pid: string }>("select pg_backend_pid()::text as pid"), String)
        for (let run = 0; run < 5; run++) {
          for (const { effect, inside, name } of yield* forms(thousand)) {
            const exit = yield* Effect.exit(effect)
            if (exit._tag === "Success") assert.fail(`${name} gave ${exit.value} rows`)
            const reason = yield* reasonOf(effect)
            assert.deepInclude(
              reason,
              { _tag: "Unclassified", connection: "keep", retry: "never", outcome: inside ? "rolledBack" : "executed" },
              name
            )
            assert.strictEqual((reason.cause as Error).message, "the connection is closed to 300", name)
            yield* booksBalance
          }
        }
        assert.strictEqual(
          yield* Effect.map(Sql.query<{ pid: string }>("select pg_backend_pid()::text as pid"), String),
          before
        )
        const { closed } = (yield* Sql.stats).write
        assert.strictEqual(
          Object.values(closed).reduce((sum, n) => sum + n, 0),
          0
        )
      })
    )
  )

  it.effect("a write whose answer cannot be read was executed, says so, and is not run again", () =>
    onPool({ ...failing, pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* Sql.query("drop table if exists written")
        yield* Sql.query("create table written (g int)")
        const before = yield* pid
        const write = Sql.query("insert into written values ($1) returning g", [300])
        for (const effect of [write, Sql.retry()(write)]) {
          const reason = SqlReason.of(yield* Effect.flip(effect))
          assert.deepStrictEqual(
            [reason._tag, reason.connection, reason.outcome, reason.retry, reason.attempts],
            ["Unclassified", "keep", "executed", "never", 1]
          )
        }
        yield* Effect.flip(Sql.withTransaction(write))
        const [row] = yield* Sql.query<{ n: string }>("select count(*)::text as n from written")
        assert.deepStrictEqual(row, { n: "2" })
        assert.strictEqual(yield* pid, before)
      })
    )
  )

  it.effect("a read whose rows cannot be read costs no neighbour on its connection", () =>
    onPool({ ...failing, pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const read = (n: number) => Sql.query<{ n: number }>("select $1::int as n", [n])
        for (let n = 0; n < 10; n++) yield* read(n)
        const exits = yield* Effect.forEach(
          Array.from({ length: 100 }, (_, n) => 250 + n),
          (n) => Effect.exit(read(n)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          exits.map((exit) => (exit._tag === "Success" ? exit.value[0]!.n : "failed")),
          exits.map((_, n) => (n === 50 ? "failed" : 250 + n))
        )
      })
    )
  )

  it.effect("an error of the server in the middle of a result fails the statement in every form", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        for (const { effect, name } of yield* forms(divided)) {
          const exit = yield* Effect.exit(effect)
          if (exit._tag === "Success") assert.fail(`${name} gave ${exit.value} rows`)
          assert.strictEqual((yield* reasonOf(effect)).code, "22012", name)
          yield* booksBalance
        }
      })
    )
  )

  const styles = ["SQL, DMY", "German", "Postgres, MDY", "ISO, DMY"]

  for (const style of styles) {
    it.effect(`dates, intervals and numbers are read for a role with DateStyle ${style}`, () =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const role = `styled_${style.toLowerCase().replace(/\W+/g, "_")}`
        yield* primary.query(`create role ${role} login superuser password 'sluice'`)
        yield* primary.query(`alter role ${role} set datestyle = '${style}'`)
        yield* primary.query(`alter role ${role} set intervalstyle = 'iso_8601'`)
        yield* primary.query(`alter role ${role} set extra_float_digits = 0`)
        const url = Redacted.make(Redacted.value(primary.url).replace("//sluice:", `//${role}:`))
        const dates = Sql.query<any>(
          `select timestamptz '2024-03-05 10:00:00+00' as z, date '2024-03-05' as d, array[timestamptz '2024-03-05 10:00:00+00', null] as a,
            interval '1 year 2 days 03:04:05' as i, 0.1::float8 + 0.2::float8 as f, '05/03/2024'::date::text as t`
        )
        yield* onPool({ url, pool: { maxSize: 1 } }, () =>
          Effect.gen(function* () {
            // Again after a reset of the session, which forgets what was only set in it.
            for (let run = 0; run < 3; run++) {
              for (const rows of [yield* dates, yield* Sql.withTransaction(dates), yield* Sql.withConnection(dates)]) {
                const [{ a, d, f, i, t, z }] = rows as any
                assert.strictEqual(z.toISOString(), "2024-03-05T10:00:00.000Z")
                assert.strictEqual(d.getDate(), 5)
                assert.deepStrictEqual(a, [z, null])
                assert.deepStrictEqual({ ...i }, { years: 1, days: 2, hours: 3, minutes: 4, seconds: 5 })
                assert.strictEqual(f, 0.1 + 0.2)
                // The order of what the program sends is the role's own.
                assert.strictEqual(t, style.includes("MDY") ? "2024-05-03" : "2024-03-05")
              }
              yield* Sql.query("set work_mem = '1MB'")
            }
          })
        )
      })
    )
  }

  const unreadable = ["set datestyle = 'German'", "select set_config('datestyle', 'SQL, DMY', false)"]

  it.effect("a statement that changes the style makes dates fail, never null, and only in its own session", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const now = Sql.query<{ now: Date | null }>("select now()")
        const { client } = yield* Sql.Sql
        for (const change of unreadable) {
          const texts = [
            "select now()",
            "select current_date",
            "select array[now()]",
            "select localtimestamp",
            "select 1; select now()"
          ]
          for (const text of texts) {
            const error = yield* Effect.flip(Sql.withConnection(Effect.zipRight(Sql.query(change), Sql.query(text))))
            assert.include(error.message, "::text", text)
          }
          const streamed = Stream.runCount(client`select now()`.stream)
          yield* Effect.flip(Sql.withConnection(Effect.zipRight(Sql.query(change), streamed)))
          yield* Effect.flip(Sql.withTransaction(Effect.zipRight(Sql.query(change), streamed)))
          yield* Effect.flip(Sql.query(`${change}; select now()`))
          assert.instanceOf((yield* now)[0]!.now, Date)
        }
        yield* Effect.flip(
          Sql.withConnection(
            Effect.zipRight(Sql.query("set intervalstyle = 'iso_8601'"), Sql.query("select interval '1 year'"))
          )
        )
        yield* Effect.flip(Sql.query("set intervalstyle = 'sql_standard'; select interval '1 year'"))
        yield* Effect.flip(
          Sql.withConnection(Effect.zipRight(Sql.query("set client_encoding = 'LATIN1'"), Sql.query("select 'ä'")))
        )
        assert.instanceOf((yield* now)[0]!.now, Date)
        assert.deepStrictEqual(yield* Sql.query("select 'ä' as t"), [{ t: "ä" }])
        const inside = Sql.withTransaction(
          Effect.zipRight(Sql.query("set local datestyle = 'German'"), Sql.query("select now()::text as t"))
        )
        assert.match((yield* inside)[0]!.t as string, /^\d+\.\d+\.\d{4}/)
        assert.instanceOf((yield* now)[0]!.now, Date)
      })
    )
  )

  it.effect("behind a proxy a role with another style is said once, and its dates fail instead of being null", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      yield* primary.query("alter role sluice set datestyle = 'German'")
      const url = Redacted.make(yield* pgBouncer(2))
      yield* logged((entries) =>
        Effect.gen(function* () {
          yield* Effect.flip(Sql.query("select now()"))
          yield* Effect.forEach(Array.from({ length: 20 }), () => Effect.exit(Sql.query("select now()")), {
            concurrency: 5
          })
          assert.deepStrictEqual(yield* Sql.query("select 1 as n"), [{ n: 1 }])
          yield* booksBalance
          const warnings = entries.filter(({ level }) => level === "Warning")
          assert.strictEqual(warnings.length, 1)
          assert.include(warnings[0]!.text, "German")
        }).pipe(Effect.provide(PgSql.layer({ url, proxy: "pgbouncer-transaction", duplicates: "allow" })))
      )
    }).pipe(
      Effect.ensuring(
        Effect.flatMap(PgCluster.PgCluster, ({ primary }) =>
          Effect.orDie(primary.query("alter role sluice reset datestyle"))
        )
      ),
      Effect.scoped
    )
  )

  it.effect("a session that a statement has changed on the side is clean for its next user", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* Sql.query("create table pg_temp.secret (id int)")
        assert.strictEqual((yield* reasonOf(Sql.query("select * from pg_temp.secret")))._tag, "SyntaxError")
        yield* Sql.query("create function pg_temp.f() returns int language sql as 'select 1'")
        assert.strictEqual((yield* reasonOf(Sql.query("select pg_temp.f()")))._tag, "SyntaxError")
        const tenant = Sql.query<{ t: string }>("select current_setting('app.tenant', true) as t")
        for (let run = 0; run < 5; run++) {
          yield* Sql.query("select set_config('app.tenant', $1, false)", ["secret-tenant"])
          assert.notStrictEqual((yield* tenant)[0]!.t, "secret-tenant")
          yield* Sql.query("select set_config('app.tenant', 'secret-tenant', false)")
          assert.notStrictEqual((yield* tenant)[0]!.t, "secret-tenant")
          yield* Sql.query("select pg_advisory_lock(7)")
          yield* Sql.query("with l as (select pg_try_advisory_lock_shared(8)) select * from l")
          assert.deepStrictEqual(
            yield* Sql.query("select count(*)::int as n from pg_locks where locktype = 'advisory'"),
            [{ n: 0 }]
          )
        }
        for (let run = 0; run < 5; run++) {
          yield* Sql.withTransaction(
            Effect.zipRight(Sql.query("select set_config('app.tenant', lower($1), true)", ["LOCAL"]), tenant)
          )
        }
        assert.notStrictEqual((yield* tenant)[0]!.t, "local")
      })
    )
  )

  it.effect("a COPY through the client is refused, never empty", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const { client } = yield* Sql.Sql
        const copy = "copy (select 1) to stdout"
        const before = yield* pid
        for (const effect of [
          Sql.query(copy),
          Sql.withTransaction(Sql.query(copy)),
          Stream.runDrain(client.unsafe(copy).stream),
          Sql.withTransaction(Stream.runDrain(client.unsafe(copy).stream)),
          Stream.runDrain(client.unsafe("copy pg_class from stdin").stream),
          Sql.withTransaction(Stream.runDrain(client.unsafe("copy pg_class from stdin").stream))
        ] as ReadonlyArray<Effect.Effect<unknown, any, Sql.Sql>>) {
          const error = yield* Effect.flip(effect)
          assert.include(error.message, "COPY")
          yield* booksBalance
        }
        assert.strictEqual(yield* pid, before)
      })
    )
  )

  it.effect("40,000 parameters, one of them bytes, are sent; too many are refused and cost no neighbour", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const params: Array<unknown> = Array.from({ length: 40_000 }, (_, n) => n)
        params[20_000] = Buffer.from("bytes")
        const list = `select length($20001::bytea) as n where $1::text in (${params.map((_, n) => (n === 20_000 ? "''" : `$${n + 1}::text`)).join(",")})`
        assert.deepStrictEqual(yield* Sql.query(list, params), [{ n: 5 }])
        const read = (n: number) => Sql.query<{ n: number }>("select $1::int as n", [n])
        for (let n = 0; n < 10; n++) yield* read(n)
        const [tooMany, one] = yield* Effect.all(
          [
            Effect.exit(
              Sql.query(
                list,
                Array.from({ length: 70_000 }, () => "x")
              )
            ),
            read(1)
          ],
          { concurrency: 2 }
        )
        assert.strictEqual(tooMany._tag, "Failure")
        assert.deepStrictEqual(one, [{ n: 1 }])
      })
    )
  )

  it.effect("a text means the tables of the search_path that it is executed with, also in a transaction", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        for (const [tenant, type, value] of [
          ["tenant_a", "int", "1"],
          ["tenant_b", "text", "'one'"]
        ]) {
          yield* Sql.query(`create schema ${tenant}`)
          yield* Sql.query(`create table ${tenant}.t (v ${type})`)
          yield* Sql.query(`insert into ${tenant}.t values (${value})`)
        }
        const read = Sql.query("select v from t")
        const inTenant = (tenant: string) =>
          Sql.withTransaction(Effect.zipRight(Sql.query(`set local search_path to ${tenant}`), read))
        const pinned = (tenant: string) =>
          Sql.withConnection(Effect.zipRight(Sql.query(`set search_path to ${tenant}`), read))
        for (let run = 0; run < 5; run++) {
          for (const within of [inTenant, pinned]) {
            assert.deepStrictEqual(yield* within("tenant_a"), [{ v: 1 }])
            assert.deepStrictEqual(yield* within("tenant_b"), [{ v: "one" }])
          }
          assert.strictEqual((yield* reasonOf(read)).code, "42P01")
        }
      })
    )
  )

  it.effect("sql.json sends any value as its JSON", () =>
    Effect.gen(function* () {
      const values = ["str", '{"a":1}', [1], [], {}, { a: [1, null] }, 5, true, "", [null], new Date(0), ['😀\n"\\']]
      for (const config of [{}, renaming]) {
        yield* onPool({ ...config, pool: { maxSize: 1 } }, () =>
          Effect.gen(function* () {
            const sql = yield* PgClient.PgClient
            yield* Sql.query("create table documents (id int, j json, b jsonb)")
            for (const [id, value] of values.entries()) {
              const json = sql.json(value)
              yield* sql`insert into documents (id, j, b) values (${id}, ${json}, ${json})`
              yield* sql`insert into documents ${sql.insert({ id, j: json, b: json })}`.unprepared
              const expected = JSON.parse(JSON.stringify(value))
              for (const rows of [
                yield* sql`select j, b from documents where id = ${id}`,
                yield* sql.withTransaction(sql`select j, b from documents where id = ${id} and b = ${json}`)
              ]) {
                assert.deepEqual(rows, [
                  { j: expected, b: expected },
                  { j: expected, b: expected }
                ])
              }
            }
            yield* sql`insert into documents (id, j) values (${99}, ${sql.json(null)})`
            assert.deepEqual(yield* sql`select id from documents where j is null`, [{ id: 99 }])
            for (const [value, _tag] of [
              [Number.NaN, "InvalidData"],
              [() => 1, "InvalidData"],
              [1n, "InvalidUse"],
              [{ big: [1n] }, "InvalidUse"]
            ] as const) {
              const reason = yield* reasonOf(sql`select ${sql.json(value)}::json`)
              assert.deepInclude(reason, { _tag, outcome: "none", connection: "keep" })
            }
            yield* Sql.query("drop table documents")
          })
        )
      }
    })
  )

  it.effect("sql.json renames the fields of objects where names are transformed", () =>
    onPool({ ...renaming, transformResultNames: (name) => name }, () =>
      Effect.gen(function* () {
        const sql = yield* PgClient.PgClient
        const value = { userId: [{ firstName: 1 }, null], n: { lastName: 2 } }
        assert.deepEqual(yield* sql`select ${sql.json(value)}::json as j`, [
          { j: { user_id: [{ first_name: 1 }, null], n: { last_name: 2 } } }
        ])
        assert.deepEqual(yield* sql.withoutTransforms()`select ${sql.json(value)}::json as j`, [{ j: value }])
      })
    )
  )

  it.effect("a text with a NUL is refused, and costs no connection", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const { client } = yield* Sql.Sql
        const before = yield* pid
        const text = "select 'a\0b' as v"
        for (const effect of [
          Sql.query(text),
          Sql.query(`${text}, $1::int as n`, [1]),
          client.unsafe(text).unprepared,
          client.unsafe(text).values,
          Stream.runDrain(client.unsafe(text).stream),
          Sql.withTransaction(Sql.query(text)),
          Sql.withTransaction(Stream.runDrain(client.unsafe(text).stream)),
          Effect.all([Sql.query(text), Sql.query(text)], { concurrency: 2 })
        ] as ReadonlyArray<Effect.Effect<unknown, any, Sql.Sql>>) {
          assert.match((yield* Effect.flip(effect)).message, /NUL/)
          assert.deepInclude(yield* reasonOf(effect), { _tag: "InvalidUse", outcome: "none", connection: "keep" })
          yield* booksBalance
        }
        assert.strictEqual(yield* pid, before)
      })
    )
  )
})
