import { NodeRuntime } from "@effect/platform-node"
import { Cause, Console, Data, Duration, Effect, Exit, Logger, LogLevel } from "effect"

/** The exit code of an example, or why it could not do its work. */
export type Main = Effect.Effect<number, { readonly message: string }>

export interface Claim {
  readonly claim: string
  readonly held: boolean
  readonly measured: string
}

class TooSlow extends Data.TaggedError("TooSlow")<{ readonly within: string }> {
  override get message() {
    return `it did not end within ${this.within}. On a busy machine, run it again.`
  }
}

/** What shows something, and is judged then. `bound`: what is longer has gone wrong. Nothing is logged: the claims say what has come of it. */
export const bounded = <A, E>(
  evidence: Effect.Effect<A, E>,
  bound: Duration.DurationInput
): Effect.Effect<A, E | TooSlow> => {
  const duration = Duration.decode(bound)
  return Effect.timeoutFail(evidence, {
    duration,
    onTimeout: () => new TooSlow({ within: Duration.format(duration) })
  }).pipe(Logger.withMinimumLogLevel(LogLevel.None))
}

/** The last line of each example, and its exit code. */
export const verdict = (claims: ReadonlyArray<Claim>): { readonly code: number; readonly text: string } => {
  const failed = claims.filter(({ held }) => !held)
  return failed.length === 0
    ? { code: 0, text: `All ${claims.length} claims held.` }
    : { code: 1, text: `${failed.length} of ${claims.length} claims failed.` }
}

/** The claims as a numbered list. */
export const judged = (claims: ReadonlyArray<Claim>): Effect.Effect<number> =>
  Effect.gen(function* () {
    yield* Console.log("")
    for (const [index, { claim, held, measured }] of claims.entries()) {
      yield* Console.log(`${held ? "✓" : "✗"} ${index + 1}. ${claim}\n     ${measured}`)
    }
    const { code, text } = verdict(claims)
    yield* Console.log(`\n${text}`)
    return code
  })

/** The reader of the output has gone, as `head` does in a pipe. Ends the work as that signal would. */
const readerGone = Effect.async<number>((resume) => {
  process.stdout.on("error", () => resume(Effect.succeed(128 + 13)))
})

const complaint = (cause: Cause.Cause<{ readonly message: string }>): Effect.Effect<void> => {
  if (Cause.isInterruptedOnly(cause)) return Effect.void
  const failure = Cause.failureOption(cause)
  return Console.error(
    `sluice demo: ${failure._tag === "Some" ? failure.value.message : Cause.pretty(cause, { renderErrorCause: true })}`
  )
}

/** Runs it until it ends, or a signal ends it. What it leaves behind keeps the process alive: so it must leave nothing. */
export const run = (main: Main): void =>
  NodeRuntime.runMain(Effect.tapErrorCause(Effect.raceFirst(main, readerGone), complaint), {
    disableErrorReporting: true,
    teardown: (exit, end) =>
      end(Exit.isSuccess(exit) ? (exit.value as number) : Cause.isInterruptedOnly(exit.cause) ? 130 : 1)
  })
