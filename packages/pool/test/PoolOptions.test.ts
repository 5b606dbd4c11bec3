import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Either } from "effect"
import { Pool, type PoolOptions } from "../src/index.js"
import type { Config } from "../src/internal/host.js"
import { parseConfig } from "../src/internal/runtime/config.js"

const hour = 3_600_000
const day = 24 * hour

/** Every option: what it is if nothing is said, and both ends of its range. `Exclude` makes a forgotten one an error. */
type Key = Exclude<keyof Config, "name" | "classLimits" | "shedding" | "reclaim" | "leakStack">
const table: { readonly [K in Key]: readonly [byDefault: number, least: number, most: number] } = {
  maxSize: [10, 1, 100_000],
  minIdle: [1, 0, 100_000],
  acquireTimeout: [5_000, 1, hour],
  connectTimeout: [5_000, 1, hour],
  idleTimeout: [300_000, 1, day],
  closeWhenIdle: [Infinity, 1, day],
  maxLifetime: [1_800_000, 1, 30 * day],
  maxUses: [Infinity, 1, Infinity],
  keepAlive: [60_000, 1, day],
  validateAfterIdle: [500, 0, day],
  validateTimeout: [1_000, 1, hour],
  maxWaiters: [10_000, 1, 10_000_000],
  reserved: [0, 0, 99_999],
  failFastAfter: [5_000, 0, hour],
  resetTimeout: [1_000, 1, hour],
  closeTimeout: [1_000, 1, hour],
  abortTimeout: [2_000, 1, hour],
  drainTimeout: [10_000, 0, hour],
  concurrency: [1, 1, 10_000],
  leakThreshold: [30_000, 1_000, day]
}
const durations: ReadonlyArray<Key> = [
  "acquireTimeout",
  "connectTimeout",
  "idleTimeout",
  "maxLifetime",
  "keepAlive",
  "validateAfterIdle",
  "validateTimeout",
  "failFastAfter",
  "resetTimeout",
  "closeTimeout",
  "abortTimeout",
  "drainTimeout",
  "closeWhenIdle",
  "leakThreshold"
]

/** The option alone, with what it needs besides it to be valid. */
const options = (key: Key, value: unknown): PoolOptions.PoolConfig => {
  if (key === "minIdle") return { maxSize: 100_000, minIdle: value as number }
  if (key === "validateTimeout") return { acquireTimeout: hour, validateTimeout: value as number }
  if (key === "reserved") return { maxSize: 100_000, minIdle: 0, reserved: value as number }
  return { [key]: value, ...(key === "maxSize" ? { minIdle: 0 } : {}) }
}

const accepted = (config: PoolOptions.PoolConfig): Config => Either.getOrThrow(parseConfig(config))
const problems = (config: PoolOptions.PoolConfig): ReadonlyArray<string> =>
  Either.match(parseConfig(config), { onLeft: (error) => error.problems, onRight: () => [] })

describe("options", () => {
  it("of overload control are off, or look without touching, unless something is said", () => {
    assert.deepStrictEqual(accepted({}).shedding, { mode: "shadow", target: 50, interval: 500 })
    assert.deepStrictEqual(accepted({ shedding: { mode: "on" } }).shedding, { mode: "on", target: 50, interval: 500 })
    assert.deepStrictEqual(accepted({ shedding: { target: 1, interval: hour } }).shedding, {
      mode: "shadow",
      target: 1,
      interval: hour
    })
    assert.deepStrictEqual(accepted({}).classLimits, [1, 1, 1, 1, 1, 1, 1, 1])
    assert.deepStrictEqual(
      accepted({ classLimits: { background: 0.1, high: 1 } }).classLimits,
      [1, 1, 1, 1, 1, 1, 1, 0.1]
    )
  })

  it("have these defaults", () => {
    const config = accepted({})
    assert.strictEqual(config.name, "pool")
    for (const [key, [byDefault]] of Object.entries(table)) assert.strictEqual(config[key as Key], byDefault, key)
  })

  it("adapt three defaults to what is said: minIdle, validateTimeout, maxWaiters", () => {
    assert.strictEqual(accepted({ acquireTimeout: 300 }).validateTimeout, 300)
    assert.strictEqual(accepted({ maxSize: 50 }).maxWaiters, 50_000)
    assert.strictEqual(accepted({ maxSize: 1 }).minIdle, 1)
  })

  for (const [name, [, least, most]] of Object.entries(table)) {
    const key = name as Key
    const smaller = durations.includes(key) && least === 1 ? 0 : least - 1

    it(`${key} is accepted from ${least} to ${most} and refused beyond`, () => {
      assert.strictEqual(accepted(options(key, least))[key], least)
      assert.strictEqual(accepted(options(key, most))[key], most)
      const beyond = most === Infinity ? [smaller] : [smaller, most + 1]
      for (const value of beyond) {
        const [problem] = problems(options(key, value))
        assert.include(problem, `${key} must be `)
        assert.include(problem, `${value}`)
      }
    })

    it(`${key} refuses what is no such value, and says what it was given`, () => {
      for (const value of [Number.NaN, -1, -Infinity, "soon", null, {}]) {
        const [problem] = problems(options(key, value))
        assert.include(problem ?? "nothing", `${key} must be `, `${value}`)
      }
      if (!durations.includes(key)) assert.include(problems(options(key, 1.5))[0], "1.5")
      if (most !== Infinity) assert.isNotEmpty(problems(options(key, Infinity)))
    })
  }

  it("take every form of a duration", () => {
    for (const value of [2_000, "2 seconds", Duration.seconds(2), "2000 millis"] as const) {
      assert.strictEqual(accepted({ acquireTimeout: value }).acquireTimeout, 2_000)
    }
    assert.strictEqual(accepted({ acquireTimeout: 2_000_000_000n }).acquireTimeout, 2_000)
    assert.isNotEmpty(problems({ acquireTimeout: "-2 seconds" as never }))
    assert.isNotEmpty(problems({ acquireTimeout: Duration.infinity }))
  })

  it("list every problem, not the first, and name the pool", () => {
    const error = Either.getOrThrow(
      Either.flip(
        parseConfig({
          name: "orders",
          maxSize: 0,
          acquireTimeout: Number.NaN,
          idleTimeout: -1,
          drainTimeout: Number.POSITIVE_INFINITY,
          concurrency: 0.5
        })
      )
    )
    assert.strictEqual(error.problems.length, 5)
    for (const key of ["maxSize", "acquireTimeout", "idleTimeout", "drainTimeout", "concurrency"]) {
      assert.include(error.message, key)
    }
    assert.include(error.message, 'pool "orders": options are invalid: ')
  })

  it("must fit to each other", () => {
    assert.deepStrictEqual(problems({ maxSize: 2, minIdle: 3 }), ["minIdle (3) must not be more than maxSize (2)"])
    assert.deepStrictEqual(problems({ acquireTimeout: 100, validateTimeout: 200 }), [
      "validateTimeout (200 ms) must not be more than acquireTimeout (100 ms)"
    ])
    assert.deepStrictEqual(problems({ name: " " }), ["name must be a text that is not empty"])
  })

  const connect = () => Effect.succeed({})
  const made = (options: unknown) =>
    Effect.flip(Effect.scoped(Pool.make(options as PoolOptions.PoolOptions<object, never, never>)))
  const kinds: ReadonlyArray<readonly [options: unknown, problem: string]> = [
    [undefined, "the options must be an object with at least `connect`, not undefined"],
    [null, "the options must be an object with at least `connect`, not null"],
    ["postgres://", 'the options must be an object with at least `connect`, not "postgres://"'],
    [{}, "connect is missing: it must be a function that gives an effect: `() => …`"],
    [{ connect, hooks: () => 1 }, "hooks must be an object, and is a function"],
    [
      { connect, hooks: { onConnection: connect } },
      "hooks.onConnection is no option here: did you mean hooks.onConnect?"
    ],
    [{ connect, hooks: { afterAcquire: Effect.void } }, "hooks.afterAcquire must be a function, and is an object"],
    [{ connect, hooks: { afterPoolAcquire: connect } }, "hooks.afterPoolAcquire is no option here: use afterAcquire"],
    [{ connect: Effect.succeed({}) }, "connect must be a function that gives an effect: `() => …`, not an effect"],
    [{ connect, validate: true }, "validate must be a function that gives an effect: `(resource) => …`, not true"],
    [
      { connect, reset: Effect.void },
      "reset must be a function that gives an effect: `(resource) => …`, not an effect"
    ],
    [{ connect, abort: "no" }, 'abort must be a function that gives an effect: `(resource) => …`, not "no"'],
    [{ connect, status: "clean" }, 'status must be a function that gives a status: `(resource) => …`, not "clean"'],
    [{ connect, admits: 1n }, "admits must be a function that gives a boolean: `(resource) => …`, not 1n"],
    [{ connect, stalls: "no" }, 'stalls must be a function that gives a boolean: `(resource) => …`, not "no"'],
    [{ connect, classify: [] }, "classify must be a function that gives a kind of failure: `(error) => …`, not []"],
    [{ connect, describe: {} }, "describe must be a function that gives a text: `(resource) => …`, not {}"],
    [
      { connect, backoff: { base: 1, cap: 2 } },
      'backoff must be a Schedule, such as Backoff.jittered({ base: 50, cap: 1_000 }), not {"base":1,"cap":2}'
    ],
    [{ connect, shedding: "on" }, 'shedding must be an object, and is "on"'],
    [
      { connect, shedding: { mode: "shaddow" } },
      'shedding.mode must be one of "off", "shadow", "on", and is "shaddow": did you mean "shadow"?'
    ],
    [{ connect, shedding: { targets: 5 } }, "shedding.targets is no option here: did you mean shedding.target?"],
    [{ connect, shedding: { target: 0 } }, "shedding.target must be a duration from 1 ms to 3600000 ms, not 0 ms"],
    [
      { connect, shedding: { interval: "soon" } },
      'shedding.interval must be a duration from 1 ms to 3600000 ms, not "soon"'
    ],
    [
      { connect, classLimits: { urgent: 0.5 } },
      "classLimits.urgent is no option here: there are critical, high, normal, low, background"
    ],
    [{ connect, classLimits: { low: 0 } }, "classLimits.low must be a number above 0 and at most 1, and is 0"],
    [{ connect, classLimits: { low: 5 } }, "classLimits.low must be a number above 0 and at most 1, and is 5"],
    [
      { connect, classLimits: { low: Number.NaN } },
      "classLimits.low must be a number above 0 and at most 1, and is NaN"
    ],
    [
      { connect, maxSize: 4, classLimits: { low: 0.2 } },
      "classLimits.low (0.2) of maxSize (4) must come to one connection at least: leave the class out, or write 0.25 or more"
    ],
    [
      { connect, maxSize: 4, reserved: 4 },
      "reserved (4) must be less than maxSize (4): other classes than critical would never have a connection"
    ],
    [{ connect, ownSpans: "sql" }, 'ownSpans must be an array of texts, not "sql"'],
    [{ connect, ownSpans: [1] }, "ownSpans must be an array of texts, not [1]"]
  ]
  for (const [options, problem] of kinds) {
    it.effect(`of the wrong kind are named: ${problem}`, () =>
      Effect.gen(function* () {
        const error = yield* made(options)
        assert.deepStrictEqual([error._tag, error.problems], ["InvalidOptions", [problem]])
      })
    )
  }

  it.effect("of the wrong kind are listed with all other problems", () =>
    Effect.gen(function* () {
      const { message } = yield* made({ name: "orders", maxSize: 0, status: 1, backoff: "slow" })
      for (const key of ["connect", "status", "maxSize", "backoff"]) assert.include(message, key)
      assert.include(message, 'pool "orders": ')
    })
  )

  it.live("that give no effect where one is due fail the callers, in words that say so", () =>
    Effect.gen(function* () {
      const pool = yield* Pool.make({
        name: "orders",
        connect: (() => ({ query: 1 })) as unknown as () => Effect.Effect<object>
      })
      const error = yield* Effect.flip(Pool.use(pool, () => Effect.void))
      assert.strictEqual(error._tag, "ConnectFailed")
      assert.strictEqual(
        error.message,
        'pool "orders": no connection can be opened: connect must give an effect, but it gave object: write `connect: () => Effect.…`. Correct the option; retrying does not help.'
      )
    }).pipe(Effect.scoped)
  )

  it.effect("that are invalid fail `make`, before anything is opened", () =>
    Effect.gen(function* () {
      let opened = 0
      const connect = () => Effect.sync(() => ++opened)
      const error = yield* Effect.flip(Effect.scoped(Pool.make({ maxSize: -1, minIdle: 1, connect })))
      assert.strictEqual(error._tag, "InvalidOptions")
      assert.strictEqual(opened, 0)
    })
  )
})
