import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scope, TestClock } from "effect"
import * as Deadlines from "../src/internal/session/deadlines.js"

/** Work that ends when `finish` is called, or when it is too late; `ended` says which, in order. */
const work = (deadlines: Deadlines.Deadlines, name: string, millis: number, ended: Array<string>) =>
  Effect.gen(function* () {
    const done = yield* Deferred.make<string>()
    const end = (how: string) => Deferred.unsafeDone(done, Effect.succeed(`${name} ${how}`))
    const fiber = yield* Effect.fork(
      Effect.tap(
        Deadlines.bound(deadlines, millis, () => end("is late"), Deferred.await(done)),
        (how) => Effect.sync(() => ended.push(how))
      )
    )
    yield* Effect.yieldNow()
    return {
      fiber,
      finish: Effect.zipRight(
        Effect.sync(() => end("is done")),
        Fiber.join(fiber)
      )
    }
  })

const inScope = <A, E>(body: (deadlines: Deadlines.Deadlines) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const deadlines = Deadlines.make(scope)
    yield* body(deadlines)
    assert.strictEqual(deadlines.entries.size, 0)
    yield* Scope.close(scope, Exit.void)
  })

describe("deadlines", () => {
  it.effect("what is not done in time is told so, each at its own time, in whatever order they were added", () =>
    inScope((deadlines) =>
      Effect.gen(function* () {
        const ended: Array<string> = []
        yield* work(deadlines, "third", 300, ended)
        yield* work(deadlines, "first", 100, ended)
        yield* work(deadlines, "second", 200, ended)
        yield* TestClock.adjust(99)
        assert.deepStrictEqual(ended, [])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(ended, ["first is late"])
        yield* work(deadlines, "fourth", 300, ended)
        yield* TestClock.adjust(100)
        assert.deepStrictEqual(ended, ["first is late", "second is late"])
        yield* TestClock.adjust(1_000)
        assert.deepStrictEqual(ended.slice(2), ["third is late", "fourth is late"])
      })
    )
  )

  it.effect("what is done in time is never told, and the next one is watched again", () =>
    inScope((deadlines) =>
      Effect.gen(function* () {
        const ended: Array<string> = []
        const first = yield* work(deadlines, "first", 100, ended)
        yield* first.finish
        yield* TestClock.adjust(1_000)
        assert.deepStrictEqual(ended, ["first is done"])
        yield* work(deadlines, "second", 100, ended)
        yield* TestClock.adjust(100)
        assert.deepStrictEqual(ended, ["first is done", "second is late"])
      })
    )
  )

  it.effect("one fiber watches over all that have the same bound", () =>
    inScope((deadlines) =>
      Effect.gen(function* () {
        const ended: Array<string> = []
        const all = yield* Effect.forEach(
          Array.from({ length: 100 }, (_, i) => i),
          (i) => work(deadlines, `${i}`, 1_000, ended)
        )
        // Each of those that sleep is one entry of the clock.
        assert.lengthOf(Array.from(yield* TestClock.sleeps()), 1)
        yield* Effect.forEach(all, ({ finish }) => finish)
        assert.lengthOf(ended, 100)
      })
    )
  )
})
