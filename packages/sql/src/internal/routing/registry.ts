import type { SqlError } from "@effect/sql/SqlError"
import { Effect, Scope } from "effect"
import * as SqlReason from "../../SqlReason.js"

/** A pool of this process that is not closed. */
export interface Live {
  readonly name: string
  readonly madeAt: string
  /** The Layer that has made it. The pools of one Layer are meant to be together. */
  readonly layer: object
  /** Rises with each pool that is made. */
  readonly order: number
  readonly duplicates: Duplicates
  /** The pools that were reported together with it, or that the program has allowed. */
  readonly known: WeakSet<Live>
}

type Duplicates = "warn" | "error" | "allow"

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
   * Notes that the pool is at `key`, instead of at `before`, and reports another pool there: as the one of both wants that was made
   * later. Fails with `InvalidOptions`, and notes nothing, if that is this one and duplicates are an error to it.
   */
  readonly isAt: (key: string, before?: string) => Effect.Effect<void, SqlError>
}

const Key: unique symbol = Symbol.for("@sluice/sql/pools/1")

interface Shared {
  /** The pools at each key. */
  readonly pools: Map<string, Array<Live>>
  made: number
}

const shared = (): Shared => {
  // Under a symbol, so that two copies of this library, and two versions of it or of Effect, share it.
  const at = globalThis as { [Key]?: Shared }
  at[Key] ??= { pools: new Map(), made: 0 }
  return at[Key]
}

const live = (): Map<string, Array<Live>> => shared().pools

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
export const make = (madeAt: CallSite, duplicates: Duplicates): Effect.Effect<Registration, never, Scope.Scope> => {
  const layer = {}
  const noted = new Map<Live, Set<string>>()
  const pool = (name: string): Registered => {
    const mine: Live = {
      name,
      get madeAt() {
        return madeAt()
      },
      layer,
      duplicates,
      order: shared().made++,
      known: new WeakSet()
    }
    const keys = new Set<string>()
    noted.set(mine, keys)
    return {
      isAt: (key, before) =>
        Effect.suspend(() => {
          const others = (live().get(key) ?? []).filter((one) => one.layer !== layer && !mine.known.has(one))
          const earlier = others.find(({ order }) => order < mine.order)
          const other = earlier ?? others[0]
          const isLater = earlier !== undefined
          if (isLater && duplicates === "error") return Effect.fail(refusal(mine, earlier))
          for (const one of others) {
            mine.known.add(one)
            one.known.add(mine)
          }
          if (before !== undefined) {
            keys.delete(before)
            remove(before, mine)
          }
          keys.add(key)
          add(key, mine)
          if (other === undefined || (isLater ? mine : other).duplicates === "allow") return Effect.void
          const message = isLater ? messageOf(mine, other) : messageOf(other, mine)
          return Effect.annotateLogs(Effect.logWarning(message), { pool: mine.name, state: "duplicate" })
        })
    }
  }
  const end = Effect.sync(() => {
    for (const [one, keys] of noted) for (const key of keys) remove(key, one)
    noted.clear()
  })
  return Effect.scopeWith((scope) => Effect.as(Scope.addFinalizer(scope, end), { pool, end }))
}

const messageOf = (mine: Live, other: Live): string =>
  `a second pool on one database: "${mine.name}", made ${mine.madeAt}, and "${other.name}", made ${other.madeAt}. Each opens up to its own maximum. Build one Layer, keep it in a constant and provide that, so that it is shared; or set duplicates: "allow" if both are meant`

const refusal = (mine: Live, other: Live): SqlError =>
  SqlReason.toError(SqlReason.make("InvalidOptions", { connection: "none" }), messageOf(mine, other))

/** A line of the program, for messages. Writing it out takes longer than all else that a pool is made of, so it is done when asked. */
export type CallSite = () => string

export const unknownPlace: CallSite = () => "at an unknown place"

/** The line of the program that called `of`. */
export const callSite = (of: Function): CallSite => {
  const holder: { stack?: string } = {}
  Error.captureStackTrace(holder, of)
  return () => holder.stack?.split("\n")[1]?.trim() ?? unknownPlace()
}
