/** `npx pnpm demo:recover`: see README.md. */
import { NodeRuntime } from "@effect/platform-node"
import { Cause, Console, Data, Effect, Exit, Logger, LogLevel } from "effect"
import * as Board from "./Board.js"
import * as Claims from "./Claims.js"
import * as Demo from "./Demo.js"
import type { Ran } from "./Scene.js"

const usage = `Sluice demo: the pool that never recovers. A database restarts under load, and a primary crashes and is replaced;
Sequelize 6 and Sluice live through both side by side, with the same configuration.

Usage: npx pnpm demo:recover

  (nothing)   run it, compare, then judge; exit code 0 if every claim held
  --help      this text

Examples:
  npx pnpm demo:recover                  watch it
  npx pnpm demo:recover > recover.txt    without a terminal it writes two lines a second
  NO_COLOR=1 npx pnpm demo:recover       without colors`

class TooSlow extends Data.TaggedError("TooSlow")<{}> {
  override get message() {
    return "sluice demo: it did not end within two minutes. On a busy machine, run it again."
  }
}

const story = `Sequelize 4.44.0 with this configuration never came back from a restart under load: its pools were full of entries that were no
connections, and every request ended in an acquire timeout, until the program was restarted. Sequelize 6 repaired that. Here it
lives through the same faults as Sluice, at the same moments.`

const table = (ran: Ran): string => {
  const rows = [["", ran.ours.name, ran.theirs.name] as const, ...Claims.compare(ran)]
  const width = (column: 0 | 1) => Math.max(...rows.map((row) => row[column].length))
  const lines = rows.map(([name, ours, theirs]) => `  ${name.padEnd(width(0))}  ${ours.padEnd(width(1))}  ${theirs}`)
  return `\n${ran.title}: both sides\n${lines.join("\n")}`
}

const main = Effect.gen(function* () {
  yield* Console.log(story)
  const evidence = yield* Effect.timeoutFail(Demo.run, { duration: "2 minutes", onTimeout: () => new TooSlow() })
  yield* Console.log(`${table(evidence.restart)}\n${table(evidence.failover)}`)
  const screen = yield* Board.terminal
  const claims = Claims.judge(evidence)
  const width = Math.max(...claims.map(({ claim }) => claim.length))
  yield* Console.log("\nWhat is claimed of Sluice")
  for (const { claim, held, measured } of claims) {
    const mark = Board.paint(screen, held ? "green" : "red", held ? "✓" : "✗")
    yield* Console.log(`  ${mark} ${claim.padEnd(width)}  ${measured}`)
  }
  const failed = claims.filter(({ held }) => !held).length
  yield* Console.log(
    failed === 0 ? `\nAll ${claims.length} claims held.` : `\n${failed} of ${claims.length} claims failed.`
  )
  return failed === 0 ? 0 : 1
}).pipe(
  // Nothing is logged: the board shows the progress, and the tables count failures by their reason.
  Logger.withMinimumLogLevel(LogLevel.None)
)

const run = Effect.suspend(() => {
  // Some versions of npm and pnpm pass the separator on to the program.
  const given = process.argv.slice(2).filter((arg) => arg !== "--")
  const unknown = given.filter((arg) => arg !== "--help" && arg !== "-h")
  if (unknown.length > 0) {
    const problem = `sluice demo: unknown argument ${unknown.join(" ")}. Known is --help.`
    return Effect.as(Console.error(`${problem}\n\n${usage}`), 2)
  }
  return given.length > 0 ? Effect.as(Console.log(usage), 0) : main
})

/** The reader of the output has gone, as `head` does in a pipe. Ends the demo as that signal would. */
const readerGone = Effect.async<number>((resume) => {
  process.stdout.on("error", () => resume(Effect.succeed(128 + 13)))
})

NodeRuntime.runMain(
  Effect.tapError(Effect.raceFirst(run, readerGone), ({ message }) => Console.error(message)),
  {
    disableErrorReporting: true,
    teardown: (exit, end) =>
      end(Exit.isSuccess(exit) ? Number(exit.value) : Cause.isInterruptedOnly(exit.cause) ? 130 : 1)
  }
)
