import { Backoff, Pool } from "@sluice/pool"
import { Effect } from "effect"

let attempts = 0

const program = Effect.gen(function* () {
  const pool = yield* Pool.make({
    backoff: Backoff.jittered({ base: "1 millis", cap: "5 millis" }),
    connect: () => (++attempts < 4 ? Effect.fail("refused") : Effect.succeed("a connection"))
  })
  return yield* Pool.use(pool, (connection) => Effect.succeed(`${connection} after ${attempts} attempts`))
}).pipe(Effect.scoped)

Effect.runPromise(program).then(console.log)
// a connection after 4 attempts
