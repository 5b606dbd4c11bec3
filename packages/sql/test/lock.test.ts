import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import * as Lane from "../src/internal/session/lock.js"

const run = <A, E>(lane: Lane.Lane, effect: Effect.Effect<A, E>, after?: () => void) =>
  Lane.run(
    lane,
    (restore) => restore(effect),
    () => {
      Lane.release(lane)
      after?.()
      return undefined
    }
  )

it.effect("a lane is handed on in the order of asking, one at a time", () =>
  Effect.gen(function* () {
    const lane = Lane.make()
    const order: Array<number> = []
    let inside = 0
    yield* Effect.forEach(
      [0, 1, 2, 3, 4],
      (i) =>
        run(
          lane,
          Effect.gen(function* () {
            assert.strictEqual(++inside, 1)
            yield* Effect.yieldNow()
            order.push(i)
            inside--
          })
        ),
      { concurrency: "unbounded" }
    )
    assert.deepStrictEqual(order, [0, 1, 2, 3, 4])
    assert.isFalse(lane.held)
  })
)

it.effect("a failure, a defect and an interruption hand it on too, and after runs each time", () =>
  Effect.gen(function* () {
    const lane = Lane.make()
    let after = 0
    const count = () => void after++
    for (const effect of [Effect.fail("no"), Effect.die("bug"), Effect.interrupt]) {
      assert.isTrue(Exit.isFailure(yield* Effect.exit(run(lane, effect, count))))
    }
    assert.isFalse(lane.held)
    assert.strictEqual(after, 3)
  })
)

it.effect("a waiter that is interrupted at any moment leaves the lane usable", () =>
  Effect.gen(function* () {
    for (let step = 0; step < 60; step++) {
      const lane = Lane.make()
      const free = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(run(lane, Deferred.await(free)))
      yield* Effect.yieldNow()
      const waiter = yield* Effect.fork(
        Effect.withMaxOpsBeforeYield(
          Effect.scoped(
            Effect.zipRight(
              Lane.hold(lane, () => {}),
              Effect.yieldNow()
            )
          ),
          12
        )
      )
      for (let i = 0; i < step % 10; i++) yield* Effect.yieldNow()
      yield* Deferred.succeed(free, undefined)
      for (let i = 0; i < step / 10; i++) yield* Effect.yieldNow()
      yield* Fiber.interrupt(waiter)
      yield* Fiber.join(holder)
      assert.isFalse(lane.held)
      assert.lengthOf(lane.waiters, 0)
    }
  })
)

it.effect("whoever was handed the lane and leaves before it has begun runs after too: nobody else will", () =>
  Effect.gen(function* () {
    const ways: Record<string, (lane: Lane.Lane, after: () => void) => Effect.Effect<void>> = {
      run: (lane, after) => run(lane, Effect.void, after),
      hold: (lane, after) => Effect.scoped(Lane.hold(lane, after))
    }
    for (const [way, take] of Object.entries(ways)) {
      const lane = Lane.make()
      let isClosed = false
      let given = 0
      const after = () => void (isClosed && !lane.held && given++)
      const free = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(run(lane, Deferred.await(free), after))
      yield* Effect.yieldNow()
      const waiter = yield* Effect.fork(take(lane, after))
      yield* Effect.yieldNow()
      assert.lengthOf(lane.waiters, 1)
      // The holder hands it on, the last one who could look has looked, and the waiter is interrupted before it runs.
      yield* Deferred.succeed(free, undefined)
      while (lane.waiters.length > 0) yield* Effect.yieldNow()
      isClosed = true
      yield* Fiber.interrupt(waiter)
      yield* Fiber.join(holder)
      assert.isFalse(lane.held, way)
      assert.strictEqual(given, 1, way)
    }
  })
)
