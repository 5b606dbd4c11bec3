/** Runs the command line of the process. */
import { stripVTControlCharacters } from "node:util"
import { Command, ValidationError } from "@effect/cli"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Cause, Console, Effect, Exit, Layer, Option } from "effect"
import { hasColours } from "./colours.js"
import { sluice } from "./command.js"
import * as Code from "./exit.js"
import { version } from "./version.js"

let signal: keyof typeof Code.ofSignal | undefined
for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => (signal ??= name))

// A reader that has seen enough, such as `head`, is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : Code.SOFTWARE))

const run = Command.run(sluice, { name: "sluice", version: version() })

const codeOf = (cause: Cause.Cause<unknown>): number => {
  const failure = Option.getOrUndefined(Cause.failureOption(cause))
  if (failure instanceof Code.Failed) return failure.code
  if (ValidationError.isValidationError(failure)) return Code.USAGE
  if (Cause.isInterruptedOnly(cause)) return signal === undefined ? 0 : Code.ofSignal[signal]
  return Code.SOFTWARE
}

/** The help is written in colours, also where nobody wants them. */
const withoutCodes = (texts: ReadonlyArray<unknown>): ReadonlyArray<unknown> =>
  texts.map((text) => (typeof text === "string" ? stripVTControlCharacters(text) : text))

const plainly = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.consoleWith((out) =>
    Effect.withConsole(effect, {
      ...out,
      log: (...texts) => (hasColours(process.stdout) ? out.log(...texts) : out.log(...withoutCodes(texts))),
      error: (...texts) => (hasColours(process.stderr) ? out.error(...texts) : out.error(...withoutCodes(texts)))
    })
  )

run(process.argv).pipe(
  Effect.tapErrorCause((cause) =>
    codeOf(cause) === Code.SOFTWARE ? Console.error(`sluice: ${Cause.pretty(cause)}`) : Effect.void
  ),
  plainly,
  Effect.provide(Layer.merge(NodeContext.layer, FetchHttpClient.layer)),
  NodeRuntime.runMain({
    disableErrorReporting: true,
    teardown: (exit, end) => end(Exit.isSuccess(exit) ? 0 : codeOf(exit.cause))
  })
)
