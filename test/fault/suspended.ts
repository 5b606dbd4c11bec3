/**
 * A program that is suspended: it opens a client, and says on its standard output when all of its connections have been used. For
 * each line on its standard input it runs 20 statements at once, and says how they went.
 */
import { createInterface } from "node:readline"
import { Effect, Logger, LogLevel, Scope } from "effect"
import { settle, times } from "./scenarios/support.js"
import type { OpenOptions } from "./scoreboard/model.js"
import { peers } from "./scoreboard/peers.js"
import { sluice } from "./scoreboard/sluice.js"

const [name, options] = JSON.parse(process.argv[2]!) as [string, OpenOptions & { readonly sleep: string }]

const say = (value: unknown) => Effect.sync(() => process.stdout.write(`${JSON.stringify(value)}\n`))

// As a program does that goes on when a connection breaks that it does not use.
process.on("uncaughtException", () => {})

const program = Effect.gen(function* () {
  const subject = [sluice, ...peers].find((one) => one.name === name)!
  const client = yield* Scope.extend(subject.open(options), yield* Scope.make())
  yield* settle(
    10_000,
    times(10, () => client.query(options.sleep))
  )
  yield* say("ready")
  createInterface({ input: process.stdin }).on("line", () => {
    const statements = times(20, (n) => client.query(`select ${n} as n`))
    Effect.runFork(
      Effect.flatMap(settle(5_000, statements), ({ failed, hanging, slowest }) => say({ failed, hanging, slowest }))
    )
  })
})

Effect.runPromise(Logger.withMinimumLogLevel(program, LogLevel.None)).catch((error) => {
  process.stderr.write(`${error}\n`)
  process.exit(1)
})
