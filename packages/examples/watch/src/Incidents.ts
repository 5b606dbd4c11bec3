/** Four ways to use up a pool, as programs do it. */
import type { SqlError } from "@effect/sql/SqlError"
import { Sql } from "@sluice/sql"
import { Effect } from "effect"

export interface Incident {
  /** What the pool is called. */
  readonly name: string
  /** What has used up its connections, as a verdict calls it. */
  readonly cause: "slowStatements" | "idleInTransaction" | "forgotten" | "tooManyRequests"
  /** What the error of a caller that has waited in vain must say. */
  readonly says: RegExp
  /** Callers that must be there before another one waits in vain. */
  readonly callers: number
  /** What each of them does. */
  readonly caller: Effect.Effect<unknown, SqlError, Sql.Sql>
}

/** Somebody else's work, which takes long and needs no connection. */
const somethingElse = Effect.never

/** Connections of each pool. */
export const maxSize = 5

export const incidents: ReadonlyArray<Incident> = [
  {
    name: "reports",
    cause: "slowStatements",
    says: /find slow statements/,
    callers: maxSize,
    caller: Effect.withSpan(Sql.query("select count(*) from payments, pg_sleep(600)"), "monthly report")
  },
  {
    name: "orders",
    cause: "idleInTransaction",
    says: /End transactions before slow work/,
    callers: maxSize,
    caller: Sql.query("insert into payments (state) values ('paid')").pipe(
      Effect.zipRight(somethingElse),
      Sql.withTransaction,
      Effect.withSpan("pay with a card")
    )
  },
  {
    name: "sessions",
    cause: "forgotten",
    says: /Nothing is done on leased connections/,
    callers: maxSize,
    caller: Sql.query("select set_config('app.user', 'ann', false)").pipe(
      Effect.zipRight(somethingElse),
      Sql.withConnection,
      Effect.withSpan("open a session")
    )
  },
  {
    name: "search",
    cause: "tooManyRequests",
    says: /More work arrives than these connections finish/,
    callers: 4_000,
    caller: Effect.forever(Effect.withSpan(Sql.query("select pg_sleep(0.02)"), "search"))
  }
]
