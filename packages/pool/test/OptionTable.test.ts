import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, type Scope } from "effect"
import { OptionTable, Pool, type PoolOptions } from "../src/index.js"
import { test } from "./support/Fixture.js"

describe("a table of options", () => {
  const table: OptionTable.Table<{ maxSize: number; startup: string; replicas: ReadonlyArray<object>; own: boolean }> =
    {
      maxSize: OptionTable.anything,
      startup: OptionTable.oneOf("eager", "lazy"),
      replicas: OptionTable.listOf(OptionTable.nested({ url: OptionTable.text })),
      own: OptionTable.flag
    }
  const problems = (given: unknown) =>
    OptionTable.problems(given, table, { path: "pool", elsewhere: { max_connections: "use maxSize" } })

  for (const [given, problem] of [
    [{ maxsize: 1 }, "pool.maxsize is no option here: did you mean pool.maxSize?"],
    [{ MAX_SIZE: 1 }, "pool.MAX_SIZE is no option here: did you mean pool.maxSize?"],
    [{ maxSzie: 1 }, "pool.maxSzie is no option here: did you mean pool.maxSize?"],
    [{ replica: [] }, "pool.replica is no option here: did you mean pool.replicas?"],
    [{ size: 1 }, "pool.size is no option here: did you mean pool.maxSize?"],
    [{ maxConnections: 1 }, "pool.maxConnections is no option here: use maxSize"],
    [{ colour: "blue" }, "pool.colour is no option here: there are maxSize, startup, replicas, own"],
    [{ colour: undefined }, "pool.colour is no option here: there are maxSize, startup, replicas, own"],
    [{ toString: 1 }, "pool.toString is no option here: there are maxSize, startup, replicas, own"],
    [{ startup: "lazzy" }, 'pool.startup must be one of "eager", "lazy", and is "lazzy": did you mean "lazy"?'],
    [{ startup: null }, 'pool.startup must be one of "eager", "lazy", and is null'],
    [{ own: "yes" }, 'pool.own must be true or false, and is "yes"'],
    [{ replicas: { 0: {} } }, "pool.replicas must be an array, and is an object"],
    [{ replicas: [{}, { uri: 1 }] }, "pool.replicas[1].uri is no option here: did you mean pool.replicas[1].url?"],
    [{ replicas: ["a url"] }, 'pool.replicas[0] must be an object, and is "a url"'],
    ["eager", 'pool must be an object, and is "eager"']
  ] as const) {
    it(`says: ${problem}`, () => {
      assert.deepStrictEqual(problems(given), [problem])
    })
  }

  it("accepts every name that it has, and what is undefined says nothing", () => {
    assert.deepStrictEqual(problems({ maxSize: 5, startup: "lazy", replicas: [{ url: "a" }], own: false }), [])
    assert.deepStrictEqual(problems({ maxSize: undefined, startup: undefined, replicas: undefined }), [])
    assert.deepStrictEqual(problems({}), [])
  })

  it("lists every problem, and shows no object and no value of an unknown name", () => {
    const found = problems({ secret: "hunter2", own: { password: "hunter2" }, startup: 1 })
    assert.lengthOf(found, 3)
    assert.notInclude(found.join(), "hunter2")
  })
})

describe("the options of a pool", () => {
  const made = (options: object) =>
    Effect.map(
      Effect.flip(
        Effect.scoped(
          Pool.make({ connect: () => Effect.succeed({}), ...options } as PoolOptions.PoolOptions<object, never, never>)
        )
      ),
      ({ problems }) => problems
    )

  for (const [name, remedy] of [
    ["maxsize", "did you mean maxSize?"],
    ["max", "use maxSize"],
    ["connectionLimit", "use maxSize"],
    ["idleTimeoutMillis", "use idleTimeout"],
    ["acquireTimeoutMillis", "use acquireTimeout"],
    ["time_to_live", "use maxLifetime"],
    ["acquire", "use connect for what opens a connection, acquireTimeout for how long a caller waits"],
    ["evict", "leave it out, a pool looks for connections to close once a second"]
  ] as const) {
    it.effect(`that nobody reads are refused by name: ${name}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* made({ [name]: 1 }), [`${name} is no option here: ${remedy}`])
      })
    )
  }

  const diesOf = (effect: Effect.Effect<unknown, unknown, Scope.Scope>, problem: string) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Effect.scoped(effect))
      assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause), problem)
      const [defect] = Exit.isFailure(exit) ? Cause.defects(exit.cause) : []
      assert.deepInclude(defect, { _tag: "InvalidOptions", problems: [problem] })
    })

  test("of its verbs are refused by name too, free or not, and nothing is leased", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      const { pool } = f
      const wrong = { acquireTimeOut: 5 } as PoolOptions.AcquireOptions
      const problem = "acquireTimeOut is no option here: did you mean acquireTimeout?"
      const all = Effect.gen(function* () {
        yield* diesOf(
          Pool.use(pool, () => Effect.void, wrong),
          problem
        )
        yield* diesOf(Pool.acquire(pool, wrong), problem)
        yield* diesOf(
          Pool.share(pool, () => Effect.void, wrong),
          problem
        )
        yield* diesOf(
          Pool.shareAsync(pool, (_, resume) => resume(Effect.void), wrong),
          problem
        )
      })
      yield* all
      yield* f.saturate
      yield* all
      yield* diesOf(Pool.suspend(pool, { atmost: 1 } as object), "atmost is no option here: did you mean atMost?")
      yield* diesOf(Pool.reset(pool, { spread: Number.NaN }), "spread must be a duration of 0 or more, and is NaN")
      yield* diesOf(Pool.drain(pool, { timeout: 1 } as object), "timeout is no option here: there are within")
      assert.strictEqual((yield* Pool.stats(pool)).using, 1)
    })
  )
})
