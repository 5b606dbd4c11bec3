/**
 * Bounds of a wait for the server, in every form of a statement.
 *
 * | the bound | a frozen path | a lock |
 * | --- | --- | --- |
 * | `statementTimeout` | StatementTimeout, one second later | StatementTimeout, by the server |
 * | the deadline of the caller | StatementTimeout | StatementTimeout, and the statement is cancelled |
 * | `commitTimeout`, for COMMIT alone | CommitUnknown | COMMIT goes on |
 *
 * The same holds where the fiber cannot be interrupted. A process that was held up takes the answer that has come meanwhile.
 */
import { assert } from "@effect/vitest"
import { Deadline } from "@sluice/pool"
import { Sql, SqlReason } from "@sluice/sql"
import type { Driver } from "@sluice/sql/driver/Driver"
import { FaultProxy } from "@sluice/testkit"
import { Cause, Deferred, Effect, Exit, Fiber, Option, Stream } from "effect"
import { anyTime, reader } from "../../packages/sql/test/support/packed.js"
import * as MysqlDriver from "../../packages/sql-mysql2/src/internal/driver.js"
import * as MysqlEndpoint from "../../packages/sql-mysql2/src/internal/endpoint.js"
import * as PgDriver from "../../packages/sql-pg/src/internal/driver.js"
import * as PgEndpoint from "../../packages/sql-pg/src/internal/endpoint.js"
import { booksBalance, eventually, unique } from "./contract.js"
import { Server } from "./databases.js"
import { executing, type Options, ours, rowsOf, table } from "./ours.js"

/** The wait for a server that does not enforce its statement timeout itself. */
const PATIENCE = 1_000

/** A machine with other work to do. */
const SLOW = 4_000

const tagOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isSuccess(exit)
    ? `success: ${String(exit.value)}`
    : Option.match(Cause.failureOption(exit.cause), {
        onNone: () => Cause.pretty(exit.cause),
        onSome: (error) => SqlReason.of(error)._tag
      })

/** Does nothing else for so many milliseconds, as a long computation. */
const busyFor = (millis: number) => {
  const end = performance.now() + millis
  while (performance.now() < end) {}
}

/** A driver, and its endpoint for options, whatever their types are. */
const driverOf = (isPostgresql: boolean) => {
  const driver = isPostgresql ? PgDriver.packed(anyTime) : MysqlDriver.packed(true, anyTime)
  const resolve: (options: any) => Effect.Effect<{ readonly primary: unknown }, any> = isPostgresql
    ? (PgEndpoint.resolve as any)
    : (MysqlEndpoint.resolve as any)
  return {
    driver: driver as unknown as Driver<unknown, any> & { readonly packing: NonNullable<Driver<any, any>["packing"]> },
    endpointOf: (options: Options) => Effect.map(resolve(options), ({ primary }) => primary)
  }
}

type Wrap = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const ways: ReadonlyArray<readonly [string, Wrap]> = [
  ["interruptible", (effect) => effect],
  ["uninterruptible", Effect.uninterruptible]
]

ours("deadlines", ({ dialect, insert, it, onPool, optionsOf, session, sleep, words }) => {
  const { driver, endpointOf } = driverOf(dialect.aborts)
  const series = words.series(1_000)
  const thousand = `select i from ${series}`
  const signals = { broken: () => {}, fatal: () => {}, isEnding: () => false }

  /** A connection of the driver. Another one is the way to the server beside it. */
  const connectionTo = (options: Options) =>
    Effect.gen(function* () {
      const endpoint = yield* endpointOf(options)
      const other = yield* driver.connect(endpoint, signals)
      return yield* driver.connect(endpoint, signals, (f) => f(other))
    })

  /** Each form, up to where the path freezes, and then one more answer. */
  const forms = (freeze: Effect.Effect<void>): Readonly<Record<string, Effect.Effect<unknown, any, Sql.Sql>>> => {
    const write = Effect.zipRight(freeze, Sql.query("insert into bounded values (2)"))
    const streamed = Effect.map(Sql.Sql, ({ client }) => client.unsafe(thousand).stream)
    const stream = Effect.zipRight(freeze, Effect.flatMap(streamed, Stream.runDrain))
    const later = Effect.flatMap(Effect.once(freeze), (once) =>
      Effect.flatMap(streamed, (stream) => Stream.runForEach(stream, () => once))
    )
    const after = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.zipRight(session, effect)
    return {
      "a read": Effect.zipRight(freeze, Sql.query("select 1 as n")),
      "a write": write,
      "a stream": stream,
      "a pinned statement": Sql.withConnection(after(write)),
      "a pinned stream": Sql.withConnection(after(stream)),
      "the first statement of a transaction": Sql.withTransaction(write),
      "a statement in a transaction": Sql.withTransaction(after(write)),
      "a stream in a transaction": Sql.withTransaction(after(stream)),
      "a later piece of a stream in a transaction": Sql.withTransaction(after(later))
    }
  }

  const worksAgain = eventually(
    "statements work again",
    Effect.map(Effect.exit(Sql.query("select 1 as n")), Exit.isSuccess)
  )

  for (const [how, wrapped] of ways) {
    it.effect(`statementTimeout ends the wait in every form on a frozen path (${how})`, () =>
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ target: yield* Server })
        const pool = { maxSize: 12, minIdle: 10, validateAfterIdle: "1 hour" } as const
        yield* onPool({ at: proxy, statementTimeout: "200 millis", pool }, () =>
          Effect.gen(function* () {
            yield* table("bounded", "id int")
            for (let n = 0; n < 20; n++) yield* Sql.query("select 1 as n")
            const isOpen = Effect.map(Sql.stats, ({ write }) => write.available >= 10)
            yield* eventually("connections are open", isOpen)
            const frozen = yield* Deferred.make<void>()
            let ready = 0
            const all = forms(
              Effect.zipRight(
                Effect.sync(() => ready++),
                Deferred.await(frozen)
              )
            )
            const names = Object.keys(all)
            const fibers = yield* Effect.forEach(names, (name) => Effect.forkDaemon(Effect.exit(wrapped(all[name]!))))
            const areReady = Effect.sync(() => ready === names.length)
            yield* eventually("all have come to where the path freezes", areReady)
            yield* proxy.blackhole()
            yield* Deferred.succeed(frozen, undefined)
            const waiting: Array<string> = []
            const allEnded = Effect.sync(() => fibers.every((fiber) => fiber.unsafePoll() !== null))
            yield* Effect.ignore(
              Effect.timeout(Effect.repeat(Effect.delay(allEnded, 10), { until: (all) => all }), 200 + PATIENCE + SLOW)
            )
            for (const [index, fiber] of fibers.entries()) {
              const name = names[index]!
              const exit = fiber.unsafePoll()
              if (exit === null) waiting.push(name)
              else assert.strictEqual(tagOf(Exit.flatten(exit)), "StatementTimeout", name)
            }
            yield* proxy.heal
            assert.deepStrictEqual(waiting, [])
            yield* worksAgain
            yield* booksBalance
          })
        )
      }).pipe(Effect.scoped)
    )
  }

  const soon = (connection: any) => connection.pipeline.timers.now() + 150

  const begin = (connection: any) =>
    Effect.forEach(driver.begin({}), (sql) => driver.execute(connection, sql, [], "command"), { discard: true })

  /** The forms that a driver knows: what comes before the wait, and the wait. */
  const ofDriver = (connection: any, slow: string) => {
    const execute = (before: ReadonlyArray<string>) =>
      Effect.suspend(() => driver.execute(connection, slow, [], "rows", before, soon(connection)))
    const stream = Effect.flatMap(
      Effect.suspend(() => driver.stream(connection, slow, [])),
      (cursor) => cursor.next(soon(connection))
    )
    return [
      ["a statement", Effect.void, execute([])],
      ["a statement with BEGIN", Effect.void, execute(driver.begin({}))],
      ["a statement in a transaction", begin(connection), execute([])],
      ["a stream", Effect.void, stream],
      ["a stream in a transaction", begin(connection), stream]
    ] as const
  }

  for (const [how, wrapped] of ways) {
    it.effect(
      `a deadline ends the wait for a slow statement, whose session goes on when it was cancelled (${how})`,
      () =>
        Effect.gen(function* () {
          const options = yield* optionsOf(unique("late"))
          for (let index = 0; index < 5; index++) {
            const connection = yield* connectionTo(options)
            const [name, start, wait] = ofDriver(connection, words.sleep(30))[index]!
            yield* start
            const error = yield* Effect.flip(wrapped(wait) as Effect.Effect<unknown, any>)
            assert.deepInclude(SqlReason.of(error), { _tag: "StatementTimeout", connection: "keep" }, name)
            assert.strictEqual(driver.status(connection), "busy", name)
            yield* driver.abort(connection)
            assert.include(["idle", "session", "transaction", "failed"], driver.status(connection), name)
            yield* driver.reset(connection)
            yield* driver.execute(connection, "select 1", [], "rows")
            assert.strictEqual(driver.status(connection), "idle", name)
          }
        }).pipe(Effect.scoped)
    )
  }

  it.effect("a deadline ends the wait on a frozen path", () =>
    Effect.gen(function* () {
      for (let index = 0; index < 5; index++) {
        const proxy = yield* FaultProxy.make({ target: yield* Server })
        const connection = yield* connectionTo(yield* optionsOf(unique("frozen"), proxy))
        const [name, start, wait] = ofDriver(connection, "select 1 as n")[index]!
        yield* start
        yield* proxy.blackhole()
        const onTimeout = () => new Error(`${name} waits`)
        const exit = yield* Effect.exit(Effect.timeoutFail(wait, { duration: SLOW, onTimeout }))
        assert.strictEqual(tagOf(exit), "StatementTimeout", name)
        yield* proxy.heal
      }
    }).pipe(Effect.scoped)
  )

  it.effect("a later piece of a stream has its own deadline, and the time between two pieces does not count", () =>
    Effect.gen(function* () {
      for (const isInside of [false, true]) {
        const proxy = yield* FaultProxy.make({ target: yield* Server })
        const connection = yield* connectionTo(yield* optionsOf(unique("pieces"), proxy))
        if (isInside) yield* begin(connection)
        // More than the sockets on the way hold.
        const large = `select i, '${"x".repeat(1_000)}' as t from ${words.series(50_000)}`
        const cursor = yield* driver.stream(connection, large, [])
        const inTime = Effect.suspend(() => cursor.next(soon(connection) + SLOW))
        assert.isNotEmpty(yield* inTime)
        yield* Effect.sleep(300)
        assert.isNotEmpty(yield* inTime)
        yield* proxy.blackhole()
        const rest = Effect.repeat(
          Effect.suspend(() => cursor.next(soon(connection))),
          { until: (rows) => rows.length === 0 }
        )
        const onTimeout = () => new Error("it waits")
        const exit = yield* Effect.exit(Effect.timeoutFail(rest, { duration: 2 * SLOW, onTimeout }))
        assert.strictEqual(tagOf(exit), "StatementTimeout")
        yield* proxy.heal
      }
    }).pipe(Effect.scoped)
  )

  it.effect("a packed read ends at its deadline, alone: those before and behind it get their answers", () =>
    Effect.gen(function* () {
      const connection = yield* connectionTo(yield* optionsOf(unique("packed")))
      const { owed, read } = reader(driver.packing, connection)
      yield* read("select 1 as n")
      const within = (sql: string, millis: number) =>
        Effect.withFiberRuntime<ReadonlyArray<any>, any>((fiber) =>
          Effect.async((resume) => {
            const until = connection.pipeline.timers.now() + millis
            driver.packing.start(connection, {
              sql,
              params: [],
              mode: "rows",
              fiber,
              interruptible: false,
              until,
              resume,
              answer: resume,
              again: undefined
            })
          })
        )
      const [before, late, behind] = yield* Effect.all(
        [read(words.sleep(0.3)), within("select 2 as n", 100), read("select 3 as n")].map(Effect.exit),
        { concurrency: "unbounded" }
      )
      assert.isTrue(Exit.isSuccess(before!))
      assert.strictEqual(tagOf(late!), "StatementTimeout")
      assert.deepStrictEqual(behind, Exit.succeed([{ n: 3 }]))
      assert.strictEqual(tagOf(yield* Effect.exit(within(words.sleep(30), 100))), "StatementTimeout")
      assert.deepStrictEqual(yield* read("select 4 as n"), [{ n: 4 }])
      const isIdle = Effect.sync(() => owed() === 0 && driver.status(connection) === "idle")
      yield* eventually("nothing is under way", isIdle)
    }).pipe(Effect.scoped)
  )

  it.effect("for a slow statement statementTimeout is the server's, and the session goes on", () =>
    onPool({ statementTimeout: "200 millis", pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const before = yield* session
        const streamed = Effect.flatMap(Sql.Sql, ({ client }) => Stream.runDrain(client.unsafe(words.sleep(20)).stream))
        const effects: ReadonlyArray<Effect.Effect<unknown, any, Sql.Sql>> = [
          sleep(20),
          Effect.uninterruptible(sleep(20)),
          Sql.withTransaction(sleep(20)),
          streamed,
          Sql.withTransaction(streamed)
        ]
        for (const effect of effects) {
          const error = yield* Effect.flip(effect)
          assert.deepInclude(SqlReason.of(error), { _tag: "StatementTimeout", connection: "keep" })
          yield* booksBalance
        }
        assert.strictEqual(yield* session, before)
      })
    )
  )

  it.effect("COMMIT is bounded by commitTimeout alone: it may take longer than a statement", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: yield* Server })
      yield* onPool({ at: proxy, statementTimeout: "200 millis", pool: { maxSize: 2 } }, () =>
        Effect.gen(function* () {
          yield* table("slowly", "id int")
          // COMMIT and its answer come 800 ms later each, which is longer than a statement may take.
          yield* Sql.withTransaction({ commitTimeout: "30 seconds" })(
            Effect.zipRight(insert("slowly", 1), proxy.delay("800 millis"))
          )
          yield* proxy.heal
          assert.deepStrictEqual(yield* rowsOf("slowly"), [1])
          const frozen = Sql.withTransaction({ commitTimeout: "150 millis" })(
            Effect.zipRight(insert("slowly", 2), proxy.blackhole())
          )
          assert.strictEqual(tagOf(yield* Effect.exit(frozen)), "CommitUnknown")
          yield* proxy.heal
          yield* worksAgain
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("a process that was held up takes the answers that have come meanwhile", () =>
    onPool({ statementTimeout: "2 seconds", pool: { maxSize: 5, minIdle: 5, validateAfterIdle: "1 hour" } }, (name) =>
      Effect.gen(function* () {
        for (let n = 0; n < 10; n++) yield* Sql.query("select 1 as n")
        const isOpen = Effect.map(Sql.stats, ({ write }) => write.available >= 5)
        yield* eventually("connections are open", isOpen)
        const slow = sleep(1.5)
        const streamed = Effect.flatMap(Sql.Sql, ({ client }) =>
          Stream.runCount(client.unsafe(words.sleep(1.5)).stream)
        )
        const fibers = yield* Effect.forEach(
          [
            slow,
            Sql.withConnection(Effect.zipRight(slow, session)),
            Sql.withTransaction(Effect.zipRight(slow, session)),
            streamed,
            Deadline.within("2 seconds")(slow)
          ] as ReadonlyArray<Effect.Effect<unknown, any, Sql.Sql>>,
          Effect.fork
        )
        // All are sent, and the timer that bounds them runs. Their answers come while the process does nothing else.
        yield* executing(name, "sleep", 5)
        // Right before the event loop looks at its timers: the answers come to light only after them.
        yield* Effect.async<void>((resume) => {
          setImmediate(() => {
            busyFor(2_000 + PATIENCE + 200)
            resume(Effect.void)
          })
        })
        for (const fiber of fibers) {
          const exit = yield* Fiber.await(fiber)
          assert.isTrue(Exit.isSuccess(exit), tagOf(exit))
        }
      })
    )
  )
})
