import type { SqlError } from "@effect/sql/SqlError"
import * as AsyncContext from "@sluice/pool/AsyncContext"
import type { Instant, Timer, Timers } from "@sluice/pool/Deadline"
import { Effect } from "effect"

/** What one read may take of the primary: see `PrimaryReads`. */
export interface Permit {
  /** The read has ended, or will not begin. */
  readonly end: () => void
}

/** What came of the wait for a permit. */
export type Turn = "granted" | "replica" | "late"

interface Waiter {
  readonly units: number
  readonly tell: (turn: Turn) => void
}

/**
 * The reads that are on the primary because there was no replica for them. Only so many of them are there at the same time; the
 * others wait, the oldest first.
 *
 * A unit is one packed read: as many of them as a connection carries count like one read that has a connection for itself.
 */
export class PrimaryReads {
  /** Units under way. Changed by `begin` and by the end of a permit. */
  private inUse = 0
  private waiters: Array<Waiter> = []

  constructor(
    private readonly timers: Timers["Type"],
    /** Units of a connection. */
    readonly depth: number,
    /** Units that there are now: the pool of the primary may be resized, or another server may become the primary. */
    private readonly capacity: () => number
  ) {}

  /** Runs `use` with a permit, as soon as there is one. `otherwise` says what to do when there is none. */
  take<A, E, R>(
    units: number,
    until: Instant,
    use: (permit: Permit) => Effect.Effect<A, E, R>,
    otherwise: (turn: "replica" | "late") => Effect.Effect<A, E | SqlError, R>
  ): Effect.Effect<A, E | SqlError, R> {
    return Effect.suspend(() => {
      let isHeld = false
      const permit: Permit = {
        end: () => {
          if (!isHeld) return
          isHeld = false
          this.inUse -= units
          this.admit()
        }
      }
      const hold = () => {
        isHeld = true
        this.inUse += units
      }
      if (this.waiters.length === 0 && this.fits(units)) {
        hold()
        return Effect.onError(use(permit), () => Effect.sync(permit.end))
      }
      return Effect.onError(
        Effect.flatMap(this.wait(units, until, hold), (turn) => (turn === "granted" ? use(permit) : otherwise(turn))),
        // The turn may have come at the moment of the interruption.
        () => Effect.sync(permit.end)
      )
    })
  }

  /** A replica can be read from again: whoever waits chooses anew. */
  readonly returned = (): void => {
    for (const { tell } of this.waiters.splice(0)) tell("replica")
  }

  private wait(units: number, until: Instant, hold: () => void): Effect.Effect<Turn> {
    return AsyncContext.async<Turn>((resume) => {
      let timer: Timer | undefined
      const waiter: Waiter = {
        units,
        tell: (turn) => {
          timer?.cancel()
          if (turn === "granted") hold()
          resume(Effect.succeed(turn))
        }
      }
      const leave = () => {
        timer?.cancel()
        const index = this.waiters.indexOf(waiter)
        if (index >= 0) this.waiters.splice(index, 1)
      }
      timer = this.timers.set(until, () => {
        leave()
        waiter.tell("late")
      })
      this.waiters.push(waiter)
      return Effect.sync(() => {
        leave()
        // Those behind it may fit where it did not.
        this.admit()
      })
    })
  }

  /** One read fits always, unless no read may be there at all. */
  private fits(units: number): boolean {
    const capacity = this.capacity()
    return capacity > 0 && (this.inUse === 0 || this.inUse + units <= capacity)
  }

  private admit(): void {
    while (this.waiters.length > 0 && this.fits(this.waiters[0]!.units)) this.waiters.shift()!.tell("granted")
  }
}
