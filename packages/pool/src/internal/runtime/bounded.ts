/**
 * Effects that the pool runs for itself: each for a bounded time, and none longer than the pool.
 */
import { type Effect, type Exit, FiberId, Runtime as Runtimes } from "effect"
import type { Timers } from "../../Deadline.js"

export class Bounded {
  /** How to stop each piece of work that is under way. */
  private readonly running = new Set<() => void>()
  private isOver = false

  constructor(private readonly timers: Timers["Type"]) {}

  /**
   * Runs `effect` for at most `ms`. `then` is called once: with the exit, or with nothing when the time is over. Then the
   * fiber is interrupted and left behind, because an effect may be deaf to interrupts. What is returned does that at once.
   */
  run<B, F, R>(
    runtime: Runtimes.Runtime<R>,
    effect: Effect.Effect<B, F, R>,
    ms: number,
    then: (exit: Exit.Exit<B, F> | undefined) => void
  ): () => void {
    const { running, timers } = this
    const until = timers.now() + ms
    const fiber = Runtimes.runFork(runtime, effect)
    const done = fiber.unsafePoll()
    if (done !== null) {
      then(done)
      return () => undefined
    }
    const end = (exit: Exit.Exit<B, F> | undefined): void => {
      if (!running.delete(stop)) return
      timer.cancel()
      if (exit === undefined) fiber.unsafeInterruptAsFork(FiberId.none)
      then(exit)
    }
    const stop = () => end(undefined)
    running.add(stop)
    const timer = timers.set(until, stop)
    fiber.addObserver(end)
    // The timers may have ended with the pool.
    if (this.isOver) stop()
    return stop
  }

  /** The pool is over: stops everything. What begins later may take no time. */
  stop(): void {
    this.isOver = true
    for (const stop of this.running) stop()
  }
}
