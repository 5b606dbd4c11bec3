/** What the demo has measured so far: the answers that clients got, and how long requests waited for a connection. */
import { Sql } from "@sluice/sql"
import { Clock, Effect, Stream } from "effect"

/** The end of a request, with or without an answer. */
export interface Answer {
  readonly at: number
  readonly write: boolean
  /** Why the request failed: the tag in the answer, or the error of the socket. `undefined` if it was served. */
  readonly failure: string | undefined
}

/** A lease that a pool has granted. */
export interface Wait {
  readonly pool: string
  readonly at: number
  readonly ms: number
  readonly background: boolean
}

export interface Meter {
  readonly answers: ReadonlyArray<Answer>
  readonly waits: ReadonlyArray<Wait>
  /** Ids of the payments that were acknowledged. From then on they must never be lost. */
  readonly acknowledged: ReadonlyArray<string>
  readonly answered: (answer: Omit<Answer, "at"> & { readonly paid?: string | undefined }) => Effect.Effect<void>
  /** Records the leases of all pools until it is interrupted. */
  readonly listen: Effect.Effect<void, never, Sql.Sql>
}

export const make: Effect.Effect<Meter> = Effect.sync(() => {
  const answers: Array<Answer> = []
  const waits: Array<Wait> = []
  const acknowledged: Array<string> = []
  return {
    answers,
    waits,
    acknowledged,
    answered: ({ failure, paid, write }) =>
      Effect.map(Clock.currentTimeMillis, (at) => {
        answers.push({ at, write, failure })
        if (paid !== undefined) acknowledged.push(paid)
      }),
    listen: Sql.events.pipe(
      Stream.runForEach(({ event, pool }) =>
        event._tag !== "Acquired"
          ? Effect.void
          : Effect.map(Clock.currentTimeMillis, (at) => {
              waits.push({ at, pool, ms: event.waitMs, background: event.priority === "background" })
            })
      )
    )
  }
})

/**
 * The entries at `from` or later and before `to`. The list must be in the order of time: the search begins at its end.
 */
export const between = <A extends { readonly at: number }>(list: ReadonlyArray<A>, from: number, to = Infinity) => {
  let start = list.length
  while (start > 0 && list[start - 1]!.at >= from) start--
  return list.slice(start).filter(({ at }) => at < to)
}

/** The wait in milliseconds that 99 of 100 do not exceed; 0 if there are none. */
export const p99 = (waits: ReadonlyArray<Wait>): number => {
  const sorted = waits.map(({ ms }) => ms).sort((a, b) => a - b)
  return sorted[Math.ceil(sorted.length * 0.99) - 1] ?? 0
}

/** `ConnectionLost 3, CommitUnknown 1`, the most frequent first. */
export const reasons = (answers: ReadonlyArray<Answer>): string => {
  const counts = new Map<string, number>()
  for (const { failure } of answers) if (failure !== undefined) counts.set(failure, (counts.get(failure) ?? 0) + 1)
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([reason, count]) => `${reason} ${count}`)
    .join(", ")
}
