/** Requests that come at a steady pace, whatever becomes of those before them. */
import { Clock, Effect, Fiber, Ref, Schedule, type Scope } from "effect"

/** The end of a request. */
export interface Answer {
  /** Milliseconds, from the moment at which the request came. */
  readonly elapsed: number
  /** The failure, if there was one: code of the server, and text. */
  readonly failure: Failure | undefined
}

export interface Failure {
  readonly code: string | undefined
  readonly message: string
}

/** What a failure says. Its cause, or the cause of that, is the error of the driver. */
export const failureOf = (error: unknown): Failure => {
  let at: unknown = error
  while (typeof at === "object" && at !== null && !("code" in at) && "cause" in at) at = at.cause
  const { code, message } = (at ?? {}) as { readonly code?: unknown; readonly message?: unknown }
  return { code: typeof code === "string" ? code : undefined, message: String(message ?? error) }
}

export interface Load {
  readonly answers: ReadonlyArray<Answer>
  /** Another pace, from now on: milliseconds between two requests. */
  readonly pace: (millis: number) => Effect.Effect<void>
  /** No request comes any more. Waits for those under way. */
  readonly stop: Effect.Effect<void>
}

/** Sends the requests that `next` gives, one every so many milliseconds. */
export const start = <E, R>(
  next: () => Effect.Effect<unknown, E, R>,
  millis: number
): Effect.Effect<Load, never, R | Scope.Scope> =>
  Effect.gen(function* () {
    const answers: Array<Answer> = []
    const pause = yield* Ref.make(millis)
    const running = new Set<Fiber.RuntimeFiber<void>>()
    const send = Effect.gen(function* () {
      const came = yield* Clock.currentTimeNanos
      const failure = yield* Effect.match(next(), { onSuccess: () => undefined, onFailure: failureOf })
      answers.push({ elapsed: Number((yield* Clock.currentTimeNanos) - came) / 1e6, failure })
    })
    const one = Effect.gen(function* () {
      const fiber = yield* Effect.forkScoped(send)
      running.add(fiber)
      fiber.addObserver(() => running.delete(fiber))
      yield* Effect.sleep(yield* Ref.get(pause))
    })
    const sending = yield* Effect.forkScoped(Effect.forever(one))
    return {
      answers,
      pace: (millis) => Ref.set(pause, millis),
      stop: Effect.zipRight(
        Fiber.interrupt(sending),
        Effect.suspend(() => Fiber.joinAll([...running]))
      )
    }
  })

/** The value below which this part of the requests has been answered, in milliseconds. */
export const percentile = (answers: ReadonlyArray<Answer>, part: number): number => {
  const sorted = answers.map(({ elapsed }) => elapsed).sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN
}

/** Looks every so often until the scope closes, and says what is seen. */
export const watch = <R>(look: Effect.Effect<void, never, R>, every: number) =>
  Effect.forkScoped(Effect.repeat(look, Schedule.spaced(every)))
