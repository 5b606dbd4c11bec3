import { assert, describe, it } from "@effect/vitest"
import { Clock, type Duration, Effect, Exit, Fiber, Layer, Scope, TestClock } from "effect"
import { Deadline } from "../src/index.js"

/** A live clock whose wall time a test can set back and forward. */
const stepping = () => {
  const live = Clock.make()
  let step = 0
  const clock: Clock.Clock = Object.assign(Object.create(live), {
    unsafeCurrentTimeMillis: () => live.unsafeCurrentTimeMillis() + step,
    unsafeCurrentTimeNanos: () => live.unsafeCurrentTimeNanos(),
    sleep: (duration: Duration.Duration) => live.sleep(duration),
    constructor: Object
  })
  return {
    clock,
    step: (millis: number) =>
      Effect.sync(() => {
        step += millis
      })
  }
}

/** Sets one timer for each of these rests, and says when which has fired. */
const timersAt = (rests: ReadonlyArray<number>) =>
  Effect.gen(function* () {
    const timers = yield* Deadline.make
    const began = timers.now()
    const fired: Array<number> = []
    const set = rests.map((rest) => timers.set(began + rest, () => fired.push(rest)))
    return { timers, fired, set }
  })

/** Without sleeping longer than needed: what is to happen happens in the end. */
const until = (condition: () => boolean) =>
  Effect.repeat(Effect.sleep(1), { until: () => condition() }).pipe(Effect.withClock(Clock.make()))

describe("timers", () => {
  it.scoped("fire once each, in the order of their instants, whatever the order of setting", () =>
    Effect.gen(function* () {
      const { fired } = yield* timersAt([50, 10, 40, 10.5, 20, 30])
      yield* TestClock.adjust(25)
      assert.deepStrictEqual(fired, [10, 10.5, 20])
      yield* TestClock.adjust(1_000)
      assert.deepStrictEqual(fired, [10, 10.5, 20, 30, 40, 50])
    })
  )

  it.scoped("never fire before their instant", () =>
    Effect.gen(function* () {
      const { fired } = yield* timersAt([100])
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(fired, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(fired, [100])
    })
  )

  it.scoped("that are cancelled do not fire, the others do; cancelling twice, or too late, does nothing", () =>
    Effect.gen(function* () {
      const rests = Array.from({ length: 100 }, (_, i) => ((i * 37) % 100) + 1)
      const { fired, set } = yield* timersAt(rests)
      set.forEach((timer, i) => {
        if (rests[i]! % 3 === 0) timer.cancel()
      })
      set[2]!.cancel()
      set[2]!.cancel()
      yield* TestClock.adjust(1_000)
      const expected = rests.filter((rest, i) => rest % 3 !== 0 && i !== 2).sort((a, b) => a - b)
      assert.deepStrictEqual(fired, expected)
      for (const timer of set) timer.cancel()
    })
  )

  it.scoped("fire in order also when many are set and cancelled at random", () =>
    Effect.gen(function* () {
      // A busy machine tries fewer.
      const end = performance.now() + 20_000
      for (let seed = 1; seed <= 20 && (seed === 1 || performance.now() < end); seed++) {
        let state = seed
        const random = (below: number) => {
          state = (state * 48_271) % 2_147_483_647
          return state % below
        }
        const rests = Array.from({ length: 200 }, () => 1 + random(10_000))
        const { fired, set } = yield* timersAt(rests)
        const left = rests.filter((_, i) => {
          if (random(2) === 0) return true
          set[i]!.cancel()
          return false
        })
        yield* TestClock.adjust(10_001)
        assert.deepStrictEqual(
          fired,
          left.sort((a, b) => a - b),
          `seed ${seed}`
        )
      }
    })
  )

  it.scoped("may set further ones when they fire, and those fire too", () =>
    Effect.gen(function* () {
      const timers = yield* Deadline.make
      const fired: Array<string> = []
      timers.set(timers.now() + 10, () => {
        fired.push("first")
        timers.set(timers.now() + 10, () => fired.push("second"))
        timers.set(timers.now() - 10, () => fired.push("due already"))
      })
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(fired, ["first", "due already"])
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(fired, ["first", "due already", "second"])
    })
  )

  it.effect("do not fire when their scope has closed, nor when they are set after that", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { fired, timers } = yield* Scope.extend(timersAt([10]), scope)
      yield* Scope.close(scope, Exit.void)
      timers.set(timers.now() + 20, () => fired.push(20))
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(fired, [])
    })
  )

  it.scoped("are those of the program where it provides some, else new ones", () =>
    Effect.gen(function* () {
      const [one, another] = yield* Effect.all([Deadline.ofContext, Deadline.ofContext]).pipe(
        Effect.provide(Layer.fresh(Deadline.layer))
      )
      assert.strictEqual(one, another)
      assert.notStrictEqual(yield* Deadline.ofContext, yield* Deadline.ofContext)
    })
  )

  it.scoped("are shared by all that an effect makes, and with the program where it provides some", () =>
    Effect.gen(function* () {
      const both = Deadline.shared(Effect.all([Deadline.ofContext, Deadline.ofContext]))
      const [one, another] = yield* both
      assert.strictEqual(one, another)
      const provided = yield* Deadline.make
      const inside = yield* Effect.provideService(both, Deadline.Timers, provided)
      assert.deepStrictEqual(inside, [provided, provided])
    })
  )

  for (const hours of [-1, 1]) {
    it.live(`F30: neither earlier nor later when the wall clock steps ${hours} h while they wait`, () => {
      const { clock, step } = stepping()
      return Effect.gen(function* () {
        const timers = yield* Deadline.make
        const began = performance.now()
        let firedAfter = 0
        timers.set(timers.now() + 60, () => {
          firedAfter = performance.now() - began
        })
        yield* step(hours * 3_600_000)
        yield* until(() => firedAfter > 0)
        assert.isAtLeast(firedAfter, 60)
        assert.isBelow(firedAfter, 30_000)
      }).pipe(Effect.scoped, Effect.withClock(clock))
    })
  }

  it.live("that are late because the process did not run let the event loop read what has arrived meanwhile", () =>
    Effect.gen(function* () {
      const timers = yield* Deadline.make
      const seen: Array<string> = []
      // Both are due while the process does not run; what the event loop brings then cancels the first.
      const bounded = timers.set(timers.now() + 20, () => seen.push("too late"))
      timers.set(timers.now() + 20, () => seen.push("fired"))
      yield* Effect.yieldNow()
      const began = performance.now()
      while (performance.now() - began < 150);
      assert.isTrue(timers.isLate())
      // As an answer that lies in a socket: it comes after the timers of this turn of the loop.
      setTimeout(
        () =>
          setImmediate(() => {
            seen.push("answer")
            bounded.cancel()
          }),
        0
      )
      yield* until(() => seen.includes("fired"))
      assert.deepStrictEqual(seen, ["answer", "fired"])
      assert.isFalse(timers.isLate())
    }).pipe(Effect.scoped)
  )
})

describe("a deadline", () => {
  const current = Effect.map(Effect.context<never>(), Deadline.currentIn)

  it.effect("is never without one, and the earlier of two", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* current, Deadline.never)
      const now = Deadline.nowOf(yield* Clock.clockWith(Effect.succeed))()
      assert.strictEqual(yield* current.pipe(Deadline.within(100), Deadline.within(50)), now + 50)
      assert.strictEqual(yield* current.pipe(Deadline.within(50), Deadline.within(100)), now + 50)
      assert.strictEqual(yield* current.pipe(Deadline.until(now + 7), Deadline.within("1 second")), now + 7)
    })
  )

  it.effect("is counted from the moment at which the effect runs", () =>
    Effect.gen(function* () {
      const later = current.pipe(Deadline.within(100))
      yield* TestClock.adjust(1_000)
      const now = Deadline.nowOf(yield* Clock.clockWith(Effect.succeed))()
      assert.strictEqual(yield* later, now + 100)
    })
  )

  it.effect("goes with the fibers that are started beneath it", () =>
    Effect.gen(function* () {
      const now = Deadline.nowOf(yield* Clock.clockWith(Effect.succeed))()
      assert.strictEqual(yield* Effect.flatMap(Effect.fork(current), Fiber.join).pipe(Deadline.within(9)), now + 9)
    })
  )
})

describe("instants", () => {
  it.effect("of one live clock are those of another, also where a program wraps it", () =>
    Effect.sync(() => {
      const a = Deadline.nowOf(Clock.make())()
      const b = Deadline.nowOf(stepping().clock)()
      assert.isAtLeast(b - a, -1)
      assert.isAtMost(b - a, 1_000)
    })
  )

  it.effect("of the wall clock are turned there and back", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(5_000)
      const clock = yield* Clock.clockWith(Effect.succeed)
      assert.strictEqual(Deadline.ofEpochMillis(clock, 5_250) - Deadline.nowOf(clock)(), 250)
      assert.strictEqual(Deadline.toEpochMillis(clock, Deadline.nowOf(clock)() - 1_000), 4_000)
    })
  )

  it("have a rest, which is never negative", () => {
    assert.strictEqual(Deadline.rest(10, 4), 6)
    assert.strictEqual(Deadline.rest(4, 10), 0)
    assert.strictEqual(Deadline.rest(Deadline.never, 10), Infinity)
  })
})
