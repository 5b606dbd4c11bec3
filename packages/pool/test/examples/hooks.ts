import { Pool } from "@sluice/pool"
import { Console, Effect } from "effect"

const program = Effect.gen(function* () {
  const pool = yield* Pool.make({
    minIdle: 0,
    connect: () => Effect.succeed({ language: "en" }),
    hooks: {
      onConnect: (connection) => Effect.sync(() => (connection.language = "de")),
      afterAcquire: (elapsedMs) => (elapsedMs > 1_000 ? Effect.logWarning("the pool is slow") : Effect.void),
      beforeClose: (reason) => Console.log(`closed: ${reason}`)
    }
  })
  yield* Pool.use(pool, (connection) => Console.log(`speaks ${connection.language}`))
}).pipe(Effect.scoped)

Effect.runPromise(program)
// speaks de
// closed: drain
