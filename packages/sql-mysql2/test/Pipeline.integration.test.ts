import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { MariaDbCluster } from "@sluice/testkit"
import { Effect, Exit, Fiber } from "effect"
import { anyTime } from "../../sql/test/support/packed.js"
import type { MysqlConnection } from "../src/internal/session/connection.js"
import * as Mysql from "../src/internal/wire/mysql.js"
import { booksBalance, eventually, reasonOf, urlThrough } from "./support/fixture.js"
import * as greeting from "./support/greeting.js"
import { connectionWithin, forget, learn, oneConnection, onPacked } from "./support/packing.js"

const times = <A>(n: number, f: (i: number) => A) => Array.from({ length: n }, (_, i) => f(i))

const all = <A, E, R>(effects: Iterable<Effect.Effect<A, E, R>>) => Effect.all(effects, { concurrency: "unbounded" })

const text = "select ? as n"

const sleep = "select sleep(?) as s, ? as n"

/** One connection whose packets are counted by the server, and watched: `mysql2` only warns of what is out of order. */
const watched = (config: Parameters<typeof oneConnection>[0] = {}) =>
  Effect.gen(function* () {
    const one = yield* oneConnection(config)
    const { connection, driver } = one
    const disorder: Array<unknown> = []
    connection.wire.on("warn", (warning) => disorder.push(warning))
    yield* Effect.addFinalizer(() => Effect.sync(() => assert.deepStrictEqual(disorder, [])))
    const status = (name: string) =>
      Effect.map(
        driver.execute(
          connection,
          `select variable_value + 0 as n from information_schema.session_status where variable_name = '${name}'`,
          [],
          "unprepared"
        ),
        (rows): number => rows[0].n
      )
    return { ...one, status, prepares: status("Com_stmt_prepare") }
  })

const isTrue = (what: string, condition: () => boolean) => eventually(what, Effect.sync(condition))

/** The oldest is a read that has been prepared before, and sleeps. */
const asleep = (seconds: number) =>
  Effect.gen(function* () {
    const one = yield* watched()
    yield* one.read(sleep, [0, 0])
    const slow = yield* Effect.fork(one.read(sleep, [seconds, 0]))
    yield* isTrue("it was sent", () => one.connection.pipeline.depth === 1)
    return { ...one, slow }
  })

const isAtEase = (connection: MysqlConnection) =>
  isTrue("nothing is under way", () => connection.status() === "idle" && connection.pipeline.depth === 0)

const circular: Record<string, unknown> = {}
circular["itself"] = circular

/** What cannot be sent, however it is tried. */
const unsendable: ReadonlyArray<readonly [what: string, value: unknown]> = [
  ["undefined", undefined],
  ["a function", () => 1],
  ["a symbol", Symbol("one")],
  ["a circular object", circular],
  [
    "an object that throws",
    {
      toJSON() {
        throw new Error("not today")
      }
    }
  ]
]

/** What holds for each driver that packs is in `test/contract/packing.test.ts`. */
layer(MariaDbCluster.layer({ settings: { max_allowed_packet: "64M" } }), {
  excludeTestServices: true,
  timeout: "2 minutes"
})("packed reads", (it) => {
  it.effect("a statement that many reads of one moment need is prepared once, and all are answered", () =>
    Effect.gen(function* () {
      const { connection, prepares, read } = yield* watched()
      const before = yield* prepares
      const kinds = ["a", "b", "c"]
      const rows = yield* all(times(60, (n) => read(`select ? as n, '${kinds[n % 3]}' as kind`, [n])))
      for (const [n, [row]] of rows.entries()) assert.deepStrictEqual(row, { n, kind: kinds[n % 3] })
      assert.strictEqual((yield* prepares) - before, 3)
      yield* all(times(60, (n) => read(`select ? as n, '${kinds[n % 3]}' as kind`, [n])))
      assert.strictEqual((yield* prepares) - before, 3)
      yield* isAtEase(connection)
    }).pipe(Effect.scoped)
  )

  it.effect("the one that a statement is prepared for leaves: the others that wait for it are answered", () =>
    Effect.gen(function* () {
      const { connection, read, slow } = yield* asleep(1)
      const first = yield* Effect.fork(read(text, [0]))
      yield* isTrue("it is prepared", () => connection.pipeline.depth === 2)
      const others = yield* Effect.fork(all(times(10, (n) => read(text, [n]))))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(first)
      for (const [n, [row]] of (yield* Fiber.join(others)).entries()) assert.deepStrictEqual(row, { n })
      yield* Fiber.join(slow)
      yield* isAtEase(connection)
    }).pipe(Effect.scoped)
  )

  it.effect(
    "a statement that takes long to be prepared is not cancelled while one of those that wait for it stays",
    () =>
      Effect.gen(function* () {
        const { primary } = yield* MariaDbCluster.MariaDbCluster
        const { connection, read } = yield* watched()
        const other = yield* watched()
        // Until it is done nobody can look at its columns.
        const making = yield* Effect.fork(
          other.driver.execute(
            other.connection,
            "create table packed_made as select 1 as id from (select sleep(3)) t",
            [],
            "unprepared"
          )
        )
        yield* eventually(
          "it is being made",
          Effect.map(primary.activity, (all) => all.some(({ state }) => state === "User sleep"))
        )
        const locked = "select count(*) as n from packed_made where id = ?"
        const leaving = yield* Effect.fork(read(locked, [0]))
        const staying = yield* Effect.fork(read(locked, [1]))
        yield* eventually(
          "the server cannot prepare it",
          Effect.map(primary.activity, (all) =>
            all.some(({ command, state }) => command === "Prepare" && state?.includes("metadata lock") === true)
          )
        )
        yield* Fiber.interrupt(leaving)
        // Long enough for one that nobody awaits to be cancelled.
        yield* Effect.sleep(60)
        assert.isFalse(connection.pipeline.isAborting)
        assert.isNull(making.unsafePoll())
        assert.deepStrictEqual(yield* Fiber.join(staying), [{ n: 1 }])
        yield* Fiber.join(making)
        yield* isAtEase(connection)
      }).pipe(Effect.scoped)
  )

  it.effect("reads that wait for their statement during the cancel of a neighbour are answered", () =>
    Effect.gen(function* () {
      const { connection, prepares, read, slow } = yield* asleep(30)
      const waiting = yield* Effect.fork(all(times(10, (n) => read(text, [n]))))
      yield* isTrue("it is prepared", () => connection.pipeline.depth === 2)
      yield* Fiber.interrupt(slow)
      for (const [n, [row]] of (yield* Fiber.join(waiting)).entries()) assert.deepStrictEqual(row, { n })
      yield* isAtEase(connection)
      // The sleep, and the other one.
      assert.strictEqual(yield* prepares, 2)
    }).pipe(Effect.scoped)
  )

  it.effect("reads that wait for their statement on a connection that is lost fail once each, and were not sent", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const { connection, read, slow } = yield* asleep(30)
      let settled = 0
      const waiting = yield* Effect.fork(
        all(times(10, (n) => Effect.tap(Effect.flip(read(text, [n])), () => Effect.sync(() => settled++))))
      )
      yield* isTrue("it is prepared", () => connection.pipeline.depth === 2)
      yield* primary.terminateBackends({ id: Number(connection.server.thread) })
      for (const error of yield* Fiber.join(waiting)) {
        const { _tag, outcome, retry } = SqlReason.of(error)
        assert.deepStrictEqual([_tag, outcome, retry], ["ConnectionLost", "none", "always"])
      }
      assert.strictEqual(settled, 10)
      assert.strictEqual(SqlReason.of(yield* Effect.flip(Fiber.join(slow)))._tag, "ConnectionLost")
      assert.strictEqual(connection.status(), "dead")
    }).pipe(Effect.scoped)
  )

  it.effect("reads held back by a cancel that nobody answers fail at once when their connection is lost", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const { connection, read, slow } = yield* asleep(30)
      connection.control = () => Effect.never
      yield* Fiber.interrupt(slow)
      yield* isTrue("it is being cancelled", () => connection.pipeline.isAborting)
      let settled = 0
      const held = yield* Effect.fork(
        all(times(5, (n) => Effect.tap(Effect.flip(read(text, [n])), () => Effect.sync(() => settled++))))
      )
      yield* isTrue("they are held back", () => connection.pipeline.heldBack === 5)
      yield* primary.terminateBackends({ id: Number(connection.server.thread) })
      yield* isTrue("all were told", () => settled === 5)
      for (const error of yield* Fiber.join(held)) {
        const { _tag, outcome, retry } = SqlReason.of(error)
        assert.deepStrictEqual([_tag, outcome, retry], ["ConnectionLost", "none", "always"])
      }
    }).pipe(Effect.scoped)
  )

  it.effect("a statement that the server has forgotten is prepared again, once for all, and no caller notices", () =>
    Effect.gen(function* () {
      const { connection, prepares, read } = yield* watched()
      yield* read(text, [0])
      for (let round = 0; round < 3; round++) {
        const before = yield* prepares
        yield* forget(connection, text)
        const rows = yield* all(times(20, (n) => read(text, [n])))
        for (const [n, [row]] of rows.entries()) assert.deepStrictEqual(row, { n })
        assert.strictEqual((yield* prepares) - before, 1)
      }
      yield* isAtEase(connection)
    }).pipe(Effect.scoped)
  )

  it.effect("a text that the server does not prepare is sent as text", () =>
    Effect.gen(function* () {
      const { connection, prepares, read } = yield* watched()
      const before = yield* prepares
      const reads = all(times(10, (n) => read("execute immediate ?", [`select ${n} as n`])))
      for (const [n, [row]] of (yield* reads).entries()) assert.deepStrictEqual(row, { n })
      // Each prepares what it is given. Only the first time the driver has tried it as well, once for all of them.
      const asked = yield* prepares
      assert.strictEqual(asked - before, 11)
      for (const [n, [row]] of (yield* reads).entries()) assert.deepStrictEqual(row, { n })
      assert.strictEqual((yield* prepares) - asked, 10)
      // What it is given could leave something in the session, so that is not as it was.
      yield* isTrue("nothing is under way", () => connection.status() === "session" && connection.pipeline.depth === 0)
    }).pipe(Effect.scoped)
  )

  it.effect("more texts than a connection keeps: all are answered, and the server keeps no more", () =>
    Effect.gen(function* () {
      const { connection, read, status } = yield* watched({ mysql2: { maxPreparedStatements: 5 } })
      for (let round = 0; round < 5; round++) {
        const rows = yield* all(times(100, (n) => read(`select ? as n, ${(n * 7) % 30} as text`, [n])))
        for (const [n, [row]] of rows.entries()) assert.deepStrictEqual(row, { n, text: (n * 7) % 30 })
      }
      yield* isAtEase(connection)
      // It counts those of all sessions, and one that has just been closed may be there still.
      yield* eventually(
        "the server keeps five",
        Effect.map(status("Prepared_stmt_count"), (kept) => kept === 5)
      )
    }).pipe(Effect.scoped)
  )

  it.effect("prepare: false: reads are packed as texts with the values in them, and the answers are the same", () =>
    onPacked({ pool: { maxSize: 2 }, prepare: false }, ({ packs }) =>
      Effect.gen(function* () {
        const values = (n: number) => [n, `it's ${n} \\ "?"`, null, `[${n}]`, { n }]
        const other = "select ? as n, ? as t, ? as nothing, ? as list, ? as object"
        yield* learn(other, values(0))
        const before = packs()
        const rows = yield* all(times(40, (n) => Sql.query<any>(other, values(n))))
        assert.strictEqual(packs() - before, 40)
        for (const [n, [row]] of rows.entries()) {
          const { list, nothing, object, t } = row
          assert.deepStrictEqual([row.n, t, nothing], [n, `it's ${n} \\ "?"`, null])
          assert.deepStrictEqual([list, object], [`[${n}]`, `{"n":${n}}`])
        }
        const reasons = yield* all(times(5, () => reasonOf(Sql.query("select ? + nope", [1]))))
        for (const { code } of reasons) assert.strictEqual(code, "1054")
        const [prepared] = yield* Sql.query<{ n: number }>(
          "select variable_value + 0 as n from information_schema.session_status where variable_name = 'Com_stmt_prepare'"
        )
        assert.strictEqual(prepared!.n, 0)
      })
    )
  )

  for (const prepare of [true, false]) {
    it.effect(
      `what cannot be sent fails its own caller, and its neighbours are answered (${prepare ? "prepared" : "as text"})`,
      () =>
        Effect.gen(function* () {
          const { connection, read } = yield* watched({ prepare })
          for (const [what, value] of unsendable) {
            for (const at of [0, 5, 9]) {
              const exits = yield* all(times(10, (n) => Effect.exit(read(text, [n === at ? value : n]))))
              for (const [n, exit] of exits.entries()) {
                if (n !== at) assert.deepStrictEqual(exit, Exit.succeed([{ n }]), what)
                else if (Exit.isSuccess(exit)) assert.fail(`${what} was sent`)
              }
              yield* isAtEase(connection)
            }
            const reason = yield* reasonOf(read(text, [value]))
            assert.strictEqual(reason._tag, "InvalidUse", what)
            yield* isAtEase(connection)
          }
        }).pipe(Effect.scoped)
    )

    it.effect(
      `what cannot be sent leaves a pool as it was, whether its text was known or not (${prepare ? "prepared" : "as text"})`,
      () =>
        onPacked({ pool: { maxSize: 2 }, prepare }, () =>
          Effect.gen(function* () {
            for (let round = 0; round < 10; round++) {
              for (const [what, value] of unsendable) {
                const fresh = `select ? as n, '${round}, ${what}' as t`
                const exits = yield* all(
                  times(6, (n) => Effect.exit(Sql.query<any>(fresh, [n % 3 === round % 3 ? value : n])))
                )
                for (const [n, exit] of exits.entries()) {
                  if (n % 3 === round % 3) assert.isTrue(Exit.isFailure(exit), what)
                  else assert.deepStrictEqual(exit, Exit.succeed([{ n, t: `${round}, ${what}` }]))
                }
              }
              yield* booksBalance
            }
          })
        )
    )
  }

  it.effect("answers of more than 16 MB, and of many rows, between short ones", () =>
    Effect.gen(function* () {
      const { connection, read } = yield* watched()
      const size = 17 * 1024 * 1024
      for (let round = 0; round < 2; round++) {
        const [first, big, second, many, third] = yield* all([
          read(text, [0]),
          read("select repeat('x', ?) as big", [size]),
          read(text, [1]),
          read("select seq as n from seq_1_to_100000 where seq > ?", [0]),
          read(text, [2])
        ])
        assert.deepStrictEqual([first, second, third], [[{ n: 0 }], [{ n: 1 }], [{ n: 2 }]])
        assert.strictEqual(big![0].big.length, size)
        assert.strictEqual(many!.length, 100_000)
        assert.deepStrictEqual(many!.at(-1), { n: 100_000 })
      }
      yield* isAtEase(connection)
    }).pipe(Effect.scoped)
  )

  for (const prepare of [true, false]) {
    it.effect(`a parameter of more than 16 MB between short ones (${prepare ? "prepared" : "as text"})`, () =>
      Effect.gen(function* () {
        const { connection, read } = yield* watched({ prepare })
        const long = "x".repeat(17 * 1024 * 1024)
        for (let round = 0; round < 2; round++) {
          const rows = yield* all([
            read(text, [1]),
            read("select length(?) as n", [long]),
            read(text, [2]),
            read("select length(?) as n", ["short"])
          ])
          assert.deepStrictEqual(rows, [[{ n: 1 }], [{ n: long.length }], [{ n: 2 }], [{ n: 5 }]])
          const [first, last] = yield* all([read(text, [1]), read("select length(?) as n", [long])])
          assert.deepStrictEqual([first, last], [[{ n: 1 }], [{ n: long.length }]])
        }
        yield* isAtEase(connection)
      }).pipe(Effect.scoped)
    )
  }

  it.effect("values, raw answers and rows of one text at once, each in its own form", () =>
    Effect.gen(function* () {
      const { connection, driver } = yield* watched()
      const modes = ["rows", "values", "raw"] as const
      const answers = yield* all(
        times(30, (n) =>
          Effect.withFiberRuntime<any, any>((fiber) =>
            Effect.async((resume) => {
              const mode = modes[n % 3]!
              driver.packing.start(connection, {
                sql: text,
                params: [n],
                mode,
                fiber,
                interruptible: true,
                until: Infinity,
                resume,
                answer: resume,
                again: undefined
              })
            })
          )
        )
      )
      for (const [n, answer] of answers.entries()) {
        assert.deepStrictEqual(answer, modes[n % 3] === "values" ? [[n]] : [{ n }])
      }
      yield* isAtEase(connection)
    }).pipe(Effect.scoped)
  )

  /** Everything works, whether reads are packed or not; and how many were. */
  const exercise = (packs: () => number) =>
    Effect.gen(function* () {
      yield* learn(text, [0])
      const before = packs()
      const rows = yield* all(times(40, (n) => Sql.query<{ n: number }>(text, [n])))
      assert.deepStrictEqual(
        rows,
        times(40, (n) => [{ n }])
      )
      const packed = packs() - before
      assert.strictEqual((yield* reasonOf(Sql.query("select ? + nope", [1]))).code, "1054")
      const [inside] = yield* Sql.withTransaction(Sql.query<{ n: number }>(text, [7]))
      assert.strictEqual(inside!.n, 7)
      return packed
    })

  const through = (how: greeting.Greeting) =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      return yield* urlThrough(yield* greeting.proxy(primary, how))
    })

  const servers: ReadonlyArray<readonly [what: string, how: greeting.Greeting]> = [
    ["a server that says it is another one", { name: "Percona" }],
    ["a server whose session has another number than the one that greeted", { hidesThread: true }]
  ]
  for (const [what, how] of servers) {
    it.effect(`${what} is sent one statement at a time, unless pipeline: true says that it takes several`, () =>
      Effect.gen(function* () {
        const url = yield* through(how)
        assert.strictEqual(yield* onPacked({ url, pool: { maxSize: 3 } }, ({ packs }) => exercise(packs)), 0)
        assert.strictEqual(
          yield* onPacked({ url, pool: { maxSize: 3 }, pipeline: true }, ({ packs }) => exercise(packs)),
          40
        )
      }).pipe(Effect.scoped)
    )
  }

  for (const pipeline of [undefined, true]) {
    it.effect(`on a compressed connection nothing is packed (pipeline: ${pipeline})`, () =>
      Effect.gen(function* () {
        const config = { pool: { maxSize: 3 }, pipeline, mysql2: { compress: true } }
        assert.strictEqual(yield* onPacked(config, ({ packs }) => exercise(packs)), 0)
      })
    )
  }

  it.effect("the parts of mysql2 that packing stands on are there", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const { connection, read } = yield* connectionWithin({ url: primary.url }, anyTime)
      const { wire } = connection
      const disorder: Array<unknown> = []
      wire.on("warn", (warning) => disorder.push(warning))
      yield* read(text, [0])
      yield* read(sleep, [0, 0])
      yield* isAtEase(connection)
      assert.notOk(wire._command)
      wire._resetSequenceId()
      assert.strictEqual(wire.sequenceId, 0)
      wire._bumpSequenceId(3)
      assert.strictEqual(wire.sequenceId, 3)
      wire._bumpSequenceId(254)
      // One byte on the wire.
      assert.strictEqual(wire.sequenceId, 1)
      assert.isFunction(wire._statements.delete)
      assert.isFunction(wire._statements.get(Mysql.keyOf(text))!.close)
      const first = yield* Effect.fork(read(sleep, [0.5, 1]))
      yield* isTrue("the first was sent", () => connection.pipeline.depth === 1)
      const command = wire._command
      assert.isOk(command)
      // One that no command begins with.
      const { sequenceId } = wire
      wire.sequenceId = 9
      const { bytesWritten } = wire.stream
      const others = yield* Effect.fork(all([read(text, [2]), read("select ? as n, 1 as one", [3]), read(text, [4])]))
      yield* isTrue("the others were sent", () => connection.pipeline.depth === 4)
      yield* isTrue("they have left", () => wire.stream.bytesWritten > bytesWritten)
      // What comes is still the first one's.
      assert.strictEqual(wire._command, command)
      assert.strictEqual(wire.sequenceId, 9)
      wire.sequenceId = sequenceId
      assert.strictEqual((yield* Fiber.join(first))[0].n, 1)
      assert.deepStrictEqual(yield* Fiber.join(others), [[{ n: 2 }], [{ n: 3, one: 1 }], [{ n: 4 }]])
      assert.deepStrictEqual(disorder, [])
    }).pipe(Effect.scoped)
  )
})
