import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { Pool } from "../src/index.js"

class Connections extends Context.Tag("Connections")<Connections, Pool.Pool<{ readonly id: number }>>() {}
class Address extends Context.Tag("Address")<Address, string>() {}

describe("the layer of a pool", () => {
  it.live("opens one pool for all who ask for it, and closes its connections when it ends", () =>
    Effect.gen(function* () {
      let opened = 0
      let closed = 0
      const live = Pool.layer(Connections, {
        maxSize: 1,
        connect: () =>
          Effect.acquireRelease(
            Effect.sync(() => ({ id: ++opened })),
            () => Effect.sync(() => closed++)
          )
      })
      const id = Effect.flatMap(Connections, (pool) => Pool.use(pool, (connection) => Effect.succeed(connection.id)))
      const ids = yield* Effect.provide(Effect.all([id, id, id], { concurrency: "unbounded" }), live)
      assert.deepStrictEqual([ids, opened, closed], [[1, 1, 1], 1, 1])
    })
  )

  it.live("fails with the problems of its options", () =>
    Effect.gen(function* () {
      const live = Pool.layer(Connections, { maxSize: 0, connect: () => Effect.succeed({ id: 1 }) })
      const error = yield* Effect.flip(Effect.scoped(Layer.build(live)))
      assert.strictEqual(error._tag, "InvalidOptions")
    })
  )

  it.live("needs what connect needs, but no scope", () =>
    Effect.gen(function* () {
      const live: Layer.Layer<Connections, unknown, Address> = Pool.layer(Connections, {
        connect: () =>
          Effect.acquireRelease(
            Effect.map(Address, (address) => ({ id: address.length })),
            () => Effect.void
          )
      })
      const id = Effect.flatMap(
        Connections,
        Pool.use((connection) => Effect.succeed(connection.id))
      )
      assert.strictEqual(yield* Effect.provide(id, Layer.provide(live, Layer.succeed(Address, "here"))), 4)
    })
  )
})
