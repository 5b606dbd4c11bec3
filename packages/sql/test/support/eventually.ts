/** A wait for a condition, also for programs that are no tests: this file knows no test runner. */
import { Sql } from "@sluice/sql"
import { type Duration, Effect, Schedule } from "effect"

/**
 * Looks until the condition holds: neither the server nor the pool announces it. The bound is only for a condition that
 * never comes true, so it is far longer than any machine needs.
 */
export const eventually = <E, R>(
  what: string,
  condition: Effect.Effect<boolean, E, R>,
  within: Duration.DurationInput = "30 seconds"
): Effect.Effect<void, E, R> =>
  condition.pipe(
    Effect.repeat({ schedule: Schedule.spaced("5 millis"), until: (isTrue) => isTrue }),
    Effect.disconnect,
    Effect.timeoutFail({ duration: within, onTimeout: () => new Error(`never came true: ${what}`) }),
    Effect.orDie
  ) as Effect.Effect<void, E, R>

/** Nothing is leased, nobody waits, and nothing is still being cleaned. */
export const booksBalance = eventually(
  "the books balance",
  Effect.map(Sql.stats, ({ read, write }) =>
    [write, ...read].every(
      (pool) => pool.using === 0 && pool.waiting === 0 && pool.quarantined === 0 && pool.resetting === 0
    )
  )
)

let names = 0

/** A name that no other client, table or channel of this process has. */
export const unique = (prefix: string): string => `${prefix}_${process.pid}_${++names}`
