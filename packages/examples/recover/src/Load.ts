/** The requests of one side, and how each of them ended. */
import { Clock, Effect, Fiber, type Scope } from "effect"
import type * as Side from "./Side.js"

export type Kind = "read" | "write"

/** The end of a request. */
export interface Answer {
  readonly at: number
  readonly kind: Kind
  /** Why the request failed. `undefined` if it was served. */
  readonly failure: string | undefined
}

export interface Load {
  readonly answers: ReadonlyArray<Answer>
  /** Numbers of the writes that were acknowledged. */
  readonly acknowledged: ReadonlyArray<number>
  /** Starts no request any more, and waits for those under way, at most 5 seconds. */
  readonly stop: Effect.Effect<void>
}

/** Starts so many readers and as many writers. Each sends one request after the other. */
export const start = (side: Side.Side, each: number): Effect.Effect<Load, never, Scope.Scope> =>
  Effect.gen(function* () {
    const answers: Array<Answer> = []
    const acknowledged: Array<number> = []
    let next = 0
    let going = true

    const note = (answer: Omit<Answer, "at">, id: number | undefined) =>
      Effect.map(Clock.currentTimeMillis, (at) => {
        answers.push({ at, ...answer })
        if (id !== undefined && answer.failure === undefined) acknowledged.push(id)
      })
    const ask = (kind: Kind, request: Effect.Effect<unknown, Side.Failed>, id?: number) =>
      Effect.matchEffect(request, {
        onSuccess: () => note({ kind, failure: undefined }, id),
        onFailure: ({ reason }) => note({ kind, failure: reason }, id)
      })
    const write = Effect.suspend(() => {
      const id = next++
      return ask("write", side.write(id), id)
    })
    const running = yield* Effect.forEach(
      Array.from({ length: each }).flatMap(() => [ask("read", side.read), write]),
      (request) => Effect.repeat(request, { while: () => going }),
      { concurrency: "unbounded", discard: true }
    ).pipe(Effect.forkScoped)
    return {
      answers,
      acknowledged,
      stop: Effect.suspend(() => {
        going = false
        return Effect.ignore(Effect.timeout(Effect.disconnect(Fiber.join(running)), "5 seconds"))
      })
    }
  })

/**
 * The answers at `from` or later and before `to`. The list must be in the order of time: the search begins at its end.
 */
export const between = (answers: ReadonlyArray<Answer>, from: number, to = Infinity): ReadonlyArray<Answer> => {
  let start = answers.length
  while (start > 0 && answers[start - 1]!.at >= from) start--
  return answers.slice(start).filter(({ at }) => at < to)
}

export const served = (answers: ReadonlyArray<Answer>, kind: Kind): ReadonlyArray<Answer> =>
  answers.filter((answer) => answer.kind === kind && answer.failure === undefined)

export const failed = (answers: ReadonlyArray<Answer>, kind?: Kind): ReadonlyArray<Answer> =>
  answers.filter((answer) => answer.failure !== undefined && (kind === undefined || answer.kind === kind))

/** `2: ConnectionLost 1, ServerShutdown 1`, the most frequent first. */
export const reasons = (failures: ReadonlyArray<Answer>): string => {
  const counts = new Map<string, number>()
  for (const { failure = "" } of failures) counts.set(failure, (counts.get(failure) ?? 0) + 1)
  const listed = [...counts].sort(([, a], [, b]) => b - a).map(([reason, count]) => `${reason} ${count}`)
  return failures.length === 0 ? "0" : `${failures.length}: ${listed.join(", ")}`
}
