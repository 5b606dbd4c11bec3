/**
 * Everything that takes a connection, interrupted at every step that it takes. Afterwards every connection is given back and
 * clean, no lock is held and no statement was sent on a busy connection (the fake dies of that), and the same program runs to
 * its end.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deadline from "@sluice/pool/Deadline"
import { Sql, SqlReason } from "@sluice/sql"
import { Clock, Effect, Exit, Fiber, Random, Schedule, Stream } from "effect"
import * as Control from "../src/internal/routing/control.js"
import * as FakeDriver from "./support/fakeDriver.js"
import { clean, idle, layer, tick } from "./support/sql.js"

const stream = (text: string) => Effect.map(Sql.Sql, ({ client }) => client.unsafe(text).stream).pipe(Stream.unwrap)

const reserved = <A, E, R>(f: (run: (text: string) => Effect.Effect<unknown, unknown>) => Effect.Effect<A, E, R>) =>
  Effect.scoped(
    Effect.flatMap(Sql.Sql, ({ client }) =>
      Effect.flatMap(client.reserve, (connection) => f((text) => connection.executeRaw(text, [])))
    )
  )

/**
 * At once. A concurrent `Effect.all` will not do: the one of Effect 3.22 never ends when it is interrupted between its own yield
 * and the start of its children.
 */
const together = <A, E, R>(...effects: ReadonlyArray<Effect.Effect<A, E, R>>) =>
  Effect.flatMap(Effect.forEach(effects, Effect.fork), (fibers) => Effect.forEach(fibers, Fiber.join))

const inTransaction = Effect.gen(function* () {
  yield* Sql.query("b")
  yield* Effect.ignore(Sql.withTransaction(Effect.zipRight(Sql.query("c"), Effect.fail("no"))))
  yield* together(Sql.withTransaction(Sql.query("d")), Sql.query("e"))
  yield* Stream.runDrain(stream("s"))
})

const mixed = Effect.gen(function* () {
  yield* Sql.query("a")
  yield* Sql.withTransaction(inTransaction)
  yield* Stream.runDrain(Stream.take(stream("t"), 1))
})

const withinTime = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Sql.withDeadline(now + 1_000_000)(effect))

const programs: Record<string, Effect.Effect<unknown, unknown, Sql.Sql>> = {
  statements: together(Sql.query("a"), Sql.query("b"), Sql.query("c")),
  "statements with a deadline": withinTime(Effect.zipRight(Sql.query("a"), Sql.query("b"))),
  "reads that their replicas do not serve": Sql.read(together(Sql.query("a"), Sql.query("b"), Sql.query("c"))),
  "a pin": Sql.withConnection(together(Sql.query("a"), Sql.read(Sql.query("b")), Sql.query("c"))),
  "a pin for reading that is exchanged": Sql.read(
    Sql.withConnection(Effect.zipRight(Sql.query("a"), Sql.write(Sql.query("b"))))
  ),
  "a pin whose fibers outlive it": Effect.gen(function* () {
    const fiber = yield* Sql.withConnection(
      Effect.zipRight(Sql.query("a"), Effect.fork(Effect.zipRight(Sql.query("b"), Sql.query("c"))))
    )
    yield* Fiber.join(fiber)
  }),
  "a reserved connection": reserved((run) => Effect.zipRight(run("a"), run("b"))),
  "two reserved connections": reserved((one) => reserved((two) => Effect.zipRight(one("a"), two("b")))),
  "a stream": Stream.runDrain(stream("s")),
  "a part of a stream": Stream.runDrain(Stream.take(stream("s"), 1)),
  "a stream on a pin, with statements between": Sql.withConnection(
    Effect.zipRight(
      Sql.query("a"),
      Stream.runForEach(stream("s"), () => Sql.query("b"))
    )
  ),
  "two streams on one pin": Sql.withConnection(together(Stream.runDrain(stream("s")), Stream.runDrain(stream("t")))),
  "a stream in a transaction, with statements between": Sql.withTransaction(
    Stream.runForEach(stream("s"), () => Sql.query("b"))
  ),
  "a transaction": Sql.withTransaction(inTransaction),
  "a transaction with a timeout": Sql.withTransaction({ timeout: 1_000_000 })(inTransaction),
  "a transaction on a pin with a deadline": withinTime(
    Sql.withConnection(Effect.zipRight(Sql.query("a"), Sql.withTransaction(inTransaction)))
  ),
  "a transaction that fails": Effect.ignore(Sql.withTransaction(Effect.zipRight(inTransaction, Effect.fail("mine")))),
  "statements that are tried again": Effect.zipRight(Effect.ignore(Sql.query("unsent")), Sql.query("a")),
  "work that is tried again": Effect.ignore(
    Sql.retry(Schedule.recurs(3))(Sql.withConnection(Effect.zipRight(Sql.query("a"), Sql.query("unsent"))))
  ),
  "a transaction that is tried again": Effect.ignore(
    Sql.withTransaction({ retry: Schedule.recurs(3), timeout: 1_000_000 })(
      Effect.zipRight(Sql.query("a"), Sql.query("conflict"))
    )
  ),
  mixed,
  "all of it on one pin": Sql.withConnection(mixed),
  "statements between hooks": together(Sql.query("a"), Sql.query("b"), Sql.query("c")),
  "all of it between hooks": mixed
}

const error = (text: string) =>
  text === "unsent"
    ? SqlReason.toError(
        SqlReason.make("ConnectionLost", { connection: "keep", outcome: "none", retry: "always" }),
        text
      )
    : SqlReason.toError(SqlReason.make("Deadlock", { outcome: "rolledBack", retry: "transaction" }), text)

describe.each(Object.entries(programs))("interrupted at any moment: %s", (name, program) => {
  it.effect("everything goes back clean, and it works the next time", () => {
    const fake = FakeDriver.make()
    if (name.startsWith("reads")) fake.down.add("replica")
    // Pauses between runs would need time to pass.
    const run = Effect.withRandom(program, Random.fixed([0]))
    const failing = Effect.sync(() => {
      for (const text of ["unsent", "conflict"]) fake.failures.set(text, [error(text), error(text)])
    })
    const pool = { maxSize: 3, acquireTimeout: "1 hour" as const }
    const calls = { acquired: 0, released: 0 }
    const counts = (call: keyof typeof calls) => () =>
      Effect.zipRight(
        Effect.sync(() => calls[call]++),
        Effect.yieldNow()
      )
    const hooks = {
      onConnect: () => Effect.yieldNow(),
      beforeAcquire: () => Effect.yieldNow(),
      afterAcquire: counts("acquired"),
      afterRelease: counts("released"),
      beforeClose: () => Effect.yieldNow()
    }
    return Effect.gen(function* () {
      let finished = 0
      for (let ops = 11; ops < 18; ops++) {
        for (let step = 0; step < 40; step++) {
          yield* failing
          const fiber = yield* Effect.fork(Effect.withMaxOpsBeforeYield(run, ops))
          for (let i = 0; i < step; i++) yield* step % 2 === 0 ? tick : Effect.yieldNow()
          const exit = yield* Fiber.interrupt(fiber)
          if (Exit.isSuccess(exit)) finished++
          else assert.isTrue(Exit.isInterrupted(exit), String(exit.cause))
          yield* idle
          clean(fake)
          // A hook runs in a fiber of its own, which yields as often as the one of its caller.
          for (let i = 0; i < 50 && calls.released !== calls.acquired; i++) yield* tick
          assert.strictEqual(calls.released, calls.acquired)
          // The rest of the steps would interrupt nothing.
          if (Exit.isSuccess(exit) && step % 2 === 0 && !name.startsWith("reads")) break
        }
      }
      yield* failing
      if (!name.startsWith("reads")) {
        assert.isAbove(finished, 0, "some runs have seen their end, so every step was tried")
        yield* run
      }
      assert.isAtMost(fake.connections.filter(({ state }) => state !== "dead").length, 6)
    }).pipe(
      Effect.provide(
        layer(fake, {
          replicas: name.includes("read") ? ["replica"] : [],
          pool,
          ...(name.includes("hooks") ? { hooks } : {})
        })
      )
    )
  })
})

describe("interrupted at any moment: the control connection", () => {
  it.live("it is never two, and never left busy or open after its scope", () =>
    Effect.gen(function* () {
      const fake = FakeDriver.make()
      const open = () => fake.connections.filter(({ state }) => state !== "dead").length
      yield* Effect.scoped(
        Effect.gen(function* () {
          const control = yield* Control.make(fake.driver, "host", 1_000_000, yield* Deadline.make)
          const run = control.run((connection) => fake.driver.execute(connection, "KILL", [], "command"))
          const both = together(run, run)
          for (let ops = 11; ops < 18; ops++) {
            for (let step = 0; step < 40; step++) {
              const fiber = yield* Effect.fork(Effect.withMaxOpsBeforeYield(both, ops))
              for (let i = 0; i < step; i++) yield* step % 2 === 0 ? tick : Effect.yieldNow()
              const exit = yield* Fiber.interrupt(fiber)
              assert.isAtMost(open(), 1)
              assert.strictEqual(open(), control.stats().open)
              clean(fake)
              if (Exit.isSuccess(exit)) break
            }
          }
          yield* both
          assert.strictEqual(open(), 1)
        })
      )
      assert.strictEqual(open(), 0)
    })
  )
})
