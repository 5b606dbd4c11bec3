import { assert, describe, it } from "@effect/vitest"
import * as Deadline from "@sluice/pool/Deadline"
import { Deferred, Effect, Exit, Fiber, FiberRef, TestClock } from "effect"
import * as Bounded from "../src/internal/session/bounded.js"
import { tick } from "./support/sql.js"

describe("abandonAt", () => {
  it.scoped("what is not done in time is interrupted and not awaited, each at its own instant", () =>
    Effect.gen(function* () {
      const timers = yield* Deadline.make
      const ended: Array<string> = []
      const stuck = Effect.onInterrupt(Effect.never, () => Effect.sync(() => ended.push("interrupted")))
      const bounded = (name: string, at: number) =>
        Effect.fork(
          Effect.map(Bounded.abandonAt(timers, at, Effect.uninterruptible(stuck), Effect.succeed(name)), (name) =>
            ended.push(name)
          )
        )
      yield* bounded("third", 300)
      yield* bounded("first", 100)
      yield* bounded("second", 200)
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(ended, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(ended, ["first"])
      yield* TestClock.adjust(1_000)
      assert.deepStrictEqual(ended, ["first", "second", "third"])
    })
  )

  it.scoped("it holds in a region that cannot be interrupted, and a hundred of them share one sleeping fiber", () =>
    Effect.gen(function* () {
      const timers = yield* Deadline.make
      let late = 0
      const counted = Effect.sync(() => late++)
      const fibers = yield* Effect.forEach(Array.from({ length: 100 }), () =>
        Effect.fork(Effect.uninterruptible(Bounded.abandonAt(timers, 100, Effect.never, counted)))
      )
      yield* tick
      assert.lengthOf(Array.from(yield* TestClock.sleeps()), 1)
      yield* Effect.forEach(fibers, Fiber.interruptFork)
      yield* tick
      assert.strictEqual(late, 0)
      yield* TestClock.adjust(100)
      yield* Fiber.awaitAll(fibers)
      assert.strictEqual(late, 100)
    })
  )

  it.scoped("what is done in time keeps its result, and no timer is left", () =>
    Effect.gen(function* () {
      const timers = yield* Deadline.make
      const result = yield* Bounded.abandonAt(timers, 100, Effect.succeed("done"), Effect.succeed("late"))
      assert.strictEqual(result, "done")
      const failed = yield* Effect.exit(Bounded.abandonAt(timers, 100, Effect.fail("no"), Effect.succeed("late")))
      assert.deepStrictEqual(failed, Exit.fail("no"))
    })
  )
})

describe("interruptAt", () => {
  it.scoped("what is not done in time is interrupted, and its finalizers are awaited", () =>
    Effect.gen(function* () {
      const timers = yield* Deadline.make
      const isClosed = yield* Deferred.make<void>()
      const work = Effect.ensuring(Effect.never, Deferred.await(isClosed))
      const fiber = yield* Effect.fork(Effect.flip(Bounded.interruptAt(timers, 100, work, () => "late" as const)))
      yield* TestClock.adjust(100)
      yield* tick
      assert.isNull(fiber.unsafePoll())
      yield* Deferred.succeed(isClosed, undefined)
      assert.strictEqual(yield* Fiber.join(fiber), "late")
    })
  )

  it.scoped("an interruption of the caller ends the work before it ends the caller", () =>
    Effect.gen(function* () {
      const timers = yield* Deadline.make
      for (let ops = 12; ops < 40; ops++) {
        let running = 0
        const work = Effect.acquireUseRelease(
          Effect.sync(() => running++),
          () => Effect.yieldNow().pipe(Effect.zipRight(Effect.never)),
          () => Effect.sync(() => running--)
        )
        const fiber = yield* Effect.fork(
          Effect.withMaxOpsBeforeYield(
            Bounded.interruptAt(timers, 1_000_000, work, () => "late"),
            ops
          )
        )
        for (let i = 0; i < ops % 9; i++) yield* Effect.yieldNow()
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
        assert.strictEqual(running, 0)
      }
    })
  )

  it.scoped("what is done in time keeps its result and what it has set for its fiber", () =>
    Effect.gen(function* () {
      const timers = yield* Deadline.make
      const ref = yield* FiberRef.make(0)
      const work = Effect.zipRight(FiberRef.set(ref, 1), Effect.succeed("done"))
      const result = yield* Bounded.interruptAt(timers, 100, work, () => "late")
      assert.deepStrictEqual([result, yield* FiberRef.get(ref)], ["done", 1])
    })
  )
})
