import type { SqlError } from "@effect/sql/SqlError"
import { Effect, type Scope } from "effect"
import * as SqlReason from "../../SqlReason.js"

/** A pool of this process that is not closed. */
export interface Live {
  readonly name: string
  readonly madeAt: string
  /** The Layer that has made it. The pools of one Layer are meant to be together. */
  readonly layer: object
}

/** The pools of one Layer. */
export interface Registration {
  /** A pool of this name. What is said of it is said once for each other pool. */
  readonly pool: (name: string) => Registered
  /** None of the pools counts any more. */
  readonly end: Effect.Effect<void>
}

/** One pool. */
export interface Registered {
  /**
   * Notes that the pool is at `key`, instead of at `before`, and reports the other pools there. Fails with `InvalidOptions`, and
   * notes nothing, if duplicates are an error.
   */
  readonly isAt: (key: string, before?: string) => Effect.Effect<void, SqlError>
}

const Key: unique symbol = Symbol.for("@sluice/sql/pools/1")

/** Under a symbol, so that two copies of this library, and two versions of it or of Effect, share it. */
const shared = globalThis as { [Key]?: Map<string, Array<Live>> }

const live = (): Map<string, Array<Live>> => {
  shared[Key] ??= new Map()
  return shared[Key]
}

const add = (key: string, one: Live): void => {
  const there = live().get(key)
  if (there === undefined) live().set(key, [one])
  else if (!there.includes(one)) there.push(one)
}

const remove = (key: string, one: Live): void => {
  const left = live()
    .get(key)
    ?.filter((other) => other !== one)
  if (left === undefined || left.length === 0) live().delete(key)
  else live().set(key, left)
}

/**
 * Notes the pools of a Layer until its scope closes, and reports a database that has a pool already. Two pools on one database, each
 * with a maximum of its own, take twice the connections that were planned, and nobody notices until the server refuses.
 */
export const make = (
  madeAt: string,
  duplicates: "warn" | "error" | "allow"
): Effect.Effect<Registration, never, Scope.Scope> => {
  const layer = {}
  const noted = new Map<Live, Set<string>>()
  const pool = (name: string): Registered => {
    const mine: Live = { name, madeAt, layer }
    const keys = new Set<string>()
    noted.set(mine, keys)
    /** The pools that were reported, by another address as a rule. */
    const known = new Set<Live>()
    return {
      isAt: (key, before) =>
        Effect.suspend(() => {
          const other = live()
            .get(key)
            ?.find((one) => one.layer !== layer && !known.has(one))
          const isReported = other !== undefined && duplicates !== "allow"
          if (isReported && duplicates === "error") return Effect.fail(refusal(mine, other))
          for (const one of live().get(key) ?? []) known.add(one)
          if (before !== undefined) {
            keys.delete(before)
            remove(before, mine)
          }
          keys.add(key)
          add(key, mine)
          return isReported ? Effect.logWarning(messageOf(mine, other)) : Effect.void
        })
    }
  }
  const end = Effect.sync(() => {
    for (const [one, keys] of noted) for (const key of keys) remove(key, one)
    noted.clear()
  })
  return Effect.acquireRelease(Effect.succeed({ pool, end }), () => end)
}

const messageOf = (mine: Live, other: Live): string =>
  `a second pool on one database: "${mine.name}", made ${mine.madeAt}, and "${other.name}", made ${other.madeAt}. Each opens up to its own maximum. Build one Layer, keep it in a constant and provide that, so that it is shared; or set duplicates: "allow" if both are meant`

const refusal = (mine: Live, other: Live): SqlError =>
  SqlReason.toError(SqlReason.make("InvalidOptions", { connection: "none" }), messageOf(mine, other))

/** The line of the program that called `of`, for messages. */
export const callSite = (of: Function): string => {
  const holder: { stack?: string } = {}
  Error.captureStackTrace(holder, of)
  const line = holder.stack?.split("\n")[1]?.trim()
  return line === undefined ? "at an unknown place" : line
}
