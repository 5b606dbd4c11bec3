import { Pool, Pools } from "@sluice/pool"
import { Effect } from "effect"

const program = Effect.gen(function* () {
  const stop = Pools.unsafeWatch((pool) => {
    console.log(`${pool.name} is open`)
    return () => console.log(`${pool.name} is closed`)
  })
  yield* Effect.scoped(Pool.make({ name: "orders", maxSize: 2, connect: () => Effect.void }))
  stop()
})

Effect.runPromise(program)
// orders is open
// orders is closed
