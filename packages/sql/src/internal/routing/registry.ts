import type { SqlError } from "@effect/sql/SqlError"
import type { Scope } from "effect"
import { Effect, GlobalValue } from "effect"
import * as SqlReason from "../../SqlReason.js"

interface Live {
  readonly name: string
  readonly madeAt: string
}

/** Every database that a Layer of this process holds a pool on. Two copies of this module share it. */
const live = GlobalValue.globalValue(Symbol.for("@sluice/sql/registry"), () => new Map<string, Array<Live>>())

/**
 * Notes the pools of a Layer until its scope closes, and reports a database that has one already. Two pools on one database,
 * each with a maximum of its own, take twice the connections that were planned, and nobody notices until the server refuses.
 */
export const register = (
  keys: ReadonlyArray<readonly [key: string, name: string]>,
  madeAt: string,
  duplicates: "warn" | "error" | "allow"
): Effect.Effect<void, SqlError, Scope.Scope> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      for (const [key, name] of keys) {
        const others = live.get(key) ?? []
        const other = others[0]
        if (other !== undefined && duplicates !== "allow") {
          const message = `a second pool on one database: "${name}", made ${madeAt}, and "${other.name}", made ${other.madeAt}. Each opens up to its own maximum. Build one Layer, keep it in a constant and provide that, so that it is shared; or set duplicates: "allow" if both are meant`
          if (duplicates === "error") {
            return yield* Effect.fail(
              SqlReason.toError(SqlReason.make("InvalidOptions", { connection: "none" }), message)
            )
          }
          yield* Effect.logWarning(message)
        }
        const mine: Live = { name, madeAt }
        yield* Effect.acquireRelease(
          Effect.sync(() => live.set(key, [...others, mine])),
          () =>
            Effect.sync(() => {
              const left = (live.get(key) ?? []).filter((one) => one !== mine)
              if (left.length === 0) live.delete(key)
              else live.set(key, left)
            })
        )
      }
    })
  )

/** The line of the program that called `of`, for messages. */
export const callSite = (of: Function): string => {
  const holder: { stack?: string } = {}
  Error.captureStackTrace(holder, of)
  const line = holder.stack?.split("\n")[1]?.trim()
  return line === undefined ? "at an unknown place" : line
}
