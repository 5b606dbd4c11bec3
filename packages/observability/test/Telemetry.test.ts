import { assert, describe, it } from "@effect/vitest"
import { Telemetry } from "@sluice/observability"
import * as Pool from "@sluice/pool/Pool"
import type { PoolConfig } from "@sluice/pool/PoolOptions"
import { Deferred, Effect, Exit, Fiber, Layer, Scope, TestClock } from "effect"
import { Hub } from "../src/internal/telemetry/hub.js"
import { ofPool, seriesOf, valueOf } from "./support/series.js"

const tick = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

let names = 0
/** A name that no other test has: series are never removed. */
const unique = () => `pool ${++names}`

const make = (name: string, options: PoolConfig = {}) =>
  Pool.make({ name, maxSize: 2, connect: () => Effect.sync((): unknown => ({})), ...options })

/** A lease that lasts until it is ended. */
const held = (pool: Pool.Pool<unknown>, options?: Pool.AcquireOptions) =>
  Effect.gen(function* () {
    const end = yield* Deferred.make<void>()
    const fiber = yield* Effect.fork(Pool.use(pool, () => Deferred.await(end), options))
    yield* tick
    return { end: Effect.zipRight(Deferred.succeed(end, undefined), Fiber.await(fiber)), fiber }
  })

const pass = (ms: number) => Effect.zipRight(Effect.zipRight(tick, TestClock.adjust(ms)), tick)

const on = <A, E>(body: Effect.Effect<A, E, Scope.Scope>, options: Telemetry.Options = {}) =>
  Effect.scoped(body).pipe(Effect.provide(Telemetry.layer(options)))

const used = (name: string) =>
  valueOf("db.client.connection.count", { ...ofPool(name), "db.client.connection.state": "used" })
const acquires = (name: string, outcome: string) =>
  seriesOf("sluice.acquires", { ...ofPool(name), outcome }).reduce((sum, { value }) => sum + value, 0)

describe("metrics of pools", () => {
  it.effect("are those of pools that were there, and of those that are made later", () =>
    Effect.gen(function* () {
      const [early, late] = [unique(), unique()]
      const there = yield* make(early)
      yield* on(
        Effect.gen(function* () {
          yield* Pool.use(there, () => pass(250))
          const other = yield* make(late)
          yield* Pool.use(other, () => pass(30))
          for (const [name, seconds] of [
            [early, 0.25],
            [late, 0.03]
          ] as const) {
            const [use] = seriesOf("db.client.connection.use_time", ofPool(name))
            assert.strictEqual(use?.value, 1)
            assert.closeTo(use?.sum ?? 0, seconds, 1e-9)
            assert.strictEqual(valueOf("db.client.connection.wait_time", ofPool(name)), 1)
            assert.strictEqual(acquires(name, "ok"), 1)
          }
          assert.strictEqual(valueOf("db.client.connection.create_time", ofPool(late)), 1)
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("say what there is now, at most a second later", () =>
    on(
      Effect.gen(function* () {
        const name = unique()
        const pool = yield* make(name, { maxSize: 1, minIdle: 1 })
        const lease = yield* held(pool)
        const waiting = yield* held(pool, { priority: "high" })
        yield* pass(1_000)
        assert.strictEqual(used(name), 1)
        assert.strictEqual(valueOf("db.client.connection.pending_requests", ofPool(name)), 1)
        assert.strictEqual(valueOf("db.client.connection.max", ofPool(name)), 1)
        assert.strictEqual(valueOf("db.client.connection.limit", ofPool(name)), 1)
        assert.strictEqual(valueOf("db.client.connection.idle.min", ofPool(name)), 1)
        assert.strictEqual(valueOf("sluice.queue.depth", { ...ofPool(name), priority: "high" }), 1)
        assert.strictEqual(valueOf("sluice.queue.oldest_age", { ...ofPool(name), priority: "high" }), 1)
        assert.strictEqual(valueOf("sluice.lease.oldest_age", ofPool(name)), 1)
        yield* Pool.suspend(pool)
        yield* pass(2_000)
        assert.strictEqual(valueOf("sluice.pool.phase", { ...ofPool(name), phase: "suspended" }), 1)
        assert.strictEqual(valueOf("sluice.pool.suspended", ofPool(name)), 2)
        yield* Pool.resume(pool)
        yield* lease.end
        yield* waiting.end
        yield* pass(1_000)
        assert.strictEqual(used(name), 0)
        assert.strictEqual(valueOf("sluice.queue.depth", { ...ofPool(name), priority: "high" }), 0)
        assert.strictEqual(valueOf("sluice.queue.oldest_age", { ...ofPool(name), priority: "high" }), 0)
        assert.strictEqual(valueOf("sluice.pool.suspended", ofPool(name)), 0)
        // Waits by class, of those that had to wait.
        const [wait] = seriesOf("sluice.queue.wait_time", { ...ofPool(name), priority: "high" })
        assert.deepStrictEqual([wait?.value, wait?.sum], [1, 3])
      })
    )
  )

  it.effect("count how acquires have ended, and begin at 0 where an alert waits for the first", () =>
    on(
      Effect.gen(function* () {
        const name = unique()
        const pool = yield* make(name, { maxSize: 1, maxWaiters: 2 })
        assert.strictEqual(acquires(name, "timeout"), 0)
        assert.lengthOf(seriesOf("sluice.acquires", { ...ofPool(name), outcome: "timeout" }), 1)
        assert.strictEqual(valueOf("db.client.connection.timeouts", ofPool(name)), 0)
        const lease = yield* held(pool)
        const late = yield* held(pool, { acquireTimeout: 100 })
        const left = yield* held(pool)
        yield* Effect.exit(Pool.use(pool, () => Effect.void))
        yield* Fiber.interrupt(left.fiber)
        yield* pass(1_000)
        yield* Fiber.await(late.fiber)
        assert.deepStrictEqual(
          ["timeout", "saturated", "interrupted", "ok"].map((outcome) => acquires(name, outcome)),
          [1, 1, 1, 1]
        )
        assert.strictEqual(valueOf("db.client.connection.timeouts", ofPool(name)), 1)
        yield* lease.end
      })
    )
  )

  it.effect("keep a spike for a minute, however short it was", () =>
    on(
      Effect.gen(function* () {
        const name = unique()
        const pool = yield* make(name, { maxSize: 2 })
        const leases = [yield* held(pool), yield* held(pool)]
        const waiting = yield* Effect.forEach([1, 2, 3], () => held(pool))
        for (const { end } of [...leases, ...waiting]) yield* end
        const maxima = () => [
          valueOf("sluice.connection.used.max", ofPool(name)),
          valueOf("sluice.queue.depth.max", ofPool(name))
        ]
        yield* pass(1_000)
        assert.deepStrictEqual(maxima(), [2, 3])
        for (let second = 0; second < 58; second++) yield* pass(1_000)
        assert.deepStrictEqual(maxima(), [2, 3])
        for (let second = 0; second < 3; second++) yield* pass(1_000)
        assert.deepStrictEqual(maxima(), [0, 0])
      })
    )
  )

  it.effect("of a pool that ends while it is watched: its counts stay, and what there was becomes 0", () =>
    on(
      Effect.gen(function* () {
        const name = unique()
        const scope = yield* Scope.make()
        const pool = yield* Scope.extend(make(name, { minIdle: 2 }), scope)
        yield* Pool.use(pool, () => pass(100))
        yield* pass(1_000)
        assert.strictEqual(valueOf("db.client.connection.max", ofPool(name)), 2)
        const lease = yield* held(pool)
        const ending = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* pass(500)
        yield* pass(500)
        // It drains, and is still there.
        assert.strictEqual(used(name), 1)
        assert.strictEqual(valueOf("sluice.pool.phase", { ...ofPool(name), phase: "draining" }), 1)
        yield* lease.end
        yield* Fiber.join(ending)
        yield* pass(1_000)
        for (const level of [
          "db.client.connection.count",
          "db.client.connection.max",
          "sluice.connection.used.max",
          "sluice.pool.phase",
          "sluice.pool.host"
        ]) {
          for (const { value } of seriesOf(level, ofPool(name))) assert.strictEqual(value, 0, level)
        }
        assert.strictEqual(valueOf("db.client.connection.use_time", ofPool(name)), 2)
        assert.strictEqual(valueOf("sluice.connections.closed", { ...ofPool(name), reason: "drain" }), 2)
        // Another pool of the name goes on with its counts.
        const next = yield* make(name)
        yield* Pool.use(next, () => Effect.void)
        yield* pass(1_000)
        assert.strictEqual(valueOf("db.client.connection.use_time", ofPool(name)), 3)
        assert.strictEqual(valueOf("db.client.connection.max", ofPool(name)), 2)
      })
    )
  )

  it.effect("of two pools of one name are their sum, and of two ages the greater one", () =>
    on(
      Effect.gen(function* () {
        const name = unique()
        const [one, two] = [yield* make(name), yield* make(name, { maxSize: 5 })]
        const first = yield* held(one)
        yield* pass(3_000)
        const second = yield* held(two)
        yield* pass(1_000)
        assert.strictEqual(used(name), 2)
        assert.strictEqual(valueOf("db.client.connection.max", ofPool(name)), 7)
        assert.strictEqual(valueOf("sluice.lease.oldest_age", ofPool(name)), 4)
        yield* first.end
        yield* second.end
        assert.strictEqual(valueOf("db.client.connection.use_time", ofPool(name)), 2)
      })
    )
  )

  it.effect("are counted once, however many Layers there are, and by none when all have ended", () =>
    Effect.gen(function* () {
      const name = unique()
      const pool = yield* make(name)
      const { host } = pool[Pool.TypeId].engine
      const two = Layer.merge(Telemetry.layer({ level: "basic" }), Telemetry.layer({ level: "full" }))
      yield* Effect.provide(
        Effect.scoped(
          Effect.gen(function* () {
            yield* Pool.use(pool, () => Effect.void)
            yield* Effect.scoped(Telemetry.make())
            yield* Pool.use(pool, () => pass(1_000))
            assert.strictEqual(valueOf("db.client.connection.max", ofPool(name)), 2)
          })
        ),
        two
      )
      assert.isUndefined(host.emit)
      assert.strictEqual(valueOf("db.client.connection.max", ofPool(name)), 0)
      yield* Pool.use(pool, () => Effect.void)
      assert.strictEqual(valueOf("db.client.connection.use_time", ofPool(name)), 2)
    }).pipe(Effect.scoped)
  )

  it.effect("of ever new names share one series in the end", () =>
    Effect.gen(function* () {
      const hub = new Hub(2)
      const given = [unique(), unique(), unique(), unique()]
      const detach = hub.attach("basic", () => 0)
      for (const name of given)
        yield* Effect.scoped(Effect.flatMap(make(name), (pool) => Pool.use(pool, () => Effect.void)))
      // Known ones go on.
      yield* Effect.scoped(Effect.flatMap(make(given[0]!), (pool) => Pool.use(pool, () => Effect.void)))
      detach()
      assert.deepStrictEqual(
        [...given, "(others)"].map((name) => valueOf("db.client.connection.use_time", ofPool(name))),
        [2, 1, undefined, undefined, 2]
      )
    })
  )
})
