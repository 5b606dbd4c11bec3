/**
 * Whatever a program gives as a parameter, nothing thrown on the way to the server is a defect or costs a neighbour.
 *
 * | parameter | alone, as arrays, unprepared, packed, pinned, streamed, inserted | in a transaction, also streamed |
 * | --- | --- | --- |
 * | one that cannot be sent | refused: a typed failure, `never`, nothing has happened, the same session goes on | the same, and the transaction goes on |
 * | one that the server refuses | a typed failure, `never`, undone, the same session goes on | the same |
 * | any other | its answer | the same |
 *
 * Reads of others are under way on the same connection all the time, and each gets its own answer.
 */
import { inspect } from "node:util"
import type { SqlError } from "@effect/sql/SqlError"
import { assert } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { Cause, Effect, Exit, FastCheck as fc, Option, Stream } from "effect"
import type { Database } from "./databases.js"
import { ours } from "./ours.js"
import { learn, onPacked, packers } from "./packing.js"

const SEED = Number(process.env["SENDING_SEED"] ?? 20_261_128)

class Point {
  constructor(
    readonly x: number,
    readonly y: number
  ) {}
}

/** A list that says it has elements, and has none. */
class Hollow {
  readonly length = 3
}

const SECRET = "hunter2"

const boom = (): never => {
  throw new Error(SECRET)
}

const cyclic = () => {
  const object: Record<string, unknown> = { a: 1 }
  object["self"] = object
  return object
}

const deep = () => {
  let list: Array<unknown> = []
  for (let i = 0; i < 50_000; i++) list = [list]
  return list
}

const throwing = (traps: ReadonlyArray<keyof ProxyHandler<object>>, target: object = {}) =>
  new Proxy(target, Object.fromEntries(traps.map((trap) => [trap, boom])))

const detached = () => {
  const bytes = new Uint8Array([1, 2, 3])
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
  return bytes
}

/** Made anew for each statement, because some of them change when they are looked at. */
const values: Readonly<Record<string, () => unknown>> = {
  undefined: () => undefined,
  null: () => null,
  true: () => true,
  NaN: () => Number.NaN,
  Infinity: () => Number.POSITIVE_INFINITY,
  "-Infinity": () => Number.NEGATIVE_INFINITY,
  "-0": () => -0,
  fraction: () => 0.1,
  "the largest number": () => Number.MAX_VALUE,
  "a bigint beyond 64 bits": () => 2n ** 70n,
  "a negative bigint": () => -(2n ** 63n),
  "a symbol": () => Symbol(SECRET),
  "a function": () => () => SECRET,
  "a class": () => Point,
  "an invalid date": () => new Date("x"),
  "the first date": () => new Date(-8.64e15),
  "the last date": () => new Date(8.64e15),
  "a date": () => new Date(0),
  "an empty buffer": () => Buffer.alloc(0),
  "a buffer": () => Buffer.from([0, 255, 39, 92]),
  "a Uint8Array": () => new Uint8Array([1, 2]).subarray(1),
  "a Float64Array": () => new Float64Array([1.5]),
  "a BigInt64Array": () => new BigInt64Array([1n]),
  "a DataView": () => new DataView(new ArrayBuffer(4), 1),
  "an ArrayBuffer": () => new ArrayBuffer(2),
  "a SharedArrayBuffer": () => new SharedArrayBuffer(2),
  "a detached array": detached,
  "an empty list": () => [],
  "a list": () => ["a", null, 1],
  "nested lists": () => [[1, [2]], [{ a: [Symbol("x")] }]],
  "a sparse list": () => new Array(3),
  "a list that throws": () => [throwing(["get", "has", "getPrototypeOf"])],
  "a deep list": deep,
  "a cyclic list": () => {
    const list: Array<unknown> = []
    list.push(list)
    return list
  },
  "a map": () => new Map([["a", 1]]),
  "a set": () => new Set([1]),
  "an object": () => ({ a: 1 }),
  "an object without a prototype": () => Object.assign(Object.create(null), { a: 1 }),
  "an instance of a class": () => new Point(1, 2),
  "what only looks like a list": () => new Hollow(),
  "a String": () => new String("boxed"),
  "a Number": () => new Number(5),
  "a regular expression": () => /x/,
  "a promise": () => Promise.resolve(1),
  "an effect": () => Effect.succeed(1),
  "an error": () => new Error(SECRET),
  "a cyclic object": cyclic,
  "an object with a bigint": () => ({ a: 1n }),
  "a getter that throws": () =>
    Object.defineProperty({}, "a", {
      enumerable: true,
      get: boom
    }),
  "a toJSON that throws": () => ({ toJSON: boom }),
  "a toJSON that gives nothing": () => ({ toJSON: () => undefined }),
  "a toJSON that is a getter that throws": () => Object.defineProperty({}, "toJSON", { get: boom }),
  "a toString that throws": () => ({ toString: boom, valueOf: boom }),
  "a toPostgres that throws": () => ({ toPostgres: boom }),
  "a toPostgres that gives a symbol": () => ({ toPostgres: () => Symbol("x") }),
  "a toPostgres that gives itself": () => {
    const self: Record<string, unknown> = {}
    self["toPostgres"] = () => self
    return self
  },
  "a toSqlString": () => ({ toSqlString: () => SECRET }),
  "a throw of a string": () => ({
    toJSON: () => {
      throw SECRET
    }
  }),
  "a throw of nothing": () => ({
    toJSON: () => {
      throw undefined
    }
  }),
  "a constructor that throws": () => Object.defineProperty({}, "constructor", { get: boom }),
  "a tag that throws": () => Object.defineProperty({}, Symbol.toStringTag, { get: boom }),
  "a proxy whose get throws": () => throwing(["get"]),
  "a proxy whose getPrototypeOf throws": () => throwing(["getPrototypeOf"]),
  "a proxy that always throws": () => throwing(["get", "has", "getPrototypeOf", "ownKeys", "getOwnPropertyDescriptor"]),
  "a proxy of a list": () => throwing(["get"], []),
  "a revoked proxy": () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy
  },
  "an empty text": () => "",
  "a quote": () => "' \" ` \\ -- /* $$ ; \n",
  "a text with NUL": () => "a\0b",
  "half of a pair": () => "a\ud800b",
  "the other half": () => ["\udc00"],
  "64 KiB": () => "x".repeat(65_536),
  "more than that": () => "ü".repeat(70_000),
  "some megabytes": () => Buffer.alloc(2_000_000, 65)
}

interface Dialect {
  /** Gives `v` and `n`. */
  readonly both: string
  /** The table `sending (v, n)`, and a row of it. */
  readonly table: string
  readonly into: string
  /** Values of this database that never arrive. */
  readonly refused: ReadonlyArray<string>
}

const everywhere = [
  "a symbol",
  "a function",
  "a class",
  "a detached array",
  "a cyclic object",
  "a cyclic list",
  "a deep list",
  "an object with a bigint",
  "a getter that throws",
  "a toJSON that throws",
  "a toJSON that is a getter that throws",
  "a throw of a string",
  "a throw of nothing",
  "a list that throws",
  "a proxy whose get throws",
  "a proxy whose getPrototypeOf throws",
  "a proxy that always throws",
  "a proxy of a list",
  "a revoked proxy",
  "half of a pair"
]

const dialects: { readonly [D in Database]: Dialect } = {
  postgresql: {
    both: "select $1::text as v, $2::int as n",
    table: "create table sending (v text, n int)",
    into: "insert into sending values ($1, $2)",
    refused: [
      ...everywhere,
      "the other half",
      "a text with NUL",
      "a toJSON that gives nothing",
      "a toPostgres that throws"
    ]
  },
  mysql: {
    both: "select ? as v, ? as n",
    table: "create table sending (v longblob, n int)",
    into: "insert into sending values (?, ?)",
    refused: [...everywhere, "undefined", "NaN", "Infinity", "-Infinity", "a map", "a set"]
  }
}

/** Values of MySQL that mean something where `mysql2` writes them into the text, or where a missing value is null. */
const isOfOriginal = (form: string, what: string) =>
  form === "unprepared" || (form.startsWith("inserted") && what === "undefined")

ours("sending", ({ database, it, session, words }) => {
  const packer = packers[database]
  const dialect = dialects[database]
  const one = { pool: { maxSize: 1 } }

  type Run = (params: ReadonlyArray<unknown>) => Effect.Effect<unknown, SqlError, Sql.Sql>

  const formsOf = Effect.map(Sql.Sql, ({ client }): Readonly<Record<string, Run>> => {
    const { both, into } = dialect
    const query: Run = (params) => Sql.query(both, params)
    const stream: Run = (params) => Stream.runDrain(client.unsafe(both, params).stream)
    const insertOf = ([v, n]: ReadonlyArray<unknown>, more: ReadonlyArray<object> = []) =>
      client`insert into ${client("sending")} ${client.insert([{ v, n } as any, ...more])}`
    return {
      packed: query,
      "as arrays": (params) => client.unsafe(both, params).values,
      unprepared: (params) => Sql.query(both, params, { prepare: false }),
      written: (params) => Sql.query(into, params),
      streamed: stream,
      pinned: (params) => Sql.withConnection(query(params)),
      "pinned, streamed": (params) => Sql.withConnection(Effect.zipRight(session, stream(params))),
      "in a transaction, first": (params) => Sql.withTransaction(query(params)),
      "in a transaction": (params) => Sql.withTransaction(Effect.zipRight(session, query(params))),
      "in a transaction, streamed": (params) => Sql.withTransaction(stream(params)),
      inserted: (params) => insertOf(params),
      "inserted among others": (params) => insertOf(params, [{ v: "b", n: 2 }])
    }
  })

  const mine = words.placeholder(1)

  /** A read of a neighbour, which is packed. */
  const neighbour = (n: number) =>
    Effect.map(Sql.query<{ n: string }>(packer.texts.number("neighbour"), [n]), ([row]) =>
      assert.strictEqual(Number(row!.n), n)
    )

  /** Runs a form among neighbours, and asserts what it may come to. */
  const among = (form: string, what: string, run: Effect.Effect<unknown, SqlError, Sql.Sql>, mustFail: boolean) =>
    Effect.gen(function* () {
      const [, exit] = yield* Effect.all([neighbour(1), Effect.exit(run), neighbour(2)], { concurrency: "unbounded" })
      const where = `${form}: ${what}`
      if (Exit.isSuccess(exit)) {
        assert.isFalse(mustFail, `${where} was accepted`)
        return
      }
      const failure = Cause.failureOption(exit.cause)
      assert.isTrue(Option.isSome(failure), `${where}: ${Cause.pretty(exit.cause)}`)
      const error = Option.getOrThrow(failure)
      assert.strictEqual(error._tag, "SqlError", where)
      const { _tag, connection, outcome, retry } = SqlReason.of(error)
      assert.deepStrictEqual([connection, retry], ["keep", "never"], `${where}: ${error.message}`)
      assert.include(["none", "rolledBack"], outcome, `${where}: ${error.message}`)
      assert.include(["InvalidUse", "InvalidData", "SyntaxError", "Unclassified"], _tag, `${where}: ${error.message}`)
      if (outcome === "none") assert.match(error.message, /was not sent: /, where)
      assert.notInclude(error.message, SECRET, where)
    })

  const goesOn = (before: number) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* session, before, "the same session goes on")
      const { closed, connects } = (yield* Sql.stats).write
      assert.deepStrictEqual([connects, Object.values(closed).reduce((a, b) => a + b)], [1, 0])
    })

  it.effect(
    `a value of any kind is sent, or refused and nothing else, in whatever form of a statement (seed ${SEED})`,
    () =>
      onPacked(packer, one, ({ packs }) =>
        Effect.gen(function* () {
          yield* Sql.query("drop table if exists sending")
          yield* Sql.query(dialect.table)
          yield* learn(dialect.both, ["a", 1])
          yield* learn(packer.texts.number("neighbour"), [1])
          const before = yield* session
          const packed = packs()
          for (const [i, [form, run]] of Object.entries(yield* formsOf).entries()) {
            for (const [j, [what, make]] of Object.entries(values).entries()) {
              // All of them packed, where they meet others; a sixth of the other forms each, which ones depends on the seed.
              if (i > 0 && (i + j + SEED) % 6 !== 0) continue
              const isRefused = dialect.refused.includes(what) && !(database === "mysql" && isOfOriginal(form, what))
              yield* among(
                form,
                what,
                Effect.suspend(() => run([make(), 1])),
                isRefused
              )
            }
            yield* goesOn(before)
          }
          assert.isAbove(packs() - packed, 2 * Object.keys(values).length)
        })
      )
  )

  it.effect(`any parameters together: nothing else comes out (seed ${SEED})`, () =>
    onPacked(packer, one, () =>
      Effect.gen(function* () {
        yield* learn(packer.texts.number("neighbour"), [1])
        const before = yield* session
        const names = Object.keys(values).filter((what) => what !== "some megabytes")
        const scripts = fc.sample(fc.array(fc.constantFrom(...names), { minLength: 0, maxLength: 6 }), {
          seed: SEED,
          numRuns: 40
        })
        const forms = Object.entries(yield* formsOf)
        for (const [i, script] of scripts.entries()) {
          const [form, run] = forms[i % forms.length]!
          const params = Effect.sync(() => script.map((what) => values[what]!()))
          yield* among(form, script.join(" + "), Effect.flatMap(params, run), false)
        }
        yield* goesOn(before)
      })
    )
  )

  it.effect("any number of parameters is sent, up to the 65,535 of the protocol", () =>
    onPacked(packer, one, () =>
      Effect.gen(function* () {
        const { client } = yield* Sql.Sql
        const before = yield* session
        const cast = database === "postgresql" ? "::bytea" : ""
        for (const count of [1, 256, 32_768, 65_535, 65_536]) {
          const places = Array.from({ length: count }, (_, i) => `${words.placeholder(i + 1)}${cast}`)
          const text = `select 7 as n where ${database === "postgresql" ? "'\\x07'::bytea" : "'\u0007'"} in (${places.join()})`
          const params: Array<unknown> = Array.from({ length: count }, (_, i) =>
            i === count - 1 ? Buffer.from([7]) : "a"
          )
          const stream = Effect.map(Stream.runCollect(client.unsafe(text, params).stream), (rows) => [...rows])
          const runs: ReadonlyArray<Effect.Effect<ReadonlyArray<object>, SqlError, Sql.Sql>> = [
            Sql.query(text, params),
            stream,
            Sql.withTransaction(stream)
          ]
          for (const run of runs) {
            if (count <= 65_535) assert.deepStrictEqual(yield* run, [{ n: 7 }], `${count} parameters`)
            else {
              const error = yield* Effect.flip(run)
              const { connection, outcome, retry } = SqlReason.of(error)
              assert.deepStrictEqual([connection, outcome, retry], ["keep", "none", "never"])
              assert.match(error.message, new RegExp(`it has ${count} parameters and may have 65535`))
            }
          }
        }
        yield* goesOn(before)
      })
    )
  )

  it.effect("a text that cannot be sent, and one that the server cannot read, are failures like others", () =>
    onPacked(packer, one, () =>
      Effect.gen(function* () {
        const { client } = yield* Sql.Sql
        yield* learn(packer.texts.number("neighbour"), [1])
        const before = yield* session
        const anything: any = client.unsafe
        for (const [text, params] of [
          [undefined],
          [5],
          [null],
          [{}],
          ["select 1", "abc"],
          ["select 1", 5],
          ["select 1", {}]
        ]) {
          const odd: Effect.Effect<unknown, SqlError> & { readonly stream: Stream.Stream<unknown, SqlError> } =
            params === undefined ? anything(text) : anything(text, params)
          for (const run of [
            odd,
            Stream.runDrain(odd.stream),
            Sql.withTransaction(odd),
            Effect.withSpan(odd, "seen")
          ]) {
            const [, exit] = yield* Effect.all([neighbour(1), Effect.exit(run), neighbour(2)], {
              concurrency: "unbounded"
            })
            const failure = Exit.isFailure(exit) ? Cause.failureOption(exit.cause) : Option.none()
            const { _tag, connection, outcome } = SqlReason.of(Option.getOrUndefined(failure))
            assert.deepStrictEqual([_tag, connection, outcome], ["InvalidUse", "keep", "none"], inspect([text, params]))
          }
        }
        const texts = ["select 'a\0b'", "select 'a\ud800b'", "", ";", "   ", "-- nothing", "/*", "'", "\\", "select"]
        for (const text of texts) {
          const stream = Stream.runDrain(client.unsafe(text).stream)
          for (const run of [
            Sql.query(text),
            Sql.query(text, [], { prepare: false }),
            stream,
            Sql.withConnection(Sql.query(text)),
            Sql.withTransaction(Sql.query(text)),
            Sql.withTransaction(stream)
          ]) {
            const [, exit] = yield* Effect.all([neighbour(1), Effect.exit(run), neighbour(2)], {
              concurrency: "unbounded"
            })
            if (Exit.isSuccess(exit)) continue
            const error = Option.getOrThrowWith(Cause.failureOption(exit.cause), () => Cause.pretty(exit.cause))
            const { connection, retry } = SqlReason.of(error)
            assert.deepStrictEqual([connection, retry], ["keep", "never"], `${inspect(text)}: ${error}`)
          }
          yield* goesOn(before)
        }
      })
    )
  )

  it.effect("a wrong number of parameters, or a value that the server refuses, costs neither session nor plan", () =>
    onPacked(packer, one, () =>
      Effect.gen(function* () {
        const text = `select ${mine}${database === "postgresql" ? "::int" : " + 0"} as n`
        const good = Effect.map(Sql.query<{ n: number }>(text, [5]), ([row]) => assert.strictEqual(Number(row!.n), 5))
        yield* Effect.replicateEffect(good, 10)
        const before = yield* session
        const [kept] = yield* Sql.query<{ n: number }>(packer.kept)
        for (let i = 0; i < 200; i++) {
          const params = i % 2 === 0 ? [5, 6] : database === "postgresql" ? [`x${SECRET}`] : []
          const reason = SqlReason.of(yield* Effect.flip(Sql.query(text, params)))
          assert.deepStrictEqual([reason.connection, reason.retry], ["keep", "never"])
        }
        yield* good
        const [still] = yield* Sql.query<{ n: number }>(packer.kept)
        assert.deepStrictEqual(still, kept)
        yield* goesOn(before)
      })
    )
  )
})
