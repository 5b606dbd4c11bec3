import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import * as Lock from "../src/internal/session/lock.js"

const run = <A, E>(lock: Lock.Lock, effect: Effect.Effect<A, E>, after?: () => void) =>
  Lock.run(
    lock,
    (restore) => restore(effect),
    () => {
      Lock.release(lock)
      after?.()
      return undefined
    }
  )

it.effect("a lock is handed on in the order of asking, one at a time", () =>
  Effect.gen(function* () {
    const lock = Lock.make()
    const order: Array<number> = []
    let inside = 0
    yield* Effect.forEach(
      [0, 1, 2, 3, 4],
      (i) =>
        run(
          lock,
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
    assert.isFalse(lock.held)
  })
)

it.effect("a failure, a defect and an interruption hand it on too, and after runs each time", () =>
  Effect.gen(function* () {
    const lock = Lock.make()
    let after = 0
    const count = () => void after++
    for (const effect of [Effect.fail("no"), Effect.die("bug"), Effect.interrupt]) {
      assert.isTrue(Exit.isFailure(yield* Effect.exit(run(lock, effect, count))))
    }
    assert.isFalse(lock.held)
    assert.strictEqual(after, 3)
  })
)

it.effect("a waiter that is interrupted at any moment leaves the lock usable", () =>
  Effect.gen(function* () {
    for (let step = 0; step < 60; step++) {
      const lock = Lock.make()
      const free = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(run(lock, Deferred.await(free)))
      yield* Effect.yieldNow()
      const waiter = yield* Effect.fork(
        Effect.withMaxOpsBeforeYield(
          Effect.scoped(
            Effect.zipRight(
              Lock.hold(lock, () => {}),
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
      assert.isFalse(lock.held)
      assert.lengthOf(lock.waiters, 0)
    }
  })
)

it.effect("whoever was handed the lock and leaves before it has begun runs after too: nobody else will", () =>
  Effect.gen(function* () {
    const ways: Record<string, (lock: Lock.Lock, after: () => void) => Effect.Effect<void>> = {
      run: (lock, after) => run(lock, Effect.void, after),
      hold: (lock, after) => Effect.scoped(Lock.hold(lock, after))
    }
    for (const [way, take] of Object.entries(ways)) {
      const lock = Lock.make()
      let isClosed = false
      let given = 0
      const after = () => void (isClosed && !lock.held && given++)
      const free = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(run(lock, Deferred.await(free), after))
      yield* Effect.yieldNow()
      const waiter = yield* Effect.fork(take(lock, after))
      yield* Effect.yieldNow()
      assert.lengthOf(lock.waiters, 1)
      // The holder hands it on, the last one who could look has looked, and the waiter is interrupted before it runs.
      yield* Deferred.succeed(free, undefined)
      while (lock.waiters.length > 0) yield* Effect.yieldNow()
      isClosed = true
      yield* Fiber.interrupt(waiter)
      yield* Fiber.join(holder)
      assert.isFalse(lock.held, way)
      assert.strictEqual(given, 1, way)
    }
  })
)
