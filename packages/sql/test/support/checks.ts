/** What tests of every driver ask of a database, and how failures are told. */
import { inspect } from "node:util"
import type { SqlError } from "@effect/sql/SqlError"
import { assert } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import type { Phase } from "@sluice/sql/driver/Driver"
import { Duration, Effect, Layer } from "effect"

export { booksBalance, eventually } from "./eventually.js"

/** The failure of an effect as its reason; anything else fails the test. */
export const reasonOf = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.map(Effect.flip(effect), SqlReason.of)

/** A table of this name, and not the one that an earlier test has left. */
export const table = (name: string, columns: string) =>
  Effect.zipRight(Sql.query(`drop table if exists ${name}`), Sql.query(`create table ${name} (${columns})`))

export const rowsOf = (name: string) =>
  Effect.map(Sql.query<{ id: number }>(`select id from ${name} order by id`), (rows) => rows.map(({ id }) => id))

/**
 * Fails when `effect` waits for a statement of these tests, which run for 20 seconds and longer. The bound is a quarter of
 * that, because a busy machine makes a caller that waits for nobody slow as well.
 */
export const atOnce = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(effect), ([elapsed, a]) => {
    assert.isBelow(Duration.toMillis(elapsed), 5_000)
    return a
  })

/** The failure of a Layer that cannot start: typed, and without the password `s3cret` in anything that could be shown. */
export const failureOf = <E, R>(layer: Layer.Layer<any, E, R>) =>
  Effect.gen(function* () {
    const error = yield* Layer.build(layer).pipe(Effect.scoped, Effect.flip, Effect.timeout("40 seconds"))
    assert.strictEqual((error as any)._tag, "SqlError")
    assert.notInclude(String(error) + inspect(error, { depth: null }) + (error as any).message, "s3cret")
    return { error, reason: SqlReason.of(error), message: (error as Error).message }
  })

/** Tag, fate of the connection, outcome, class. */
export type Told = readonly [
  tag: SqlReason.Tag,
  connection: SqlReason.ConnectionFate,
  outcome: SqlReason.Outcome,
  retry: SqlReason.Retry
]

/** Asserts what a failure tells. */
export const told = (error: unknown, code: string | undefined, expected: Told, says: RegExp) => {
  const { _tag, connection, outcome, retry, ...reason } = SqlReason.of(error)
  assert.deepStrictEqual([_tag, connection, outcome, retry], expected, String(error))
  assert.strictEqual(reason.code, code)
  assert.match((error as Error).message, says)
}

/** Asserts what a failing statement tells, and whether the next one has the same session. */
export const rowOn =
  (session: Effect.Effect<number, SqlError, Sql.Sql>) =>
  <A, E, R>(failing: Effect.Effect<A, E, R>, code: string | undefined, expected: Told, says: RegExp) =>
    Effect.gen(function* () {
      const before = yield* session
      told(yield* Effect.flip(failing), code, expected, says)
      const after = yield* session
      if (expected[1] === "keep") assert.strictEqual(after, before, `${code}: the connection is kept`)
      else assert.notStrictEqual(after, before, `${code}: the connection is destroyed`)
    })

/** What an error tells in each phase in which it can come. */
export type Phases = Partial<Record<Phase, Told>>

/** A connection that is lost. */
export const lost = (tag: SqlReason.Tag): Record<Phase, Told> => ({
  connect: ["ConnectFailed", "none", "none", "always"],
  unsent: [tag, "destroy", "none", "always"],
  statement: [tag, "destroy", "unknown", "idempotent"],
  transaction: [tag, "destroy", "rolledBack", "transaction"],
  commit: ["CommitUnknown", "destroy", "unknown", "idempotent"]
})

/** An error that means the same in every statement. */
export const inStatement = (...expected: Told): Phases => ({
  statement: expected,
  transaction: expected,
  commit: expected
})

export const inConnect = (tag: SqlReason.Tag, retry: SqlReason.Retry): Phases => ({
  connect: [tag, "none", "none", retry]
})
