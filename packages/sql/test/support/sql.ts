/** An `Sql` on a database in memory, and what tests of it have in common. */
import * as Reactivity from "@effect/experimental/Reactivity"
import { Statement } from "@effect/sql"
import { assert } from "@effect/vitest"
import { Router, Sql, SqlReason, Topology } from "@sluice/sql"
import { Runtime } from "@sluice/sql/driver"
import { Context, Effect, Layer, TestClock } from "effect"
import type { Fake } from "./fakeDriver.js"

export const layer = ({ driver }: Pick<Fake, "driver">, options?: Partial<Runtime.RuntimeOptions<string>>) =>
  Layer.scopedContext(
    Effect.map(
      Runtime.make(driver, {
        primary: "primary",
        duplicates: "allow",
        startup: "lazy",
        compiler: Statement.makeCompilerSqlite(),
        spanAttributes: [],
        ...options
      }),
      ({ router, sql, topology }) =>
        Context.make(Sql.Sql, sql).pipe(Context.add(Router.Router, router), Context.add(Topology.Topology, topology))
    )
  ).pipe(Layer.provide(Reactivity.layer))

/** Lets everything run that waits for no time. */
export const tick = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

/** Waits until nothing is leased, waited for or cleaned: the books balance. */
export const idle = Effect.gen(function* () {
  for (let i = 0; i < 200; i++) {
    const { read, write } = yield* Sql.stats
    if ([write, ...read].every((pool) => pool.using + pool.waiting + pool.resetting + pool.quarantined === 0)) return
    yield* tick
  }
  assert.deepStrictEqual(yield* Sql.stats, undefined as any, "the books balance")
})

/** No connection of the fake is in a transaction, busy, or otherwise in use. */
export const clean = (fake: Fake) => {
  for (const connection of fake.connections) assert.include(["idle", "dead"], fake.driver.status(connection))
}

export const texts = (fake: Fake) => fake.log.map((line) => line.replace(/^\d+: /, ""))

/** Lets time pass, quickly, until the effect is done. */
export const played = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    while (fiber.unsafePoll() === null) {
      yield* tick
      yield* TestClock.adjust("20 millis")
    }
    return yield* fiber
  })

export const reasonOf = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.map(Effect.flip(effect), SqlReason.of)

/** Lets so many milliseconds pass, step by step, so that what waits can go on and wait again. */
export const advance = (millis: number, step = 100) =>
  Effect.gen(function* () {
    for (let left = millis; left > 0; left -= step) {
      yield* tick
      yield* TestClock.adjust(Math.min(step, left))
    }
    for (let i = 0; i < 5; i++) yield* tick
  })
