/**
 * What a read must have seen, when a replica may answer it.
 *
 * A replica is a little behind its primary. Unasked, a read inside of `Sql.read` never misses what its own fiber has written: it goes to a replica
 * that has it already, waits a moment for one that will have it soon (`maxCatchUp` of the configuration), or goes to the primary. The
 * writes of a child are its parent's from the moment at which the parent has joined it. Reads inside of `withConnection` and
 * `withTransaction` stay on their connection.
 *
 * Another process, or the next request, knows nothing of a write: give it the token of `Sql.consistencyToken`.
 *
 * ```ts
 * import { Consistency, Sql } from "@sluice/sql"
 * import { Effect, Redacted } from "effect"
 *
 * const secret = Redacted.make("at least 16 characters")
 *
 * const rename = Effect.gen(function*() {
 *   yield* Sql.query("update users set name = $1 where id = $2", ["Ada", 1])
 *   const token = yield* Sql.consistencyToken
 *   return token === undefined ? undefined : yield* Consistency.sign(token, secret) // into a cookie
 * })
 *
 * const profile = (cookie: string) =>
 *   Effect.gen(function*() {
 *     const token = yield* Consistency.verify(cookie, secret)
 *     return yield* Sql.query("select name from users where id = 1").pipe(Sql.read, Sql.withConsistency({ token }))
 *   })
 * ```
 *
 * @since 0.2.0
 */
import { createHmac, timingSafeEqual } from "node:crypto"
import type { SqlError } from "@effect/sql/SqlError"
import { shown } from "@sluice/pool/OptionTable"
import { Effect, Redacted } from "effect"
import { invalidUse } from "./internal/client/errors.js"
import { CurrentLevel, type Level } from "./internal/routing/level.js"
import * as SqlReason from "./SqlReason.js"

/**
 * What a read must have seen.
 *
 * - `eventual`: nothing. It may miss what this fiber has just written.
 * - `session`: what this fiber, and children that it has joined, have written. This is the default.
 * - `strong`: everything, so it goes to the primary.
 * - `{ token }`: as `session`, and what the token stands for. `undefined`: no token.
 *
 * @since 0.2.0
 * @category models
 */
export type Consistency = Level

/**
 * What the reads inside must have seen. It changes nothing for statements that are not marked with `Sql.read`, nor where there is no
 * replica.
 *
 * **When to use:** `eventual` for reads that may be old, such as reports; `strong` for reads that decide about money; `{ token }` in
 * a process that has not written itself.
 *
 * - Another value fails with `InvalidUse`, and nothing is run.
 * - A token that is none, that is of another database or cluster, or that is ahead of the primary: each read that is routed by it fails with
 *   `InvalidData`. One from before a failover leads to the primary.
 * - Worst case: a read waits `maxCatchUp` for the primary to say how far it is, and `maxCatchUp` for a replica, then goes to the
 *   primary.
 *
 * @see `Sql.consistencyToken` for the token.
 * @since 0.2.0
 * @category combinators
 */
export const withConsistency =
  (consistency: Consistency) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
    isConsistency(consistency)
      ? Effect.provideService(effect, CurrentLevel, consistency)
      : Effect.fail(
          invalidUse(
            `Sql.withConsistency takes "eventual", "session", "strong" or { token }, and was given ${shown(consistency)}`
          )
        )

const isConsistency = (value: unknown): value is Consistency =>
  value === "eventual" ||
  value === "session" ||
  value === "strong" ||
  (typeof value === "object" &&
    value !== null &&
    "token" in value &&
    (typeof value.token === "string" || value.token === undefined))

/**
 * The token with a signature (HMAC-SHA-256), for a cookie or a header: whoever gets it can neither make another one nor change it.
 *
 * **When to use:** for every token that leaves your network. A made-up token costs the primary a question.
 *
 * - `secret`: at least 16 characters. A shorter one fails with `InvalidUse`.
 *
 * @see `verify`, its opposite.
 * @since 0.2.0
 * @category tokens
 */
export const sign = (token: string, secret: Redacted.Redacted): Effect.Effect<string, SqlError> =>
  Effect.map(signature(token, secret), (signed) => `${token}~${signed.toString("base64url")}`)

/**
 * The token in a text that `sign` has made with the same secret.
 *
 * - Fails with `InvalidData`, to be answered with 400 or by reading without a token, if the signature is not right. The time that it takes says
 *   nothing about the right one.
 * - It does not look into the token. `withConsistency` does.
 *
 * @see `sign`, its opposite.
 * @since 0.2.0
 * @category tokens
 */
export const verify = (text: string, secret: Redacted.Redacted): Effect.Effect<string, SqlError> => {
  const end = typeof text === "string" ? text.lastIndexOf("~") : -1
  if (end < 0) return Effect.fail(forged("it has no signature"))
  const token = text.slice(0, end)
  // The text and not its bytes is compared, because several texts have the same bytes.
  const given = Buffer.from(text.slice(end + 1))
  return Effect.flatMap(signature(token, secret), (signed) => {
    const right = Buffer.from(signed.toString("base64url"))
    return given.length === right.length && timingSafeEqual(given, right)
      ? Effect.succeed(token)
      : Effect.fail(forged("its signature is not right"))
  })
}

/** Characters. With less, a secret could be guessed from a token. */
const SHORTEST = 16

const signature = (token: string, secret: Redacted.Redacted): Effect.Effect<Buffer, SqlError> =>
  Effect.suspend(() => {
    const key = Redacted.value(secret)
    return key.length < SHORTEST
      ? Effect.fail(
          invalidUse(`the secret of consistency tokens has ${key.length} characters, and needs at least ${SHORTEST}`)
        )
      : Effect.succeed(createHmac("sha256", key).update(`sluice consistency token ${token}`).digest())
  })

const forged = (why: string): SqlError =>
  SqlReason.toError(
    SqlReason.make("InvalidData"),
    `the consistency token was refused: ${why}. It was changed on its way, or signed with another secret. Drop it, and read without it`
  )
