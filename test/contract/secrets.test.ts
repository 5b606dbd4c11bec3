/**
 * No secret comes out. A secret goes in through every door; everything that this library prints, or that is printed of what it
 * gives, is searched for it.
 *
 * | in | out |
 * | --- | --- |
 * | url, password, password effect, application name | failures of a connect, stats, events, warnings |
 * | parameter, literal of each form, number, comment, bare value of SET | failures in each form of a statement, as text, by `inspect`, in JSON and by `Cause.pretty`; logs of each format at each level; spans; events; the diagnosis of a pool that is full |
 * | channel and payload of LISTEN | warnings and failures of what listens |
 */
import { inspect } from "node:util"
import type { SqlError } from "@effect/sql/SqlError"
import { PgClient } from "@effect/sql-pg/PgClient"
import { assert } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { Cause, Effect, Exit, Fiber, Layer, Logger, LogLevel, Option, Redacted, Stream, Tracer } from "effect"
import { booksBalance, eventually, unique } from "./contract.js"
import { type Database, Server } from "./databases.js"
import { ours } from "./ours.js"

const SECRET = "hunter2hunter2"
const NUMBER = "4111111111111111"

/** What each of them would be seen by. */
const traces = /hunter2|41111111/

/** Everything that came out, each with where it came from. */
class Out {
  private readonly said: Array<readonly [where: string, text: string]> = []

  add(where: string, ...texts: ReadonlyArray<unknown>): void {
    for (const text of texts) {
      const shown =
        typeof text === "string" ? text : `${inspect(text, { depth: 12 })} ${safeJson(text)} ${String(text)}`
      this.said.push([where, shown])
    }
  }

  get length(): number {
    return this.said.length
  }

  check(): void {
    const found = this.said.filter(([, text]) => traces.test(text))
    assert.deepStrictEqual(found, [])
  }
}

const safeJson = (u: unknown): string => {
  const seen = new Set<unknown>()
  return (
    JSON.stringify(u, (_, value) => {
      if (typeof value === "bigint") return String(value)
      if (typeof value !== "object" || value === null) return value
      if (seen.has(value)) return undefined
      seen.add(value)
      return value
    }) ?? ""
  )
}

const formats = [Logger.stringLogger, Logger.logfmtLogger, Logger.jsonLogger, Logger.structuredLogger] as const

/** Every log of `effect`, in every format, and every span. */
const heard = <A, E, R>(out: Out, effect: Effect.Effect<A, E, R>) => {
  const keeper = Logger.make((options) => {
    for (const format of formats) out.add("log", format.log(options as never))
  })
  const tracer = Tracer.make({
    span(name, parent, context, links, startTime, kind) {
      out.add("span", name)
      return {
        _tag: "Span",
        name,
        spanId: name,
        traceId: "trace",
        parent,
        context,
        links,
        kind,
        sampled: true,
        status: { _tag: "Started", startTime },
        attributes: new Map(),
        attribute: (key, value) => out.add(`attribute of ${name}`, key, value),
        event: (event, _, attributes) => out.add(`event of ${name}`, event, attributes),
        addLinks: () => {},
        end: (_, exit) => {
          if (Exit.isFailure(exit)) {
            for (const error of Cause.prettyErrors(exit.cause))
              out.add(`end of ${name}`, error.message, error.stack, error)
          }
        }
      }
    },
    context: (f) => f()
  })
  return effect.pipe(
    Effect.withTracer(tracer),
    Effect.provide(Logger.replace(Logger.defaultLogger, keeper)),
    Logger.withMinimumLogLevel(LogLevel.All)
  )
}

/** Runs what must fail, logs the failure as a program would, and adds all that can be printed of it. */
const failing = <A, R>(out: Out, what: string, effect: Effect.Effect<A, SqlError, R>) =>
  Effect.gen(function* () {
    const exit = yield* Effect.exit(Effect.withSpan(effect, "request"))
    assert.isTrue(Exit.isFailure(exit), `${what} must fail`)
    const cause = Exit.isFailure(exit) ? exit.cause : Cause.empty
    yield* Effect.logError("failed", cause)
    yield* Effect.logFatal(cause)
    const error = Option.getOrThrowWith(Cause.failureOption(cause), () => Cause.pretty(cause))
    assert.strictEqual((error as SqlError)._tag, "SqlError")
    out.add(
      what,
      Cause.pretty(cause),
      Cause.pretty(cause, { renderErrorCause: true }),
      cause,
      error,
      error.message,
      error.stack,
      error.cause,
      SqlReason.of(error)
    )
    return error
  })

/** Texts that fail, with the secret in each kind of literal. */
const wrong: { readonly [D in Database]: ReadonlyArray<readonly [text: string, ...params: ReadonlyArray<unknown>]> } = {
  postgresql: [
    [`select '${SECRET}'::int`],
    [`select '${SECRET}'::regclass`],
    [`select '${SECRET}'::uuid`],
    [`select ${NUMBER}::int`],
    ["select $1::int", SECRET],
    ["select $1::int", NUMBER],
    ["select $1::timestamptz", SECRET],
    ["select $1::json", `{"a": ${SECRET}}`],
    ["select $1::int[]", [SECRET]],
    [`select selekt '${SECRET}' '${SECRET}'`],
    [`select 1 '${SECRET}' 2`],
    [`select 'never closed ${SECRET}`],
    [`select E'it\\'s ${SECRET}' from nowhere`],
    [`select $$${SECRET}$$ from nowhere`],
    [`select $tag$ it's ${SECRET} $tag$::int`],
    [`select U&'${SECRET}'::int`],
    [`select * from nowhere /* ${SECRET} */ -- ${SECRET}`],
    [`select * from nowhere where a = '${SECRET}' and b = ${NUMBER}`],
    [`insert into secrets values ('${SECRET}', 1), ('${SECRET}', 1)`],
    ["insert into secrets values ($1, 1), ($1, 1)", SECRET],
    ["insert into secrets values ($1, 7)", SECRET],
    ["insert into secrets values ($1, null)", SECRET],
    [`insert into secrets values (repeat('${SECRET}', 9), 1)`],
    [`do $$ begin raise exception 'no card ${SECRET}' using detail = '${SECRET}', hint = '${SECRET}'; end $$`],
    ["select 1 / ($1::text = $1)::int / 0, $1", SECRET],
    [`set datestyle to ${SECRET}`],
    [`select set_config('${SECRET}', '${SECRET}', false)`],
    [`notify secrets, '${SECRET.repeat(1_000)}'`],
    [`execute ${SECRET}('${SECRET}')`.replace(`execute ${SECRET}`, "execute nowhere")]
  ],
  mysql: [
    [`select * from nowhere where a = '${SECRET}' and b = "${SECRET}" and c = ${NUMBER}`],
    [`select * from nowhere /* ${SECRET} */ # ${SECRET}`],
    [`select * from nowhere where a = _utf8mb4'${SECRET}' or a = N'${SECRET}' or a = X'4111111111111111'`],
    [`selekt '${SECRET}'`],
    [`select 1 '${SECRET}' 2 '${SECRET}' 3`],
    [`select 1 from where a = 'it''s ${SECRET}'`],
    [`select 'never closed ${SECRET}`],
    [`insert into secrets values ('${SECRET}', 1), ('${SECRET}', 1)`],
    ["insert into secrets values (?, 1), (?, 1)", SECRET, SECRET],
    ["insert into secrets values (?, 7)", SECRET],
    ["insert into secrets values (?, null)", SECRET],
    ["insert into secrets values ('x', ?)", SECRET],
    [`insert into secrets values (repeat('${SECRET}', 9), 1)`],
    [`insert into secrets values ('x', ${NUMBER})`],
    [`update secrets set n = 1 where a = 'x' and cast('${SECRET}' as int) = str_to_date('${SECRET}', '%d') + 1 / nope`],
    [`signal sqlstate '45000' set message_text = 'no card ${SECRET}'`],
    [`set time_zone = '${SECRET}'`],
    [`set sql_mode = '${SECRET}'`],
    [`set names '${SECRET}'`],
    [`select convert_tz(now(), '${SECRET}', nope)`],
    ["select ? + nope", SECRET],
    [`grant all on nowhere.* to 'nobody'@'nowhere' identified via '${SECRET}' using '${SECRET}'`],
    [`set password for nobody = password('${SECRET}')`]
  ]
}

const tables: { readonly [D in Database]: string } = {
  postgresql: "create table secrets (a varchar(60) primary key, n int not null check (n < 5))",
  mysql: "create table secrets (a varchar(60) primary key, n int not null, check (n < 5))"
}

interface Options {
  readonly url?: Redacted.Redacted
  readonly password?: Effect.Effect<Redacted.Redacted, unknown> | Redacted.Redacted
  readonly username?: string
  readonly host?: string
  readonly port?: number
  readonly database?: string
  readonly applicationName?: string
  readonly pool?: object
  readonly prepare?: boolean
  readonly duplicates?: "allow" | "warn"
}

const layerOf: { readonly [D in Database]: (options: Options) => Layer.Layer<Sql.Sql, SqlError> } = {
  postgresql: (options) => PgSql.layer(options as PgSql.PgSqlConfig),
  mysql: (options) => MysqlSql.layer(options as MysqlSql.MysqlSqlConfig)
}

const ways: { readonly [D in Database]: ReadonlyArray<Options> } = {
  postgresql: [{}],
  mysql: [{}, { prepare: false }]
}

ours("secrets", ({ database, it, words }) => {
  const make = layerOf[database]

  /** A client whose events and stats are searched too. */
  const onClient = <A, E, R = never>(out: Out, options: Options, body: Effect.Effect<A, E, R | Sql.Sql>) =>
    Effect.gen(function* () {
      const server = yield* Server
      const client = yield* server.client(unique("secrets"))
      yield* Effect.gen(function* () {
        const listening = yield* Effect.fork(
          Stream.runForEach(yield* Effect.map(Sql.Sql, ({ events }) => events), (event) =>
            Effect.sync(() => out.add("event", event))
          )
        )
        yield* body
        out.add("stats", yield* Sql.stats)
        yield* booksBalance
        yield* Fiber.interrupt(listening)
      }).pipe(Effect.provide(make({ ...client, duplicates: "allow", ...options } as Options)))
    })

  it.effect("what a statement has in it: parameters, literals, numbers, comments, values of settings", () =>
    Effect.gen(function* () {
      const out = new Out()
      const { query } = yield* Server
      yield* query("drop table if exists secrets")
      yield* query(tables[database])
      for (const [i, way] of ways[database].entries()) {
        const body = Effect.gen(function* () {
          const { client } = yield* Sql.Sql
          for (const [text, ...params] of wrong[database]) {
            const stream = Stream.runDrain(client.unsafe(text, params).stream)
            yield* failing(out, text, Sql.query(text, params))
            if (i > 0) continue
            yield* failing(out, `${text}, streamed`, stream)
            yield* failing(out, `${text}, in a transaction`, Sql.withTransaction(Sql.query(text, params)))
            if (params.length === 0) {
              yield* failing(out, `${text}, unprepared`, Sql.query(text, [], { prepare: false }))
            }
          }
        })
        yield* heard(out, onClient(out, { pool: { maxSize: 2 }, ...way }, body))
      }
      assert.isAbove(out.length, 500)
      out.check()
    })
  )

  it.effect("the fields of the server's own error can be read by their names", () =>
    onClient(
      new Out(),
      { pool: { maxSize: 1 } },
      Effect.gen(function* () {
        yield* Effect.ignore(Sql.query(`insert into secrets values ('x', 1)`))
        const error = yield* Effect.flip(Sql.query(`insert into secrets values ('x', 1)`))
        const cause = error.cause as Record<string, string>
        assert.strictEqual(cause["code"], words.codes.unique)
        if (database === "postgresql") {
          assert.deepStrictEqual([cause["constraint"], cause["table"]], ["secrets_pkey", "secrets"])
          assert.strictEqual(cause["detail"], "Key (a)=(x) already exists.")
        } else {
          assert.strictEqual(cause["sqlMessage"], "Duplicate entry 'x' for key 'PRIMARY'")
          assert.strictEqual(cause["message"], "Duplicate entry for key 'PRIMARY'")
        }
        assert.include(cause["originalMessage"], database === "postgresql" ? "secrets_pkey" : "'x'")
      })
    )
  )

  it.effect("what runs when a pool is full, or when time is over", () =>
    Effect.gen(function* () {
      const out = new Out()
      const sleep = words.sleep(20)
      const texts = [`${sleep} /* ${SECRET} */`, `${sleep} -- ${SECRET}`, `select '${SECRET}', ${NUMBER}, (${sleep})`]
      const body = Effect.gen(function* () {
        for (const text of texts) {
          const fiber = yield* Effect.fork(Effect.withSpan(Sql.query(text), "long"))
          yield* eventually(
            "it runs",
            Effect.map(Sql.stats, ({ write }) => write.using === 1)
          )
          const error = yield* failing(out, text, Sql.withAcquireTimeout("20 millis")(Sql.query("select 1")))
          assert.match(error.message, /sleep\(\?\)/i)
          yield* Fiber.interrupt(fiber)
          yield* booksBalance
          yield* failing(
            out,
            `${text}, with a deadline`,
            Effect.flatMap(
              Effect.sync(() => new Date(Date.now() + 50)),
              (at) => Sql.withDeadline(at)(Sql.query(text))
            )
          )
          yield* booksBalance
        }
      })
      yield* heard(out, onClient(out, { pool: { maxSize: 1 } }, body))
      out.check()
    })
  )

  it.effect("what a client connects with: url, password, password effect, name of the application", () =>
    Effect.gen(function* () {
      const out = new Out()
      const server = yield* Server
      const good = yield* server.url(unique("secrets"))
      const { hostname, password, pathname, port, username } = new URL(Redacted.value(good))
      const bad = new URL(Redacted.value(good))
      bad.password = SECRET
      const at = { host: hostname, port: Number(port), username, database: pathname.slice(1) }
      const connecting = (what: string, options: Options) =>
        failing(out, what, Effect.scoped(Layer.build(make({ duplicates: "allow", ...options }))))
      const body = Effect.gen(function* () {
        // MariaDB knows the password; the test cluster of PostgreSQL trusts everybody, so there the port is wrong.
        const nowhere = { port: 1 }
        const wrongUrl = database === "mysql" ? bad.href : bad.href.replace(`:${port}/`, ":1/")
        yield* connecting("url", { url: Redacted.make(wrongUrl) })
        yield* connecting("an odd url", { url: Redacted.make(`http://app:${SECRET}@localhost/pay`) })
        yield* connecting("no url", { url: Redacted.make(`${SECRET}@localhost`) })
        yield* connecting("a url with an odd port", { url: Redacted.make(bad.href.replace(`:${port}/`, ":x/")) })
        yield* connecting("a url with an odd option", {
          url: Redacted.make(`${bad.href}?nope=${SECRET}`)
        })
        yield* connecting("password", { ...at, ...nowhere, password: Redacted.make(SECRET) })
        yield* connecting("password effect", { ...at, ...nowhere, password: Effect.succeed(Redacted.make(SECRET)) })
        yield* connecting("password effect that fails", {
          ...at,
          password: Effect.fail(new Error("the vault is closed"))
        })
        yield* connecting("application name", { ...at, ...nowhere, applicationName: SECRET })
      })
      yield* heard(out, body)
      const used = { ...at, password: Effect.succeed(Redacted.make(password)), applicationName: SECRET }
      const twice = onClient(
        out,
        { ...used, duplicates: "warn" },
        Effect.zipRight(Sql.query("select 1"), onClient(out, { ...used, duplicates: "warn" }, Sql.query("select 1")))
      )
      yield* heard(out, Effect.scoped(twice))
      out.check()
    })
  )

  if (database === "postgresql") {
    it.effect("what listens: the channel and the payload", () =>
      Effect.gen(function* () {
        const out = new Out()
        const server = yield* Server
        const applicationName = unique("secrets")
        const body = Effect.gen(function* () {
          const client = yield* PgClient as unknown as Effect.Effect<any, never, Sql.Sql>
          const got: Array<string> = []
          const fiber = yield* Effect.fork(
            Stream.runForEach(client.listen(SECRET) as Stream.Stream<string, SqlError>, (payload) =>
              Effect.sync(() => got.push(payload))
            )
          )
          const notified = (count: number) =>
            eventually(
              "a notification has arrived",
              Effect.as(client.notify(SECRET, SECRET) as Effect.Effect<void, SqlError>, 0).pipe(
                Effect.map(() => got.length > count)
              )
            )
          yield* notified(0)
          // The loss is warned of.
          const before = got.length
          yield* server.end(applicationName)
          yield* notified(before)
          out.add("stats", yield* Sql.stats)
          yield* Fiber.interrupt(fiber)
          yield* failing(out, "a channel that is too long", Stream.runDrain(client.listen(SECRET.repeat(9))) as any)
          yield* failing(out, "a payload that is too long", client.notify(SECRET, SECRET.repeat(1_000)) as any)
        })
        yield* heard(
          out,
          onClient<void, unknown, Server>(
            out,
            { applicationName, pool: { maxSize: 2 } },
            body as Effect.Effect<void, unknown, Server | Sql.Sql>
          )
        )
        out.check()
      })
    )
  }
})
