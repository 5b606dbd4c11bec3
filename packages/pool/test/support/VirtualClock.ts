/**
 * A clock that stands still until a test moves it. `TestClock` would do, but waits some real milliseconds at each step,
 * which is too much for pools that live for hours; and this one can say whether anybody still sleeps on it.
 */
import { Clock, Duration, Effect } from "effect"

interface Sleeper {
  readonly at: number
  readonly order: number
  readonly wake: () => void
}

export class VirtualClock implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  private readonly sleepers = new Set<Sleeper>()
  private orders = 0
  /** How far the wall clock is from the monotonic one. */
  private wall = 0

  constructor(private millis = 1_700_000_000_000) {}

  /** The wall clock is set forward or back; no time passes. */
  stepWall(ms: number): void {
    this.wall += ms
  }

  unsafeCurrentTimeMillis(): number {
    return this.millis + this.wall
  }

  unsafeCurrentTimeNanos(): bigint {
    return BigInt(this.millis) * 1_000_000n
  }

  readonly currentTimeMillis = Effect.sync(() => this.unsafeCurrentTimeMillis())
  readonly currentTimeNanos = Effect.sync(() => this.unsafeCurrentTimeNanos())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      const sleeper: Sleeper = {
        at: this.millis + Duration.toMillis(duration),
        order: this.orders++,
        wake: () => resume(Effect.void)
      }
      this.sleepers.add(sleeper)
      return Effect.sync(() => this.sleepers.delete(sleeper))
    })
  }

  /** How many fibers sleep. */
  get sleeping(): number {
    return this.sleepers.size
  }

  /** Lets `ms` pass, waking everybody exactly when it is due, and lets all fibers run until nothing is left to do. */
  pass(ms: number, afterEach: () => void = () => undefined): Effect.Effect<void> {
    return Effect.promise(async () => {
      const end = this.millis + ms
      await quiet()
      for (let next = this.nextUntil(end); next !== undefined; next = this.nextUntil(end)) {
        this.millis = Math.max(this.millis, next.at)
        this.wake()
        await quiet()
        afterEach()
      }
      this.millis = end
      await quiet()
      afterEach()
    })
  }

  /** `ms` are over at once, as for a process that was stopped: nobody was woken in between. */
  jump(ms: number): Effect.Effect<void> {
    return Effect.promise(async () => {
      await quiet()
      this.millis += ms
      this.wake()
      await quiet()
    })
  }

  /** As `jump`, for code that is no effect: whoever is due has been woken, and has not run yet. */
  jumpNow(ms: number): void {
    this.millis += ms
    this.wake()
  }

  private nextUntil(end: number): Sleeper | undefined {
    let next: Sleeper | undefined
    for (const sleeper of this.sleepers) {
      if (sleeper.at <= end && (next === undefined || sleeper.at < next.at)) next = sleeper
    }
    return next
  }

  private wake(): void {
    const due = [...this.sleepers].filter((sleeper) => sleeper.at <= this.millis)
    for (const sleeper of due.sort((a, b) => a.at - b.at || a.order - b.order)) {
      this.sleepers.delete(sleeper)
      sleeper.wake()
    }
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** All fibers have run until they wait for something. Effect's scheduler uses microtasks, and now and then a timeout. */
const quiet = async (): Promise<void> => {
  await turn()
  await turn()
}

/** As a step of a test. */
export const settle: Effect.Effect<void> = Effect.promise(quiet)
