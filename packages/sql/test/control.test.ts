import { assert, it } from "@effect/vitest"
import * as Deadline from "@sluice/pool/Deadline"
import { Deferred, Effect, Exit, Fiber, Scope, TestClock } from "effect"
import * as Control from "../src/internal/routing/control.js"
import * as FakeDriver from "./support/fakeDriver.js"

const setup = Effect.gen(function* () {
  const fake = FakeDriver.make()
  const control = yield* Control.make(fake.driver, "host", 2_000, yield* Deadline.make)
  const open = () => fake.connections.filter(({ state }) => state !== "dead").length
  const run = (sql: string) => control.run((connection) => fake.driver.execute(connection, sql, [], "command"))
  return { fake, control, open, run }
})

it.scoped("a control connection is opened when it is needed, used by one at a time, and kept for the next", () =>
  Effect.gen(function* () {
    const { fake, open, run, control } = yield* setup
    assert.strictEqual(fake.connections.length, 0)
    let users = 0
    yield* Effect.forEach(
      Array.from({ length: 20 }),
      () =>
        control.run(() =>
          Effect.gen(function* () {
            assert.strictEqual(++users, 1)
            yield* Effect.yieldNow()
            users--
          })
        ),
      { concurrency: "unbounded" }
    )
    yield* run("KILL")
    assert.strictEqual(open(), 1)
    assert.deepStrictEqual(control.stats(), { open: 1, connects: 1 })
  })
)

it.scoped("it is closed when nobody has needed it for ten seconds, and opened again", () =>
  Effect.gen(function* () {
    const { open, run, control } = yield* setup
    yield* run("KILL")
    yield* TestClock.adjust("9 seconds")
    yield* run("KILL")
    yield* TestClock.adjust("9 seconds")
    assert.strictEqual(open(), 1)
    yield* TestClock.adjust("2 seconds")
    assert.strictEqual(open(), 0)
    yield* run("KILL")
    assert.deepStrictEqual(control.stats(), { open: 1, connects: 2 })
    yield* TestClock.adjust("1 minute")
    assert.strictEqual(open(), 0)
  })
)

it.scoped("a caller that uses it for longer than the bound loses it, and so does one that leaves it in use", () =>
  Effect.gen(function* () {
    const { fake, open, run, control } = yield* setup
    fake.answers.set("STUCK", "hang")
    const late = yield* Effect.fork(Effect.flip(run("STUCK")))
    const next = yield* Effect.fork(run("KILL"))
    yield* TestClock.adjust("2 seconds")
    assert.match((yield* Fiber.join(late)).message, /no answer within 2000 ms/)
    yield* Fiber.join(next)
    assert.deepStrictEqual([open(), control.stats().connects], [1, 2])
    const left = yield* Effect.fork(run("STUCK"))
    yield* Effect.yieldNow()
    yield* Fiber.interrupt(left)
    assert.deepStrictEqual(control.stats(), { open: 0, connects: 2 })
    yield* run("KILL")
    assert.strictEqual(open(), 1)
    // Nor is one used that has died meanwhile.
    fake.connections.at(-1)!.state = "dead"
    yield* run("KILL")
    assert.deepStrictEqual([open(), control.stats().connects], [1, 4])
  })
)

it.scoped("a server that refuses it fails its user alone, and nothing is left", () =>
  Effect.gen(function* () {
    const { fake, run, control } = yield* setup
    fake.down.add("host")
    assert.match((yield* Effect.flip(run("KILL"))).message, /host is down/)
    assert.deepStrictEqual(control.stats(), { open: 0, connects: 0 })
    fake.down.clear()
    yield* run("KILL")
  })
)

it.live("it ends with its scope, also while it is used, and interrupted at any moment it is never two", () =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const { fake, open, run, control } = yield* Scope.extend(setup, scope)
    for (let ops = 12; ops < 60; ops++) {
      const gate = yield* Deferred.make<void>()
      const fiber = yield* control
        .run((connection) =>
          Effect.zipRight(Deferred.await(gate), fake.driver.execute(connection, "KILL", [], "command"))
        )
        .pipe(Effect.withMaxOpsBeforeYield(ops), Effect.fork)
      for (let i = 0; i < ops % 7; i++) yield* Effect.yieldNow()
      if (ops % 2 === 0) yield* Deferred.succeed(gate, undefined)
      yield* Fiber.interrupt(fiber)
      assert.isAtMost(open(), 1)
      assert.strictEqual(open(), control.stats().open)
    }
    yield* run("KILL")
    assert.strictEqual(open(), 1)
    yield* Scope.close(scope, Exit.void)
    assert.strictEqual(open(), 0)
  })
)
