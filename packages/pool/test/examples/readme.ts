import { Pool, Priority } from "@sluice/pool"
import { Effect } from "effect"

let opened = 0

const program = Effect.gen(function* () {
  const pool = yield* Pool.make({
    name: "greeters",
    maxSize: 2,
    acquireTimeout: "1 second",
    // The scope of `connect` ends when the pool closes the connection.
    connect: () =>
      Effect.acquireRelease(
        Effect.sync(() => ({ id: ++opened, greet: (name: string) => `hello ${name}` })),
        (connection) => Effect.logDebug(`closing ${connection.id}`)
      )
  })

  const greet = (name: string) => Pool.use(pool, (connection) => Effect.succeed(connection.greet(name)))

  // Three callers share two connections at most; background work is served when nobody else waits.
  const names = yield* Effect.forEach(["Ada", "Grace", "Edsger"], greet, { concurrency: "unbounded" })
  const later = yield* greet("whoever is up").pipe(Priority.withPriority("background"))

  const { using, waiting } = yield* Pool.stats(pool)
  return [...names, later, `${using} leased, ${waiting} waiting`]
}).pipe(Effect.scoped)

Effect.runPromise(program).then((lines) => console.log(lines.join("\n")))
