import type { SqlError } from "@effect/sql/SqlError"
import type { Instant, Timer, Timers } from "@sluice/pool/Deadline"
import type { Effect, Exit, Fiber } from "effect"

export interface QuestionOptions<A> {
  readonly timers: Timers["Type"]
  /** Milliseconds from the beginning of one question to the beginning of the next. */
  readonly pause: number
  readonly ask: () => Effect.Effect<A, SqlError>
  readonly fork: <A>(effect: Effect.Effect<A, SqlError>) => Fiber.RuntimeFiber<A, SqlError>
}

/**
 * A question to one server that many callers share. At most one is under way, and between two of them there is a pause, so that callers
 * gather.
 */
export class Question<A> {
  private isAsking = false
  private timer: Timer | undefined
  private begunAt: Instant = -Infinity
  private next: Array<(exit: Exit.Exit<A, SqlError>) => void> = []

  constructor(private readonly options: QuestionOptions<A>) {}

  /** Tells `listener` the answer to a question that is sent after this call. */
  ask(listener: (exit: Exit.Exit<A, SqlError>) => void): void {
    this.next.push(listener)
    this.plan()
  }

  private plan(): void {
    const { pause, timers } = this.options
    if (this.isAsking || this.timer !== undefined || this.next.length === 0) return
    const at = this.begunAt + pause
    if (at <= timers.now()) this.send()
    else {
      this.timer = timers.set(at, () => {
        this.timer = undefined
        this.send()
      })
    }
  }

  private send(): void {
    const { ask, fork, timers } = this.options
    const listeners = this.next
    this.next = []
    this.isAsking = true
    this.begunAt = timers.now()
    fork(ask()).addObserver((exit) => {
      this.isAsking = false
      for (const listener of listeners) listener(exit)
      this.plan()
    })
  }
}
