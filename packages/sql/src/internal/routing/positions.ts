import type { SqlError } from "@effect/sql/SqlError"
import * as AsyncContext from "@sluice/pool/AsyncContext"
import type { Instant, Timers } from "@sluice/pool/Deadline"
import { Effect, Exit, type Fiber } from "effect"
import type { Driver } from "../../driver/Driver.js"
import type { Mark, Marks } from "./marks.js"
import type { Members } from "./members.js"
import { Question } from "./question.js"
import type { Target } from "./target.js"

/** Milliseconds between two questions to the primary. With less, a busy program would ask it thousands of times a second. */
const GATHER = 1

/** Milliseconds between two questions to a replica that readers wait for. It is what a read waits longer than it must. */
const POLL = 2

/** Milliseconds between two trials of a replica that was late. The pause is doubled by each one that fails, up to the longest. */
const AGAIN = 100
const LONGEST = 2_000

export interface PositionsOptions<Conn> {
  readonly driver: Pick<Driver<any, Conn>, "askPosition" | "reached">
  readonly members: Members<Conn>
  readonly marks: Marks<Conn>
  readonly timers: Timers["Type"]
  /** Milliseconds that a read waits for a replica. */
  readonly maxCatchUp: number
  /** In a fiber that ends with the scope of the cluster. */
  readonly fork: <A>(effect: Effect.Effect<A, SqlError>) => Fiber.RuntimeFiber<A, SqlError>
}

interface Waiter {
  readonly wanted: string
  readonly done: (hasReached: boolean) => void
}

/** What is known of how quickly one replica follows. */
interface Follower {
  readonly question: Question<string | undefined>
  readonly waiters: Set<Waiter>
  isAsked: boolean
  /** When somebody has waited for it with success, last. */
  reachedAt: Instant
  /** A read has waited for it in vain. No other one waits until a trial has shown that it follows within `maxCatchUp` again. */
  isLate: boolean
  isTried: boolean
  /** When the next trial may begin, and the pause after it if it fails. */
  againAt: Instant
  pause: number
}

/**
 * Finds out how far the servers are, for reads that must not be behind a write. The questions go over the control connections, and
 * reads share them.
 */
export class Positions<Conn> {
  private readonly primary: Question<Answer | undefined>
  private last: Answer | undefined = undefined
  private readonly followers = new Map<Target<Conn>, Follower>()

  constructor(private readonly options: PositionsOptions<Conn>) {
    const { driver, fork, marks, members, timers } = options
    this.primary = new Question({
      timers,
      fork,
      pause: GATHER,
      ask: () => {
        const { epoch, primary, writable } = members
        const until = marks.count
        const position = primary.control.run((connection) => driver.askPosition(connection, "primary"))
        return Effect.map(position, (position) =>
          position === undefined || writable !== primary || members.epoch !== epoch
            ? undefined
            : { position, until, epoch }
        )
      }
    })
  }

  /** The position of a mark, which the primary is asked for when nobody has asked yet. `undefined` from `until` on. */
  ofMark(mark: Mark, until: Instant): string | undefined | Effect.Effect<string | undefined> {
    const { members } = this.options
    if (mark.position !== undefined && mark.epoch === members.epoch) return mark.position
    const { last } = this
    if (last !== undefined && last.epoch === members.epoch && mark.number <= last.until) return remember(mark, last)
    return Effect.map(this.ofPrimary(until), (answer) => (answer === undefined ? undefined : remember(mark, answer)))
  }

  /** How far the primary is now. `undefined` from `until` on, or when it does not say. */
  ofPrimary(until: Instant): Effect.Effect<Answer | undefined> {
    return this.within<Answer | undefined>(until, undefined, (done) => {
      this.primary.ask((exit) => {
        const answer = Exit.isSuccess(exit) ? exit.value : undefined
        if (answer !== undefined) {
          this.last = answer
          this.options.members.wrote(answer.position)
        }
        done(answer)
      })
    })
  }

  /** Whether the primary is known to have had this position. */
  wasReached(wanted: string): boolean {
    const { driver, members } = this.options
    const isPast = (position: string | undefined) => position !== undefined && driver.reached(position, wanted) === true
    return isPast(this.last?.position) || isPast(members.primary.position)
  }

  /** Whether a read may wait for this replica, because it is expected to be where it must be soon. Asks nobody that the read waits for. */
  isHopeful(target: Target<Conn>, wanted: string): boolean {
    const { driver, maxCatchUp } = this.options
    if (maxCatchUp === 0) return false
    const follower = this.followerOf(target)
    if (follower.isLate) {
      this.tryAgain(target, follower, wanted)
      return false
    }
    return target.position === undefined || driver.reached(target.position, wanted) !== undefined
  }

  /** Waits until the replica has reached the position: false from `until` on, and at once when the replica does not say. */
  reach(target: Target<Conn>, wanted: string, until: Instant): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const { timers } = this.options
      const follower = this.followerOf(target)
      const isWhole = until - timers.now() > this.options.maxCatchUp - 1
      return this.within(until, false, (done) => {
        const waiter: Waiter = { wanted, done }
        follower.waiters.add(waiter)
        this.poll(target, follower)
        return (isLate) => {
          follower.waiters.delete(waiter)
          // One that others have just waited for with success may only have paused for a moment.
          const isSlow = timers.now() - follower.reachedAt > 2 * this.options.maxCatchUp
          if (isLate && isWhole && isSlow) follower.isLate = true
        }
      })
    })
  }

  private followerOf(target: Target<Conn>): Follower {
    const { driver, fork, timers } = this.options
    let follower = this.followers.get(target)
    if (follower === undefined) {
      follower = {
        question: new Question({
          timers,
          fork,
          pause: POLL,
          ask: () => target.control.run((connection) => driver.askPosition(connection, "replica"))
        }),
        waiters: new Set(),
        isAsked: false,
        reachedAt: -Infinity,
        isLate: false,
        isTried: false,
        againAt: -Infinity,
        pause: AGAIN
      }
      this.followers.set(target, follower)
    }
    return follower
  }

  /** Asks the replica, and again for as long as somebody waits. */
  private poll(target: Target<Conn>, follower: Follower): void {
    if (follower.isAsked) return
    follower.isAsked = true
    follower.question.ask((exit) => {
      follower.isAsked = false
      const position = Exit.isSuccess(exit) ? exit.value : undefined
      if (position !== undefined) target.position = position
      for (const waiter of [...follower.waiters]) {
        if (position === undefined) waiter.done(false)
        else if (this.options.driver.reached(position, waiter.wanted) === true) {
          follower.reachedAt = this.options.timers.now()
          waiter.done(true)
        }
      }
      if (follower.waiters.size > 0) this.poll(target, follower)
    })
  }

  /** Lets nobody but itself wait for a replica that was late. */
  private tryAgain(target: Target<Conn>, follower: Follower, wanted: string): void {
    const { maxCatchUp, timers } = this.options
    const now = timers.now()
    if (follower.isTried || now < follower.againAt) return
    follower.isTried = true
    const end = (hasReached: boolean) => {
      timer.cancel()
      follower.waiters.delete(trial)
      follower.isTried = false
      follower.isLate = !hasReached
      follower.againAt = hasReached ? -Infinity : timers.now() + follower.pause
      follower.pause = hasReached ? AGAIN : Math.min(2 * follower.pause, LONGEST)
    }
    const timer = timers.set(now + maxCatchUp, () => end(false))
    const trial: Waiter = { wanted, done: end }
    follower.waiters.add(trial)
    this.poll(target, follower)
  }

  /** What `begin` tells, or `otherwise` from `until` on. What `begin` gives is called at the end. */
  private within<A>(
    until: Instant,
    otherwise: A,
    begin: (done: (a: A) => void) => void | ((isLate: boolean) => void)
  ): Effect.Effect<A> {
    const { timers } = this.options
    return AsyncContext.async<A>((resume) => {
      let isDone = false
      let end: void | ((isLate: boolean) => void)
      const finish = (a: A, isLate: boolean) => {
        if (isDone) return
        isDone = true
        timer.cancel()
        end?.(isLate)
        resume(Effect.succeed(a))
      }
      const timer = timers.set(until, () => finish(otherwise, true))
      end = begin((a) => finish(a, false))
      // It may have told already.
      if (isDone) end?.(false)
      return Effect.sync(() => {
        isDone = true
        timer.cancel()
        end?.(false)
      })
    })
  }
}

/** What the primary has said. */
export interface Answer {
  readonly position: string
  /** The number of the last mark that was made before the question. */
  readonly until: number
  readonly epoch: number
}

const remember = (mark: Mark, { epoch, position, until }: Answer): string => {
  // Its fiber may have written more since the question.
  if (mark.number <= until) {
    mark.position = position
    mark.epoch = epoch
  }
  return position
}
