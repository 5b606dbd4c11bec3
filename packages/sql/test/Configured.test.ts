import { assert, describe, it } from "@effect/vitest"
import { Configured } from "@sluice/sql/driver"
import { Config, ConfigProvider, Duration, Effect, Redacted, Schedule } from "effect"
import { expectTypeOf } from "vitest"

interface Endpoint {
  readonly url?: Redacted.Redacted | undefined
  readonly password?: Redacted.Redacted | Effect.Effect<Redacted.Redacted, unknown> | undefined
}

interface Options extends Endpoint {
  readonly replicas?: ReadonlyArray<Endpoint> | undefined
  readonly pool?: { readonly maxSize?: number | undefined; readonly timeout?: Duration.DurationInput | undefined }
  readonly rename?: ((name: string) => string) | undefined
  readonly backoff?: Schedule.Schedule<unknown> | undefined
}

const from = (options: Configured.Configured<Options>, values: Readonly<Record<string, string>>) =>
  Effect.withConfigProvider(Configured.read<Options>(options), ConfigProvider.fromMap(new Map(Object.entries(values))))

const deep: Configured.Configured<Options> = {
  url: Config.redacted("URL"),
  replicas: [{ url: Config.redacted("A") }, { url: Redacted.make("b") }],
  pool: { maxSize: Config.integer("SIZE"), timeout: "5 seconds" }
}

describe("options that are read from the configuration", () => {
  it.effect("may be a Config as a whole, or in any part: a field, an object, an element of an array", () =>
    Effect.gen(function* () {
      const values = { URL: "u", A: "a", SIZE: "7", POOL: "5" }
      assert.deepStrictEqual(yield* from(deep, values), {
        url: Redacted.make("u"),
        replicas: [{ url: Redacted.make("a") }, { url: Redacted.make("b") }],
        pool: { maxSize: 7, timeout: "5 seconds" }
      })
      const whole = Config.map(Config.redacted("URL"), (url) => ({ url }))
      assert.deepStrictEqual(yield* from(whole, values), { url: Redacted.make("u") })
      const replica = Config.map(Config.redacted("A"), (url) => [{ url }])
      assert.deepStrictEqual(yield* from({ replicas: replica }, values), { replicas: [{ url: Redacted.make("a") }] })
    })
  )

  it.effect("fail with all that is missing, with the paths where it was looked for", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(from(deep, { SIZE: "many" }))
      for (const name of ["URL", "A", "SIZE"]) assert.include(String(error), name)
    })
  )

  it.effect("keep what is no Config as it is: functions, effects, instances, objects without one", () =>
    Effect.gen(function* () {
      const options = {
        url: Config.redacted("URL"),
        password: Effect.succeed(Redacted.make("secret")),
        pool: { maxSize: 2, timeout: Duration.seconds(1) },
        rename: (name: string) => name,
        backoff: Schedule.forever
      }
      const { url, ...read } = yield* from(options, { URL: "u" })
      assert.deepStrictEqual(url, Redacted.make("u"))
      const { url: _, ...given } = options
      for (const [key, value] of Object.entries(given)) assert.strictEqual(read[key as keyof typeof read], value, key)
    })
  )

  it("have the types of what they stand for", () => {
    expectTypeOf(Configured.read<Options>(deep)).toEqualTypeOf<Config.Config<Options>>()
    expectTypeOf<{ readonly replicas: Array<{ readonly url: Config.Config<Redacted.Redacted> }> }>().toExtend<
      Configured.Configured<Options>
    >()
    expectTypeOf<{ readonly pool: { readonly maxSize: Config.Config<string> } }>().not.toExtend<
      Configured.Configured<Options>
    >()
    expectTypeOf<{ readonly pool: { readonly maxsize: number } }>().not.toExtend<Configured.Configured<Options>>()
    expectTypeOf<{ readonly rename: Config.Config<(name: string) => string> }>().toExtend<
      Configured.Configured<Options>
    >()
  })
})
