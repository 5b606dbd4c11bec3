import { Pool } from "@sluice/pool"
import { Effect } from "effect"

const program = Effect.gen(function* () {
  const pool = yield* Pool.make({
    maxSize: 2,
    connect: () =>
      Effect.acquireRelease(Effect.succeed({ greet: (name: string) => `hello ${name}` }), () => Effect.void)
  })
  return yield* Pool.use(pool, (connection) => Effect.succeed(connection.greet("world")))
}).pipe(Effect.scoped)

Effect.runPromise(program).then(console.log)
// hello world
