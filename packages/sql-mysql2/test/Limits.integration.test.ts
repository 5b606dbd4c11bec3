/**
 * Limits of the server that the driver knows before it sends: the size of a packet, the number of parameters, and the number of
 * prepared statements.
 *
 * | limit | alone, prepared or as text | packed | pinned | streamed | in a transaction, also streamed |
 * | --- | --- | --- | --- | --- | --- |
 * | `max_allowed_packet`: of a text, of parameters | refused, kept | the same | the same | the same | the same, and the transaction goes on |
 * | `max_prepared_stmt_count` | sent as text | the same | the same | the same | the same |
 */

import type { SqlError } from "@effect/sql/SqlError"
import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { MariaDbCluster } from "@sluice/testkit"
import { Effect, Logger, Stream } from "effect"
import { onPool, rowOn, rowsOf, type Told, table, thread } from "./support/fixture.js"

const row = rowOn(thread)

const LIMIT = 1_048_576

const one = { pool: { maxSize: 1 } }

const tooLong: Told = ["ResourceExhausted", "keep", "none", "never"]
const misused: Told = ["InvalidUse", "keep", "none", "never"]

type Form = Effect.Effect<Iterable<any>, SqlError, Sql.Sql>

/** Each form of a statement. */
const forms = (text: string, params: ReadonlyArray<unknown> = []) =>
  Effect.map(Sql.Sql, ({ client }): Record<string, Form> & { readonly unprepared: Form } => {
    const query = Sql.query(text, params)
    const stream = Stream.runCollect(client.unsafe(text, params).stream)
    return {
      alone: query,
      unprepared: Sql.query(text, params, { prepare: false }),
      "as arrays": client.unsafe(text, params).values,
      streamed: stream,
      pinned: Sql.withConnection(Effect.zipRight(thread, query)),
      "pinned, streamed": Sql.withConnection(Effect.zipRight(thread, stream)),
      "in a transaction, first": Sql.withTransaction(query),
      "in a transaction": Sql.withTransaction(Effect.zipRight(thread, query)),
      "in a transaction, streamed": Sql.withTransaction(Effect.zipRight(thread, stream)),
      "in a savepoint": Sql.withTransaction(Sql.withTransaction(query))
    }
  })

const warnings = <A, E, R>(effect: (texts: ReadonlyArray<string>) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const texts: Array<string> = []
    const keeper = Logger.make(({ message }) => {
      texts.push([message].flat().join(" "))
    })
    return Effect.provide(effect(texts), Logger.replace(Logger.defaultLogger, keeper))
  })

const server = Effect.map(MariaDbCluster.MariaDbCluster, ({ primary }) => primary)

layer(MariaDbCluster.layer({ settings: { max_allowed_packet: LIMIT } }), {
  excludeTestServices: true,
  timeout: "2 minutes"
})("limits", (it) => {
  it.effect("what is larger than max_allowed_packet is refused before it is sent, in each form of a statement", () =>
    onPool(one, () =>
      Effect.gen(function* () {
        const value = "x".repeat(LIMIT)
        const says = /was not sent: it is \d+ bytes long, and max_allowed_packet of the server is 1048576: .*raise/
        const statements: ReadonlyArray<readonly [string, ReadonlyArray<unknown>]> = [
          ["select length(?) as n", [value]],
          ["select length(?) as n", [Buffer.from(value)]],
          ["select length(?) + length(?) as n", [value.slice(LIMIT / 2), value.slice(LIMIT / 2)]],
          ["select length(?) as n", ["€".repeat(LIMIT / 3 + 1)]],
          [`select length('${value}') as n`, []],
          [`select length('${value}') + ? as n`, [1]],
          [`insert into nowhere values ('${value}')`, []]
        ]
        for (const [text, params] of statements) {
          for (const failing of Object.values(yield* forms(text, params))) yield* row(failing, "1153", tooLong, says)
        }
      })
    )
  )

  it.effect("the limit is the server's to the byte: what it accepts is sent", () =>
    onPool(one, () =>
      Effect.gen(function* () {
        const before = yield* thread
        const lengthOf = (form: Form) => Effect.map(form, ([row]) => Number(Object.values(row)[0]))
        for (const form of [
          "alone",
          "unprepared",
          "streamed",
          "in a transaction",
          "in a transaction, streamed"
        ] as const) {
          const outcomes: Array<string> = []
          for (let length = LIMIT - 26; length <= LIMIT - 14; length++) {
            const exit = yield* Effect.either(
              lengthOf((yield* forms("select length(?) as n", ["x".repeat(length)]))[form]!)
            )
            if (exit._tag === "Right") assert.strictEqual(exit.right, length)
            else assert.strictEqual(SqlReason.of(exit.left).connection, "keep")
            outcomes.push(exit._tag)
          }
          // Accepted up to a length, and refused from there on.
          assert.match(outcomes.join(" "), /^(?:Right )+(?:Left ?)+$/, form)
        }
        // Texts: 1 byte says that it is one.
        const text = (bytes: number) => `select '${"x".repeat(bytes - "select ''".length)}'`
        yield* Sql.query(text(LIMIT - 2))
        yield* row(Sql.query(text(LIMIT - 1)), "1153", tooLong, /max_allowed_packet/)
        assert.strictEqual(yield* thread, before)
      })
    )
  )

  it.effect("a statement that is too long does not end its transaction, nor that of a neighbour", () =>
    onPool(one, () =>
      Effect.gen(function* () {
        yield* table("kept", "id int")
        yield* Sql.query("insert into kept values (1)").pipe(
          Effect.zipRight(Effect.flip(Sql.query("select ? as a", ["x".repeat(LIMIT)]))),
          Effect.zipRight(Sql.query("insert into kept values (2)")),
          Sql.withTransaction
        )
        assert.deepStrictEqual(yield* rowsOf("kept"), [1, 2])
      })
    )
  )

  it.effect("packed reads are as they were when one among them is too long", () =>
    onPool(one, () =>
      Effect.gen(function* () {
        const before = yield* thread
        const text = "select ? as n"
        for (let i = 0; i < 5; i++) yield* Sql.query(text, [String(i)])
        const all = yield* Effect.forEach(
          Array.from({ length: 40 }, (_, i) => (i % 10 === 5 ? "x".repeat(LIMIT) : String(i))),
          (value) => Effect.either(Sql.query<{ n: string }>(text, [value])),
          { concurrency: "unbounded" }
        )
        for (const [i, result] of all.entries()) {
          if (i % 10 !== 5) assert.deepStrictEqual(result._tag === "Right" && result.right, [{ n: String(i) }])
          else assert.strictEqual(result._tag === "Left" && SqlReason.of(result.left)._tag, "ResourceExhausted")
        }
        assert.strictEqual(yield* thread, before)
      })
    )
  )

  it.effect("a wrong number of parameters is refused in each form, and the plan stays", () =>
    onPool(one, () =>
      Effect.gen(function* () {
        const cases: ReadonlyArray<readonly [string, ReadonlyArray<unknown>]> = [
          ["select ? as a", [1, "2"]],
          ["select ? as a, ? as b", ["1"]],
          ["select ? as a", []],
          ["select 1 as a", [1]]
        ]
        for (const [text, params] of cases) {
          const { unprepared: _, ...prepared } = yield* forms(text, params)
          for (const failing of Object.values(prepared)) {
            yield* row(failing, "1210", misused, /\d placeholders and was given \d parameters/)
          }
        }
        const count = Sql.query<{ n: number }>(
          "select variable_value + 0 as n from information_schema.session_status where variable_name = 'Com_stmt_prepare'"
        )
        yield* Sql.query("select ? as a", [1])
        const [prepared] = yield* count
        for (let i = 0; i < 200; i++) yield* Effect.flip(Sql.query("select ? as a", [1, 2]))
        assert.deepStrictEqual(yield* count, [prepared!])
        const { closed, connects } = (yield* Sql.stats).write
        assert.deepStrictEqual([connects, Object.values(closed).reduce((a, b) => a + b)], [1, 0])
      })
    )
  )

  it.effect("more parameters than the protocol counts are refused, and 65,535 are sent", () =>
    onPool(one, () =>
      Effect.gen(function* () {
        const many = (count: number) =>
          [
            `select 7 as n where 7 in (${Array(count).fill("?").join()})`,
            Array.from({ length: count }, (_, i) => i)
          ] as const
        assert.deepStrictEqual(yield* Sql.query(...many(65_535)), [{ n: 7 }])
        for (const count of [65_536, 70_000]) {
          const { unprepared, ...prepared } = yield* forms(...many(count))
          for (const failing of Object.values(prepared)) {
            yield* row(failing, "1390", misused, new RegExp(`it has ${count} parameters and may have 65535`))
          }
          assert.deepStrictEqual(yield* unprepared, [{ n: 7 }])
        }
      })
    )
  )

  it.effect("a server that keeps no more prepared statements executes texts, in each form, with one warning", () =>
    warnings((texts) =>
      onPool({ pool: { maxSize: 3 } }, () =>
        Effect.gen(function* () {
          const { query } = yield* server
          const [before] = yield* query<{ n: number }>("select @@max_prepared_stmt_count as n")
          const kept = Effect.map(query<{ Value: string }>("show global status like 'Prepared_stmt_count'"), ([row]) =>
            Number(row!.Value)
          )
          yield* table("full", "id int")
          yield* query("set global max_prepared_stmt_count = 0")
          yield* Effect.gen(function* () {
            const others = yield* kept
            for (const [form, effect] of Object.entries(yield* forms("select ? as n, 'full' as t", ["7"]))) {
              const rows = Array.from((yield* effect) as Iterable<any>)
              assert.deepStrictEqual(
                rows.map((row) => row.n ?? row[0]),
                ["7"],
                form
              )
            }
            // All at once, on three connections: each gets its own row.
            const all = yield* Effect.forEach(
              Array.from({ length: 100 }, (_, i) => String(i)),
              (n) => Sql.query<{ n: string }>("select ? as n", [n]),
              { concurrency: "unbounded" }
            )
            assert.deepStrictEqual(
              all,
              Array.from({ length: 100 }, (_, i) => [{ n: String(i) }])
            )
            const insert = (n: number) => Sql.query("insert into full values (?)", [n])
            yield* Sql.withTransaction(Effect.forEach([1, 2, 3], insert))
            yield* Effect.ignore(Sql.withTransaction(Effect.zipRight(insert(4), Effect.fail("no"))))
            assert.deepStrictEqual(yield* rowsOf("full"), [1, 2, 3])
            assert.isAtMost(yield* kept, others)
          }).pipe(Effect.ensuring(Effect.ignore(query(`set global max_prepared_stmt_count = ${before!.n}`))))
          const said = texts.filter((text) => text.includes("1461"))
          assert.lengthOf(said, 1)
          assert.match(said[0]!, /Raise max_prepared_stmt_count/)
        })
      )
    )
  )

  it.effect("whatever form meets a full server first is executed as text", () =>
    warnings((texts) =>
      Effect.gen(function* () {
        const { query } = yield* server
        const [before] = yield* query<{ n: number }>("select @@max_prepared_stmt_count as n")
        yield* query("set global max_prepared_stmt_count = 0")
        yield* Effect.gen(function* () {
          for (const form of ["alone", "streamed", "pinned", "in a transaction, first", "in a transaction, streamed"]) {
            const rows = onPool({ pool: { maxSize: 1 } }, () =>
              Effect.flatMap(forms("select ? as n", ["7"]), (all) => all[form]!)
            )
            assert.deepStrictEqual(Array.from(yield* rows), [{ n: "7" }], form)
          }
        }).pipe(Effect.ensuring(Effect.ignore(query(`set global max_prepared_stmt_count = ${before!.n}`))))
        assert.lengthOf(
          texts.filter((text) => text.includes("1461")),
          5
        )
      })
    )
  )

  it.effect("a statement that cannot be prepared at all is executed as text, in each form (1295)", () =>
    onPool(one, () =>
      Effect.gen(function* () {
        const before = yield* thread
        for (const form of Object.keys(yield* forms(""))) {
          // Each form meets a text that no other has met.
          const effect = (yield* forms(`execute immediate ? /* ${form} */`, ["select 7 as n"]))[form]!
          const rows = Array.from(yield* effect)
          assert.deepStrictEqual(
            rows.map((row) => row.n ?? row[0]),
            [7],
            form
          )
        }
        assert.strictEqual(yield* thread, before)
      })
    )
  )

  it.effect("a statement that is refused as stale each time ends: anew, as text, and then its failure (1615)", () =>
    onPool(one, () =>
      Effect.gen(function* () {
        const { query } = yield* server
        yield* query("create or replace sequence stale_calls")
        yield* query(`create or replace function stale(n int) returns int reads sql data begin
          declare called int default nextval(stale_calls);
          if n > 0 then signal sqlstate 'HY000' set mysql_errno = 1615, message_text = 'again'; end if;
          return 1;
        end`)
        const calls = Effect.map(Sql.query<{ n: number }>("select nextval(stale_calls) as n"), ([row]) =>
          Number(row!.n)
        )
        const text = "select stale(?) as n"
        for (const [form, failing] of Object.entries(yield* forms(text, [1]))) {
          yield* Sql.query(text, [0])
          const called = yield* calls
          yield* row(failing, "1615", ["StalePlan", "keep", "rolledBack", "transaction"], /again/)
          // Prepared, prepared anew, as text; and the question itself.
          assert.isAtMost((yield* calls) - called, 4, form)
        }
      })
    )
  )

  it.effect("a stream whose cursor fails leaves no prepared statement behind", () =>
    onPool(one, () =>
      Effect.gen(function* () {
        const { client } = yield* Sql.Sql
        const { query } = yield* server
        const kept = Effect.map(query<{ Value: string }>("show global status like 'Prepared_stmt_count'"), ([row]) =>
          Number(row!.Value)
        )
        const failing = client.unsafe("select (select seq from seq_1_to_2 where ? = 0 or seq = 1) as n", [0]).stream
        yield* thread
        const before = yield* kept
        for (let i = 0; i < 20; i++)
          yield* Effect.flip(Sql.withTransaction(Effect.zipRight(thread, Stream.runDrain(failing))))
        yield* thread
        assert.isAtMost((yield* kept) - before, 2)
      })
    )
  )
})
