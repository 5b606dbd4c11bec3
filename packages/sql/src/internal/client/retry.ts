import type { SqlError } from "@effect/sql/SqlError"
import { CurrentDeadline, currentIn, type Instant, never } from "@sluice/pool/Deadline"
import type { AcquireError } from "@sluice/pool/PoolError"
import type { AcquireOptions } from "@sluice/pool/PoolOptions"
import { Cause, type Context, Effect, Option, type Schedule, ScheduleDecision, ScheduleIntervals } from "effect"
import * as SqlReason from "../../SqlReason.js"
import { acquired, type Cluster } from "../routing/cluster.js"
import { intentOf } from "../routing/intent.js"
import { LostOn } from "../routing/lostOn.js"
import { acquireTimeout } from "../routing/patience.js"
import * as Route from "../routing/route.js"
import { type Call, hasNotBegun } from "../session/options.js"
import * as Budget from "./budget.js"
import { isSqlError, toSqlError } from "./errors.js"
import type { Given } from "./given.js"
import * as policies from "./policy.js"
import { GivenPolicy, isLeftToGivenPolicy, isRepeatable } from "./references.js"

export interface Retrying {
  /**
   * One statement that commits by itself. Costs a frame while nothing fails. `once` is called for each run, because another server
   * may take the writes by then. `isHarmless`: it may be executed twice.
   */
  readonly statement: <A>(
    context: Context.Context<never>,
    once: (options: AcquireOptions | undefined) => Effect.Effect<A, AcquireError | SqlError>,
    isHarmless: boolean,
    options?: AcquireOptions
  ) => Effect.Effect<A, SqlError>
  readonly transaction: <A, E, R>(
    context: Context.Context<never>,
    isNested: boolean,
    call: Call,
    once: Effect.Effect<A, E | SqlError, R>
  ) => Effect.Effect<A, E | SqlError, R>
  /** What the program gave to `Sql.retry`. */
  readonly given: <A, E, R>(
    context: Context.Context<never>,
    given: Given,
    deadline: Instant,
    once: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
}

/** How something that has failed is run again. */
interface Plan {
  readonly schedule: Schedule.Schedule<unknown, any>
  readonly admits: (error: unknown) => boolean
  /** No run begins at this instant or later. */
  readonly until: Instant
  readonly budget: boolean
}

/** Milliseconds until a statement goes again to a server that says that it takes writes, and has refused this one. */
const REFUSED = 25

/** The server takes no writes, and what it has refused was rolled back. */
const isRefusedByStandby = (error: unknown): boolean => {
  const { _tag, connection } = SqlReason.of(error)
  return _tag === "NotWritable" && connection === "destroy"
}

export const make = <Conn>(cluster: Cluster<Conn>): Retrying => {
  const { timers, totals } = cluster
  const budget = Budget.make(() => acquired(cluster), Budget.retries)

  /** Conflicts between transactions are no sign of a server that fails. */
  const affords = (reason: SqlReason.SqlReason): boolean => policies.isConflict(reason) || budget.take(lostBy(reason))

  const noteFailure = (cause: Cause.Cause<unknown>) => Effect.sync(() => totals.failed(cause))

  /** One more execution, after a failure for this reason. */
  const counted = <A, E, R>(
    reason: SqlReason.SqlReason,
    once: Effect.Effect<A, E, R>,
    onFailure: (cause: Cause.Cause<E>) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> =>
    Effect.matchCauseEffect(Effect.zipRight(traceRetry(reason), once), {
      onFailure: (cause) => {
        totals.retried(reason, "failed")
        return onFailure(cause)
      },
      onSuccess: (a) => {
        totals.retried(reason, "succeeded")
        return Effect.succeed(a)
      }
    })

  /** `once`, away from the server that has lost it, if reads have another one. */
  const elsewhere = <A, E, R>(reason: SqlReason.SqlReason, once: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
    const cause = lostBy(reason)
    const target = cause && cluster.lostOn(cause)
    return target === undefined ? once : Effect.provideService(once, LostOn, target)
  }

  const repeat = <A, E, R>(first: Cause.Cause<E>, plan: Plan, once: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.clockWith((clock) => {
      const began = timers.now()
      const beganAt = clock.unsafeCurrentTimeMillis()
      let state = plan.schedule.initial
      /** What the runs so far may have left on the server. */
      let left: SqlReason.Outcome = "none"
      const next = (cause: Cause.Cause<E>, attempts: number): Effect.Effect<A, E, R> => {
        const failure = Cause.failureOption(cause)
        const before = left
        if (Option.isSome(failure) && isSqlError(failure.value)) left = worse(left, SqlReason.of(failure.value).outcome)
        const end = (isDenied: boolean) =>
          Effect.failCause(Cause.map(cause, (error) => withRuns(error, attempts, before, isDenied)))
        if (Option.isNone(failure) || !plan.admits(failure.value)) return end(false)
        // A schedule counts in milliseconds since the epoch. These go on from the first failure with the monotonic clock.
        const wall = Math.round(beganAt + timers.now() - began)
        return Effect.flatMap(plan.schedule.step(wall, failure.value, state), ([changed, , decision]) => {
          if (ScheduleDecision.isDone(decision)) return end(false)
          const pause = Math.max(0, ScheduleIntervals.start(decision.intervals) - wall)
          if (timers.now() + pause >= plan.until) return end(false)
          const reason = SqlReason.of(failure.value)
          if (plan.budget && !affords(reason)) {
            totals.retried(reason, "denied")
            return end(true)
          }
          state = changed
          const again = counted(reason, elsewhere(reason, once), (cause) => next(cause, attempts + 1))
          const run = isRefusedByStandby(failure.value) ? whenWritable(plan.until, again, end(false)) : again
          return pause > 0 ? Effect.zipRight(Effect.sleep(pause), run) : run
        })
      }
      return next(first, 1)
    })

  /** After a failure for which the program has given no policy. */
  const unasked = <A, E, R>(
    cause: Cause.Cause<E>,
    context: Context.Context<never>,
    deadline: Instant,
    admits: (error: unknown) => boolean,
    once: Effect.Effect<A, E, R>,
    isHarmless = false
  ): Effect.Effect<A, E, R> => {
    const failure = Cause.failureOption(cause)
    // A harmless read is run again when its connection was lost, which others that shared it may have caused. What the server
    // refuses is the answer to the statement.
    const wasLost = isHarmless && Option.isSome(failure) && SqlReason.of(failure.value).connection === "destroy"
    const situation = { repeatable: wasLost || isRepeatable(context), whole: false }
    // Most failures are the program's own, and end here.
    if (
      Option.isNone(failure) ||
      policies.longestPause(policies.standard, failure.value, 0, situation) === undefined ||
      isLeftToGivenPolicy(context, failure.value)
    ) {
      return Effect.failCause(cause)
    }
    const error = failure.value
    // The program has sent a write where only reads go. It would meet the same again.
    if (isRefusedByStandby(error) && !Route.mayWrite(cluster, intentOf(context))) return Effect.failCause(cause)
    return Effect.suspend(() => {
      // Where no deadline was declared, retries end when a wait for a connection would have ended.
      const until = deadline === never ? timers.now() + acquireTimeout(cluster, context, undefined) : deadline
      const plan = { schedule: policies.schedule(policies.standard, () => situation), admits, until, budget: true }
      return isRefusedByStandby(error) && SqlReason.of(error).retry === "always" && admits(error)
        ? onNext(cause, SqlReason.of(error), plan, once)
        : repeat(cause, plan, once)
    })
  }

  /** A server has refused a write because it takes none: pauses alone do not help, but another server, or a promotion, does. */
  const whenWritable = <A, E, R>(until: Instant, then: Effect.Effect<A, E, R>, otherwise: Effect.Effect<A, E, R>) =>
    Effect.withFiberRuntime<A, E, R>(({ currentContext }) => {
      const longest = timers.now() + acquireTimeout(cluster, currentContext, undefined)
      return Effect.flatMap(Route.writable(cluster, "write", Math.min(until, longest)), (target) =>
        target === undefined ? otherwise : then
      )
    })

  /** One statement that a server has refused so goes on when there is another, however often the roles change until then. */
  const onNext = <A, E, R>(
    cause: Cause.Cause<E>,
    reason: SqlReason.SqlReason,
    plan: Plan,
    once: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> =>
    whenWritable(
      plan.until,
      counted(reason, once, (cause) => {
        const failure = Cause.failureOption(cause)
        return Option.isSome(failure) && isRefusedByStandby(failure.value) && timers.now() < plan.until
          ? Effect.zipRight(Effect.sleep(REFUSED), onNext(cause, reason, plan, once))
          : repeat(cause, plan, once)
      }),
      Effect.failCause(cause)
    )

  const given: Retrying["given"] = (context, { admits, budget, schedule, timeout }, deadline, once) =>
    Effect.suspend(() => {
      const situation = { repeatable: isRepeatable(context), whole: true }
      const isAdmitted = (error: unknown) => admits(error, situation)
      const plan: Plan = {
        schedule: schedule(situation),
        admits: isAdmitted,
        until: Math.min(deadline, timers.now() + timeout),
        budget
      }
      const inside = Effect.provideService(once, GivenPolicy, isAdmitted)
      return Effect.catchAllCause(inside, (cause) => repeat(cause, plan, inside))
    })

  const statement: Retrying["statement"] = (context, once, isHarmless, options) =>
    Effect.catchAllCause(once(options), (cause) => {
      const failure = Cause.failureOption(cause)
      const rest = Option.isSome(failure) && Route.afterDismissal(cluster, context, options, failure.value)
      if (rest) return statement(context, once, isHarmless, rest)
      const again = Route.goingOn(cluster, options, once)
      const found = Cause.map(cause, toSqlError)
      return Effect.tapErrorCause(
        unasked(found, context, currentIn(context), () => true, again, isHarmless),
        noteFailure
      )
    })

  return {
    statement,
    transaction: (context, isNested, call, once) => {
      const { deadline, options } = call
      // Waits for a connection and statements end by then as well, also where nothing can be interrupted.
      const run = options.timeout === undefined ? once : Effect.provideService(once, CurrentDeadline, deadline)
      if (isNested) return run
      return options.retry === undefined
        ? Effect.catchAllCause(run, (cause) =>
            unasked(cause, context, deadline, (error) => hasNotBegun(error, call), run)
          )
        : given(context, options.retry, deadline, run)
    },
    given
  }
}

/** Notes on the span of the caller that something is executed again, and why. */
const traceRetry = ({ _tag, code }: SqlReason.SqlReason): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) => {
    const { currentSpan } = fiber
    if (currentSpan?._tag !== "Span") return Effect.void
    return Effect.clockWith((clock) =>
      Effect.sync(() =>
        currentSpan.event("sluice.retry", clock.unsafeCurrentTimeNanos(), {
          "error.type": _tag,
          ...(code === undefined ? {} : { "db.response.status_code": code })
        })
      )
    )
  })

/** What has ended the connection, the same for everything that was lost with it; `undefined` if none was lost. */
const lostBy = ({ cause, connection }: SqlReason.SqlReason): object | undefined =>
  connection === "destroy" && typeof cause === "object" && cause !== null ? cause : undefined

/** Of two outcomes the one that leaves more on the server. What was undone leaves as little as what was not done. */
const worse = (one: SqlReason.Outcome, other: SqlReason.Outcome): SqlReason.Outcome => {
  if (one === "executed" || other === "executed") return "executed"
  return one === "unknown" ? one : other
}

/** The failure, with how often it was tried, and with what the runs before may have done, which the last one does not undo. */
const withRuns = <E>(error: E, attempts: number, before: SqlReason.Outcome, isDenied: boolean): E => {
  if (!isSqlError(error) || (attempts === 1 && !isDenied)) return error
  const reason = SqlReason.of(error)
  const outcome = worse(before, reason.outcome)
  // The other classes say that nothing has stayed.
  const retry = outcome === reason.outcome || reason.retry === "never" ? reason.retry : "idempotent"
  const notes: Array<string> = []
  if (attempts > 1) notes.push(`after ${attempts} attempts`)
  if (outcome !== reason.outcome) {
    notes.push(outcome === "executed" ? "an earlier one was executed" : "an earlier one may have been executed")
  }
  if (isDenied) notes.push("not tried again, because too much was already: the retry budget is used up")
  return SqlReason.toError(
    { ...reason, attempts: Math.max(attempts, reason.attempts), outcome, retry, cause: reason.cause ?? error.cause },
    `${error.message} (${notes.join("; ")})`
  ) as E
}
