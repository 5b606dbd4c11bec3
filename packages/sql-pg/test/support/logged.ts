import { Effect, type HashMap, Logger, type LogLevel } from "effect"

/** What was logged, for a test to read. */
export interface Logged {
  readonly level: LogLevel.LogLevel["_tag"]
  readonly text: string
}

/** Runs `effect` with a logger that keeps everything; gives its result and what was logged until now. */
export const logged = <A, E, R>(effect: (entries: ReadonlyArray<Logged>) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const entries: Array<Logged> = []
    const keeper = Logger.make(({ annotations, logLevel, message }) => {
      const notes = Array.from(annotations as HashMap.HashMap<string, unknown>)
      entries.push({ level: logLevel._tag, text: [message].flat().concat(notes).map(String).join(" ") })
    })
    return Effect.provide(effect(entries), Logger.replace(Logger.defaultLogger, keeper))
  })
