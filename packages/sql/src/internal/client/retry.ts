import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import * as Pool from "@sluice/pool/Pool"
import type { AcquireError } from "@sluice/pool/PoolError"
import { Cause, Clock, Context, Duration, Effect, Option, Schedule } from "effect"
import * as SqlReason from "../../SqlReason.js"
import { type Policy, standard } from "../../SqlRetry.js"
import { type Intent, intentOf, type Router } from "../routing/router.js"
import type * as Transaction from "../session/transaction.js"
import * as Budget from "./budget.js"
import { isSqlError, toSqlError } from "./errors.js"
import * as policies from "./policy.js"

/** What is inside may be executed twice. */
export class Idempotent extends Context.Reference<Idempotent>()("@sluice/sql/Idempotent", {
  defaultValue: () => false
}) {}

/**
 * The retries that the innermost `Sql.retry` around has left. What is retried inside spends them too; else three tries
 * inside of three tries would be nine.
 */
class Left extends Context.Reference<Left>()("@sluice/sql/RetriesLeft", {
  defaultValue: (): { retries: number } | undefined => undefined
}) {}

export interface Retrying {
  /** One statement that commits by itself. Costs a frame while nothing fails. */
  readonly statement: <A>(
    context: Context.Context<never>,
    intent: Intent | undefined,
    once: Effect.Effect<A, AcquireError | SqlError>
  ) => Effect.Effect<A, SqlError>
  readonly transaction: <A, E, R>(
    context: Context.Context<never>,
    nested: boolean,
    options: Transaction.Options,
    once: (options: Transaction.Options) => Effect.Effect<A, E | SqlError, R>
  ) => Effect.Effect<A, E | SqlError, R>
  /** What the program gave to `Sql.retry`. */
  readonly whole: <A, E, R>(
    context: Context.Context<never>,
    inTransaction: boolean,
    policy: Policy,
    once: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
}

interface Situation extends policies.Situation {
  /** Milliseconds since the epoch, at most; the deadline of the fiber is added. */
  readonly until: number
  /** Whether this failure, of those that the policy allows, may be followed by a run. */
  readonly admits?: (error: unknown) => boolean
}

const get = <A>(context: Context.Context<never>, tag: { readonly key: string }): A | undefined =>
  context.unsafeMap.get(tag.key) as A | undefined

const isRepeatable = (context: Context.Context<never>, intent: Intent | undefined): boolean =>
  intent === "read" || get<boolean>(context, Idempotent) === true

export const make = <Conn>(router: Router<Conn>): Retrying => {
  const budget = Budget.make(() => router.targets.reduce((sum, { pool }) => sum + Pool.unsafeStats(pool).acquired, 0))

  const failed = <A, E, R>(
    cause: Cause.Cause<E>,
    context: Context.Context<never>,
    policy: Policy,
    situation: Situation,
    once: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> => {
    const first = Cause.failureOption(cause)
    // Most failures are the program's own, and end here.
    if (Option.isNone(first) || policies.ceiling(policy, first.value, 0, situation) === undefined) {
      return Effect.failCause(cause)
    }
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const deadline = get<number>(context, Deadline.CurrentDeadline) ?? Infinity
      const left = get<{ retries: number }>(context, Left)
      let denied = false
      const permit = (reason: SqlReason.SqlReason) => {
        if (left !== undefined && left.retries <= 0) return false
        if (!policies.isConflict(reason) && !budget.take()) {
          denied = true
          return false
        }
        if (left !== undefined) left.retries--
        return true
      }
      // Where no deadline was declared, nobody waits for a connection for longer than this, so nobody waits for retries.
      const patience = Duration.toMillis(
        Duration.decode(get<Duration.DurationInput>(context, Pool.CurrentAcquireTimeout) ?? router.acquireTimeout)
      )
      const until = Math.min(situation.until, deadline === Infinity ? now + patience : deadline)
      const plan = policies.schedule(policy, { ...situation, until, permit })
      return Effect.flatMap(Schedule.driver(plan), (driver) => {
        const next = (cause: Cause.Cause<E>, attempts: number): Effect.Effect<A, E, R> => {
          const failure = Cause.failureOption(cause)
          const giveUp = Effect.suspend(() =>
            Effect.failCause(Cause.map(cause, (error) => told(error, attempts, denied)))
          )
          if (Option.isNone(failure) || situation.admits?.(failure.value) === false) return giveUp
          return Effect.matchEffect(driver.next(failure.value), {
            onFailure: () => giveUp,
            onSuccess: () => Effect.catchAllCause(once, (cause) => next(cause, attempts + 1))
          })
        }
        return next(cause, 1)
      })
    })
  }

  return {
    statement: (context, intent, once) =>
      Effect.catchAllCause(once, (cause) =>
        failed(
          Cause.map(cause, toSqlError),
          context,
          standard,
          { repeatable: isRepeatable(context, intent), whole: false, until: Infinity },
          Effect.mapError(once, toSqlError)
        )
      ),
    transaction: (context, nested, options, once) => {
      const policy = options.retry === true ? standard : options.retry || undefined
      if (options.timeout === undefined && (nested || policy === undefined)) {
        if (nested) return once(options)
        const own = { ...options }
        const run = once(own)
        return Effect.catchAllCause(run, (cause) => failed(cause, context, standard, unbegun(context, own), run))
      }
      return Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const deadline = options.timeout === undefined ? undefined : now + Duration.toMillis(options.timeout)
        const own = { ...options, deadline }
        const bounded = once(own)
        // A wait for a connection ends there too.
        const run =
          deadline === undefined
            ? bounded
            : Effect.provideService(
                bounded,
                Deadline.CurrentDeadline,
                Math.min(deadline, get<number>(context, Deadline.CurrentDeadline) ?? Infinity)
              )
        if (nested) return run
        return Effect.catchAllCause(run, (cause) =>
          policy === undefined
            ? failed(cause, context, standard, { ...unbegun(context, own), until: deadline ?? Infinity }, run)
            : failed(
                cause,
                context,
                policy,
                {
                  repeatable: isRepeatable(context, intentOf(context)),
                  whole: true,
                  until: Math.min(deadline ?? Infinity, now + policy.timeout)
                },
                run
              )
        )
      })
    },
    whole: (context, inTransaction, policy, once) =>
      // Whatever failed, the transaction around is over or has to be run again as a whole.
      inTransaction
        ? once
        : Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const outer = get<{ retries: number }>(context, Left)
            const left = outer ?? { retries: (policy.max ?? 6) - 1 }
            const inside = Effect.provideService(once, Left, left)
            return Effect.catchAllCause(inside, (cause) =>
              failed(
                cause,
                Context.add(context, Left, left),
                policy,
                {
                  repeatable: isRepeatable(context, intentOf(context)),
                  whole: true,
                  until: now + policy.timeout
                },
                inside
              )
            )
          })
  }
}

/** A transaction that may be run again without being asked: its body has not begun. */
const unbegun = (context: Context.Context<never>, own: Transaction.Options): Situation => ({
  repeatable: isRepeatable(context, intentOf(context)),
  whole: false,
  until: Infinity,
  // Of this transaction: its body may have passed on the failure of another one.
  admits: (error) => typeof error === "object" && error !== null && notBegun.get(error) === own
})

const notBegun = new WeakMap<object, Transaction.Options>()

/**
 * For the failure of a transaction that got no connection: nothing of it was sent (BEGIN goes with its first statement), and
 * its body has not run. A map and not a field, because what is not begun is nobody else's matter. `options` are those of one
 * run of `withTransaction`, which they stand for.
 */
export const markNotBegun = (error: SqlError, options: Transaction.Options): void => {
  notBegun.set(error, options)
}

/** The failure, with what was tried. */
const told = <E>(error: E, attempts: number, denied: boolean): E => {
  if (!isSqlError(error) || (attempts === 1 && !denied)) return error
  const reason = SqlReason.of(error)
  const notes: Array<string> = []
  if (attempts > 1) notes.push(`after ${attempts} attempts`)
  if (denied) notes.push("not tried again, because too much was already: the retry budget is used up")
  return SqlReason.toError(
    { ...reason, attempts: Math.max(attempts, reason.attempts), cause: reason.cause ?? error.cause },
    `${error.message} (${notes.join("; ")})`
  ) as E
}
