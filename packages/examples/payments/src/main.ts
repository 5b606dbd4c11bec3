/** `npx pnpm demo`: see README.md. */
import { HttpServer } from "@effect/platform"
import { PgCluster } from "@sluice/testkit"
import { Cause, Data, Effect, Exit, Fiber, Logger, LogLevel } from "effect"
import * as Board from "./Board.js"
import * as Claims from "./Claims.js"
import * as Demo from "./Demo.js"
import * as Live from "./Live.js"

const usage = `Sluice demo: a payments service on a primary and a replica, under load and faults.

Usage: npx pnpm demo [--serve]

  (nothing)   run load and faults against it for a good half minute, then judge; exit code 0 if every claim held
  --serve     only start it, and keep it running until Ctrl-C
  --help      this text

Examples:
  npx pnpm demo                     watch it
  npx pnpm demo > demo.txt          without a terminal it writes a line a second
  NO_COLOR=1 npx pnpm demo          without colors
  npx pnpm demo --serve             then send requests yourself
`

class TooSlow extends Data.TaggedError("TooSlow")<{}> {
  override get message() {
    return "the demo did not end within 90 s: the phase that is marked on the board took too long. On a busy machine, run it again; with --serve you can send requests yourself."
  }
}

const demo = Effect.gen(function* () {
  const evidence = yield* Effect.timeoutFail(Demo.run, { duration: "90 seconds", onTimeout: () => new TooSlow() })
  const screen = yield* Board.terminal
  const claims = Claims.judge(evidence)
  const lines = Claims.render(claims, screen.columns - 2).map(
    ({ held, text }) => `  ${Board.paint(screen, held ? "green" : "red", text.slice(0, 1))}${text.slice(1)}\n`
  )
  const failed = claims.filter(({ held }) => !held)
  yield* Board.print(`\n${lines.join("")}\n`)
  yield* Board.print(
    failed.length === 0
      ? `  All ${claims.length} claims held.\n`
      : `  ${failed.length} of ${claims.length} claims failed: ${failed.map(({ claim }) => claim).join("; ")}\n`
  )
  return failed.length === 0 ? 0 : 1
}).pipe(
  // Nothing is logged: the board shows the progress, and the table counts failures by their reason.
  Logger.withMinimumLogLevel(LogLevel.None)
)

const serve = Effect.gen(function* () {
  yield* Board.print("starting a primary and a replica …\n")
  const cluster = yield* PgCluster.make({ replicas: 1 })
  const running = HttpServer.addressFormattedWith((url) =>
    Board.print(`
${url}

  curl -i ${url}/payments -H 'content-type: application/json' \\
    -d '{"id":"${crypto.randomUUID()}","amount":1250,"currency":"EUR"}'
  curl -i ${url}/payments/<id>
  curl -s ${url}/stats

Ctrl-C ends it.
`)
  )
  return yield* Effect.zipRight(running, Effect.never).pipe(Effect.provide(Live.layer(cluster, { port: 0 })))
}).pipe(
  Effect.scoped,
  // Logs go to stderr, so that stdout has only the address and the examples.
  Effect.provide(Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger)))
)

/** What the arguments ask for, or which of them are unknown. */
const parse = (args: ReadonlyArray<string>): "demo" | "serve" | "help" | { readonly problem: string } => {
  // Some versions of npm and pnpm pass the separator on to the program.
  const given = args.filter((arg) => arg !== "--")
  const unknown = given.filter((arg) => !["--serve", "--help", "-h"].includes(arg))
  if (unknown.length > 0) return { problem: `unknown argument ${unknown.join(" ")}. Known are --serve and --help.` }
  return given.includes("--help") || given.includes("-h") ? "help" : given.includes("--serve") ? "serve" : "demo"
}

const complain = (text: string) => void process.stderr.write(`sluice demo: ${text}\n`)

const asked = parse(process.argv.slice(2))
if (typeof asked === "object") {
  complain(`${asked.problem}\n\n${usage}`)
  process.exitCode = 2
} else if (asked === "help") {
  process.stdout.write(usage)
} else {
  const fiber = Effect.runFork(asked === "serve" ? serve : demo)
  let stoppedBy: number | undefined
  const stop = (signal: number) => {
    stoppedBy ??= signal
    Effect.runFork(Fiber.interrupt(fiber))
  }
  // `on`, not `once`: a package manager passes the signal on that the terminal has already sent to this process, and the
  // second one must not end it.
  process.on("SIGINT", () => stop(2))
  process.on("SIGTERM", () => stop(15))
  process.on("SIGHUP", () => stop(1))
  // The reader of the output has gone, as `head` does in a pipe.
  process.stdout.on("error", () => stop(13))
  fiber.addObserver((exit) => {
    // Only the code is set. The process then ends by itself, unless the demo has left something that keeps it alive.
    if (stoppedBy !== undefined) process.exitCode = 128 + stoppedBy
    else if (Exit.isSuccess(exit)) process.exitCode = exit.value
    else {
      process.exitCode = 1
      const failure = Cause.failureOption(exit.cause)
      complain(failure._tag === "Some" ? failure.value.message : Cause.pretty(exit.cause, { renderErrorCause: true }))
    }
  })
}
