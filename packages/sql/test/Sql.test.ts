import { assert, it } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { Clock, Deferred, Effect, Exit, Fiber, FiberId, Logger, Stream } from "effect"
import * as FakeDriver from "./support/fakeDriver.js"
import { idle, layer as on, played, texts, tick } from "./support/sql.js"

it.effect(
  "a transaction is BEGIN, its statements and COMMIT on one connection; nested ones are uniquely named savepoints",
  () => {
    const fake = FakeDriver.make()
    return Effect.gen(function* () {
      yield* Sql.withTransaction({ isolation: "serializable" })(
        Effect.all([Sql.query("a"), Sql.withTransaction(Sql.query("b")), Sql.withTransaction(Sql.query("c"))], {
          concurrency: "unbounded"
        })
      )
      assert.deepStrictEqual(texts(fake), [
        "SET serializable",
        "BEGIN",
        "a",
        "SAVEPOINT sluice_1",
        "b",
        "RELEASE SAVEPOINT sluice_1",
        "SAVEPOINT sluice_2",
        "c",
        "RELEASE SAVEPOINT sluice_2",
        "COMMIT"
      ])
      assert.lengthOf(fake.connections, 1)
      yield* idle
    }).pipe(Effect.provide(on(fake)))
  }
)

it.effect("a ROLLBACK that fails does not hide the body's failure; the connection is cleaned by the pool", () => {
  const fake = FakeDriver.make()
  fake.answers.set("ROLLBACK", "fail")
  const logs: Array<unknown> = []
  return Effect.gen(function* () {
    const exit = yield* Effect.exit(Sql.withTransaction(Effect.zipRight(Sql.query("a"), Effect.fail("mine"))))
    assert.deepStrictEqual(exit, Exit.fail("mine"))
    yield* idle
    assert.include(fake.connections[0]!.log, "(reset)")
    // Nobody left it open.
    assert.deepStrictEqual(logs, [])
    yield* Sql.withConnection(Sql.query("BEGIN"))
    yield* idle
    assert.lengthOf(logs, 1)
  }).pipe(Effect.provide(on(fake)), Effect.provide(Logger.add(Logger.make(({ message }) => void logs.push(message)))))
})

it.live("a transaction whose connection is not made ready in time was left open by nobody", () => {
  const fake = FakeDriver.make()
  fake.answers.set("a", "hang")
  const { abort } = fake.driver
  const isOver = Deferred.unsafeMake<void>(FiberId.none)
  const logs: Array<unknown> = []
  // The aborts of its user hang; then the pool's works.
  const driver: FakeDriver.Fake["driver"] = {
    ...fake.driver,
    abort: (connection) => Effect.zipRight(Deferred.await(isOver), abort(connection))
  }
  return Effect.gen(function* () {
    const body = Effect.zipRight(Effect.timeoutOption(Sql.query("a"), 10), Sql.query("b"))
    const error = yield* Effect.flip(Sql.withTransaction(Effect.zipRight(Sql.query("first"), body)))
    assert.strictEqual(SqlReason.of(error)._tag, "ConnectionLost")
    yield* Deferred.succeed(isOver, undefined)
    yield* idle
    assert.include(fake.connections[0]!.log, "(reset)")
    assert.deepStrictEqual(logs, [])
  }).pipe(
    Effect.provide(on({ ...fake, driver }, { pool: { abortTimeout: "100 millis" } })),
    Effect.provide(Logger.add(Logger.make(({ message }) => void logs.push(message))))
  )
})

it.effect("a BEGIN or SAVEPOINT that fails is a typed failure, and the body does not run", () => {
  const fake = FakeDriver.make()
  return Effect.gen(function* () {
    for (const text of ["BEGIN", "SAVEPOINT sluice_1"]) {
      fake.answers.set(text, "fail")
      const exit = yield* Effect.exit(Sql.withTransaction(Sql.withTransaction(Sql.query("body"))))
      assert.deepStrictEqual(Exit.isFailure(exit) && exit.cause._tag, "Fail")
      fake.answers.clear()
      yield* idle
    }
    assert.notInclude(texts(fake), "body")
  }).pipe(Effect.provide(on(fake)))
})

it.effect("a COMMIT that is answered with ROLLBACK is a failure", () => {
  const fake = FakeDriver.make()
  fake.answers.set("COMMIT", "ROLLBACK")
  return Effect.gen(function* () {
    const error = yield* Effect.flip(Sql.withTransaction(Sql.query("a")))
    assert.strictEqual(SqlReason.of(error)._tag, "TransactionAborted")
    yield* idle
  }).pipe(Effect.provide(on(fake)))
})

it.effect("a read goes to the primary when a replica gives no connection, and never after it was sent", () => {
  const fake = FakeDriver.make()
  fake.down.add("replica")
  return Effect.gen(function* () {
    // The first one may still wait for the replica; the clock of this test does not move, so it must not.
    const first = yield* Effect.fork(Sql.read(Sql.query<{ host: string }>("a")))
    while (first.unsafePoll() === null) {
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* Effect.yieldNow()
      if ((yield* Sql.stats).read[0]!.connectFailures > 0) break
    }
    assert.strictEqual((yield* Sql.read(Sql.query<{ host: string }>("b")))[0]!.host, "primary")
    yield* Fiber.interrupt(first)
    fake.answers.set("bad", "fail")
    yield* Effect.flip(Sql.read(Sql.query("bad")))
    assert.lengthOf(
      texts(fake).filter((text) => text === "bad"),
      1
    )
  }).pipe(Effect.provide(on(fake, { replicas: ["replica"] })))
})

it.effect("a stream on a pin: other statements take another connection meanwhile, and the pin afterwards", () => {
  const fake = FakeDriver.make()
  return Effect.gen(function* () {
    const { client } = yield* Sql.Sql
    const seen: Array<number> = []
    const query = Effect.map(Sql.query<{ connection: number }>("q"), (rows) => seen.push(rows[0]!.connection))
    yield* Effect.gen(function* () {
      yield* query
      yield* Stream.runForEach(client`s`.stream, () => query)
      yield* query
    }).pipe(Sql.withConnection)
    assert.deepStrictEqual(seen, [0, 1, 1, 1, 0])
    yield* idle
  }).pipe(Effect.provide(on(fake)))
})

it.effect("BEGIN goes with the first statement: a transaction without one sends nothing", () => {
  const fake = FakeDriver.make()
  return Effect.gen(function* () {
    assert.strictEqual(yield* Sql.withTransaction(Effect.succeed(1)), 1)
    yield* Effect.flip(Sql.withTransaction(Effect.fail("mine")))
    assert.deepStrictEqual(texts(fake), [])
    yield* Effect.gen(function* () {
      yield* Sql.withTransaction(Effect.void)
      yield* Effect.exit(Sql.withTransaction(Effect.fail("mine")))
      yield* Sql.query("a")
      yield* Sql.withTransaction(Sql.query("b"))
    }).pipe(Sql.withConnection)
    assert.deepStrictEqual(texts(fake), ["a", "BEGIN", "b", "COMMIT"])
    yield* idle
  }).pipe(Effect.provide(on(fake)))
})

it.effect(
  "a BEGIN that was refused is sent again with the next statement: none runs outside of the transaction",
  () => {
    const fake = FakeDriver.make()
    fake.failures.set("BEGIN", [FakeDriver.failure("not now")])
    return Effect.gen(function* () {
      yield* Sql.withTransaction(Effect.zipRight(Effect.exit(Sql.query("a")), Sql.query("b")))
      assert.deepStrictEqual(texts(fake), ["BEGIN", "BEGIN", "b", "COMMIT"])
      yield* idle
    }).pipe(Effect.provide(on(fake)))
  }
)

it.effect("a first statement that is left is aborted, and the transaction goes on inside of its BEGIN", () => {
  const fake = FakeDriver.make()
  fake.answers.set("a", "hang")
  return Effect.gen(function* () {
    const left = Effect.gen(function* () {
      const fiber = yield* Effect.fork(Sql.query("a"))
      yield* Effect.repeat(Effect.yieldNow(), { until: () => texts(fake).includes("a") })
      yield* Fiber.interrupt(fiber)
    })
    const exit = yield* Effect.exit(
      Sql.withTransaction(Effect.zipRight(left, Sql.query("b"))).pipe(Effect.withClock(Clock.make()))
    )
    // The cancelled statement has made the transaction useless; what matters is that nothing was sent beside it.
    assert.deepStrictEqual(texts(fake).slice(0, 3), ["BEGIN", "a", "b"])
    assert.isTrue(Exit.isFailure(exit))
    yield* idle
  }).pipe(Effect.provide(on(fake)))
})

it.effect("a template keeps its text only where nothing but parameters is put into it", () => {
  const fake = FakeDriver.make()
  return Effect.gen(function* () {
    const { client: sql } = yield* Sql.Sql
    const find = (what: any) => sql`select * from t where ${what}`
    for (const [what, text, params] of [
      [1, "select * from t where ?", [1]],
      [sql`a = ${2}`, "select * from t where a = ?", [2]],
      [sql("b"), 'select * from t where "b"', []],
      [new Date(3), "select * from t where ?", [new Date(3)]],
      [sql.in([4, 5]), "select * from t where (?,?)", [4, 5]],
      [undefined, "select * from t where ?", [undefined]]
    ] as const) {
      assert.deepStrictEqual(find(what).compile(), [text, params])
      fake.log.length = 0
      yield* find(what)
      assert.deepStrictEqual(texts(fake), [text])
    }
    yield* idle
  }).pipe(Effect.provide(on(fake)))
})

it.effect("an error of the pool names the span of the program, and none of ours", () => {
  const fake = FakeDriver.make()
  return Effect.gen(function* () {
    const holds = Effect.zipRight(Sql.query("a"), Effect.never)
    for (const around of [Sql.withTransaction(holds), Sql.withConnection(holds)]) {
      const holder = yield* Effect.fork(Effect.withSpan(around, "sync"))
      for (let i = 0; i < 10; i++) yield* tick
      const error = yield* played(Effect.flip(Sql.withAcquireTimeout("100 millis")(Sql.query("b"))))
      assert.include(error.message, '"sync"')
      assert.notInclude(error.message, "sql.")
      yield* Fiber.interrupt(holder)
      yield* idle
    }
  }).pipe(Effect.provide(on(fake, { pool: { maxSize: 1 } })))
})
