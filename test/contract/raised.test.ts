/**
 * What the server says counts, and not what a code says of connections: an error after which the server is ready again has undone
 * its statement and keeps its connection, whoever has raised it.
 *
 * | code | alone, unprepared, packed, pinned, streamed | in a transaction | at COMMIT |
 * | --- | --- | --- | --- |
 * | each of errors.md | `rolledBack`, kept, its class | the same | the same (PostgreSQL: a deferred trigger) |
 *
 * No code of a lost connection is `idempotent` or `always` here: the statement is undone, so all of it may run again.
 */
import type { SqlError } from "@effect/sql/SqlError"
import { assert } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { Effect, Stream } from "effect"
import { type Database, Server } from "./databases.js"
import { ours } from "./ours.js"
import { learn, onPacked, packers } from "./packing.js"

type Class = readonly [tag: SqlReason.Tag, retry: SqlReason.Retry]

const undone: Class = ["Unclassified", "transaction"]

interface Raising {
  /** Makes the function `raised(code)`, which counts its calls; and the table `raised_at_commit (code)`, if there are such errors. */
  readonly prepare: ReadonlyArray<string>
  /** MariaDB says of these, in a view, only that the view refers to something that is not there. */
  readonly hiddenByViews: ReadonlyArray<string>
  /** The type of a code. */
  readonly type: string
  readonly call: (code: string) => string
  readonly atCommit: ((code: string) => string) | undefined
  readonly calls: string
  readonly classes: Readonly<Record<string, Class>>
}

const postgresql: Raising = {
  prepare: [
    "create sequence raised_calls",
    `create function raised(code text) returns int language plpgsql as $$ begin
      perform nextval('raised_calls');
      if code <> '' then raise exception using errcode = code, message = 'raised by a function'; end if;
      return 1;
    end $$`,
    `create function raised_late() returns trigger language plpgsql as $$ begin perform raised(new.code); return null; end $$`,
    "create table raised_at_commit (code text)",
    `create constraint trigger late after insert on raised_at_commit deferrable initially deferred
      for each row execute function raised_late()`
  ],
  hiddenByViews: [],
  type: "text",
  call: (code) => `select raised('${code}')`,
  atCommit: (code) => `insert into raised_at_commit values ('${code}')`,
  calls: "select nextval('raised_calls')::int as n",
  classes: {
    "53300": ["ResourceExhausted", "transaction"],
    "57P03": undone,
    "08001": undone,
    "08004": undone,
    "28P01": ["PermissionDenied", "never"],
    "28000": ["PermissionDenied", "never"],
    "3D000": ["SyntaxError", "never"],
    "57P01": undone,
    "57P02": undone,
    "25P03": undone,
    "57P05": undone,
    "25P04": ["StatementTimeout", "never"],
    "08000": undone,
    "08003": undone,
    "08006": undone,
    "08007": undone,
    "08P01": ["Unclassified", "never"],
    "25006": ["NotWritable", "never"],
    "40001": ["SerializationFailure", "transaction"],
    "40P01": ["Deadlock", "transaction"],
    "40002": ["Unclassified", "never"],
    "40003": ["Unclassified", "idempotent"],
    "55P03": ["LockTimeout", "transaction"],
    "57014": ["Cancelled", "never"],
    "0A000": ["Unclassified", "never"],
    "26000": ["StalePlan", "transaction"],
    "42P05": ["StalePlan", "transaction"],
    "53100": ["ResourceExhausted", "idempotent"],
    "53200": ["ResourceExhausted", "idempotent"],
    "53400": ["ResourceExhausted", "idempotent"],
    "58030": ["ResourceExhausted", "idempotent"],
    "23505": ["UniqueViolation", "never"],
    "23503": ["ForeignKeyViolation", "never"],
    "23514": ["CheckViolation", "never"],
    "23502": ["NotNullViolation", "never"],
    "42501": ["PermissionDenied", "never"],
    "42P01": ["SyntaxError", "never"],
    P0001: ["Unclassified", "never"]
  }
}

const mysql: Raising = {
  prepare: [
    "create sequence raised_calls",
    `create function raised(code int) returns int reads sql data begin
      declare called int default nextval(raised_calls);
      if code > 0 then signal sqlstate '45000' set mysql_errno = code, message_text = 'raised by a function'; end if;
      if code < 0 then signal sqlstate '08006' set message_text = 'raised by a function'; end if;
      return 1;
    end`
  ],
  hiddenByViews: ["1146"],
  type: "int",
  call: (code) => `select raised(${code === "" ? 0 : code})`,
  atCommit: undefined,
  calls: "select nextval(raised_calls) as n",
  classes: {
    // A SQLSTATE of a lost connection.
    "-1": undone,
    "1040": ["ResourceExhausted", "transaction"],
    "1203": ["ResourceExhausted", "transaction"],
    "1226": ["ResourceExhausted", "idempotent"],
    "1135": undone,
    "1129": ["Unclassified", "never"],
    "1045": ["PermissionDenied", "never"],
    "1044": ["PermissionDenied", "never"],
    "1049": ["SyntaxError", "never"],
    "1053": undone,
    "1077": undone,
    "1079": undone,
    "1927": undone,
    "4031": undone,
    "2006": undone,
    "2013": undone,
    "1290": ["Unclassified", "never"],
    "1792": ["NotWritable", "never"],
    "1213": ["Deadlock", "transaction"],
    "3101": ["SerializationFailure", "transaction"],
    "1205": ["LockTimeout", "transaction"],
    "3572": ["LockTimeout", "transaction"],
    "1317": ["Cancelled", "never"],
    "3024": ["StatementTimeout", "never"],
    "1969": ["StatementTimeout", "never"],
    "1021": ["ResourceExhausted", "idempotent"],
    "1037": ["ResourceExhausted", "idempotent"],
    "1047": ["Unclassified", "never"],
    "1062": ["UniqueViolation", "never"],
    "1064": ["Unclassified", "never"],
    "1146": ["Unclassified", "never"],
    "1451": ["ForeignKeyViolation", "never"],
    "1152": undone,
    "1153": ["ResourceExhausted", "never"],
    "1154": undone,
    "1155": undone,
    "1156": undone,
    "1157": undone,
    "1158": undone,
    "1159": undone,
    "1160": undone,
    "1161": undone,
    "1184": undone
  }
}

const raisings: { readonly [D in Database]: Raising } = { postgresql, mysql }

ours("raised", ({ database, it, session, words }) => {
  const { atCommit, call, calls, classes, hiddenByViews, prepare, type } = raisings[database]
  const packer = packers[database]
  const count = Effect.map(Sql.query<{ n: number }>(calls), ([row]) => Number(row!.n))

  /** Runs each form with each code. What a form does before it fails must not be there afterwards. */
  const each = (
    forms: Readonly<Record<string, (code: string) => Effect.Effect<unknown, SqlError, Sql.Sql>>>,
    callsOfForm = 1,
    without: ReadonlyArray<string> = []
  ) =>
    Effect.gen(function* () {
      for (const [form, run] of Object.entries(forms)) {
        const before = yield* session
        for (const [code, [tag, retry]] of Object.entries(classes)) {
          if (without.includes(code)) continue
          const calledBefore = yield* count
          const error = yield* Effect.flip(run(code))
          const reason = SqlReason.of(error)
          assert.deepStrictEqual(
            [reason._tag, reason.connection, reason.outcome, reason.retry, reason.attempts],
            [tag, "keep", "rolledBack", retry, 1],
            `${form}, ${code}: ${error}`
          )
          assert.include(error.message, "raised by a function")
          // The question itself is counted as well.
          assert.strictEqual((yield* count) - calledBefore, callsOfForm + 1, `${form}, ${code} has run once`)
        }
        assert.strictEqual(yield* session, before, `${form}: the connection is kept`)
      }
    })

  it.effect(
    "an error that bears the code of a lost connection is an error like others, in each form of a statement",
    () =>
      Effect.gen(function* () {
        const server = yield* Server
        yield* Effect.forEach(prepare, (text) => server.query(text), { discard: true })
        yield* onPacked(packer, { pool: { maxSize: 1 } }, ({ packs }) =>
          Effect.gen(function* () {
            const { client } = yield* Sql.Sql
            const query = (code: string) => Sql.query(call(code))
            const stream = (code: string) => Stream.runDrain(client.unsafe(call(code)).stream)
            yield* each({
              alone: query,
              unprepared: (code) => Sql.query(call(code), [], { prepare: false }),
              streamed: stream,
              pinned: (code) => Sql.withConnection(Effect.zipRight(session, query(code))),
              "in a transaction, first": (code) => Sql.withTransaction(query(code)),
              "in a transaction, second": (code) => Sql.withTransaction(Effect.zipRight(session, query(code))),
              "in a transaction, streamed": (code) => Sql.withTransaction(stream(code)),
              "in a savepoint": (code) => Sql.withTransaction(Sql.withTransaction(query(code))),
              ...(atCommit === undefined
                ? {}
                : {
                    "at COMMIT": (code: string) => Sql.withTransaction(Sql.query(atCommit(code))),
                    "at COMMIT, by itself": (code: string) => Sql.query(atCommit(code))
                  })
            })
            // A text that names a function of the program is never packed. Here a view hides it.
            const harmless = database === "mysql" ? 0 : ""
            yield* Sql.query(`create table codes (code ${type} primary key)`)
            yield* Sql.query("create view raising as select code, raised(code) as n from codes")
            yield* Effect.forEach([harmless, ...Object.keys(classes)], (code) =>
              Sql.query(`insert into codes values (${words.placeholder(1)})`, [code])
            )
            const text = `select n from raising where code = ${words.placeholder(1)}`
            yield* learn(text, [harmless])
            const packed = packs()
            yield* each({ packed: (code) => Sql.query(text, [code]) }, 1, hiddenByViews)
            const good = Sql.query(text, [harmless])
            // Before it and behind it are reads that it must not touch.
            const among = (code: string) =>
              Effect.all([good, Effect.exit(Sql.query(text, [code])), good], { concurrency: "unbounded" })
            yield* each(
              { "packed among others": (code) => Effect.flatMap(among(code), ([, exit]) => exit) },
              3,
              hiddenByViews
            )
            assert.isAbove(packs() - packed, 4 * (Object.keys(classes).length - hiddenByViews.length) - 1)
            const { closed } = (yield* Sql.stats).write
            assert.isTrue(Object.values(closed).every((n) => n === 0))
          })
        )
      })
  )
})
