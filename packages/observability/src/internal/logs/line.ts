/** A line of the log, before it is written. */
import { Effect } from "effect"

export interface Line {
  readonly level: "info" | "warning" | "error"
  readonly message: string
  /** What a collector of logs sorts by. The values are short, and there are few of them. */
  readonly about: Readonly<Record<string, string | number>>
}

const levels = { info: Effect.logInfo, warning: Effect.logWarning, error: Effect.logError }

export const write = ({ about, level, message }: Line): Effect.Effect<void> =>
  Effect.annotateLogs(levels[level](message), about)
