/** The consistency token of a client, in a cookie or a header: signed, and with the moment at which it was made. */
import * as Signed from "@sluice/sql/Consistency"
import * as Sql from "@sluice/sql/Sql"
import { Clock, Effect, Option } from "effect"
import { cookieOf, type Head } from "./head.js"
import type { Consistency } from "./policy.js"

/** A header of a response. */
export type Header = readonly [name: string, value: string]

/** Browsers drop a cookie of more than 4,096 bytes, with its name and attributes. */
const LONGEST = 3_800

/** The token of a request. A forged one, one of another secret and one that is too old count as none. */
export const read = (consistency: Consistency, head: Head): Effect.Effect<string | undefined> => {
  const { cookie, header, maxAge, secret } = consistency
  const text = header === undefined ? cookieOf(head, cookie!) : head.header(header)?.trim()
  if (text === undefined || text === "") return Effect.succeed(undefined)
  return Effect.flatMap(Effect.option(Signed.verify(text, secret)), (signed) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const [, seconds, token] = /^(\d{1,12})~(.+)$/s.exec(Option.getOrElse(signed, () => "")) ?? []
      // The clocks of two machines differ a little, so a token may seem to come from the future.
      return token !== undefined && Math.abs(now / 1_000 - Number(seconds)) <= maxAge ? token : undefined
    })
  )
}

/**
 * What tells the client how far its writes are: the header of the response to a handler that has written, to be run in the fiber of the
 * handler. `undefined` if it has written nothing, if there is no replica, or if the primary does not say how far it is.
 */
export const write = (consistency: Consistency): Effect.Effect<Header | undefined, never, Sql.Sql> =>
  Effect.gen(function* () {
    // Without a replica no read can be behind, and the primary would be asked for nothing.
    if ((yield* Sql.stats).read.length === 0) return undefined
    const token = yield* Sql.consistencyToken
    if (token === undefined) return undefined
    const seconds = Math.floor((yield* Clock.currentTimeMillis) / 1_000)
    const text = yield* Signed.sign(`${seconds}~${token}`, consistency.secret)
    return text.length > LONGEST ? undefined : headerOf(consistency, text, consistency.maxAge)
  }).pipe(Effect.catchAll((error) => Effect.as(Effect.logDebug(`no consistency token: ${error.message}`), undefined)))

/** Takes the token away from the client: the database has refused it. */
export const clear = (consistency: Consistency): Header => headerOf(consistency, "", 0)

const headerOf = ({ cookie, header, isSecure }: Consistency, text: string, maxAge: number): Header =>
  header === undefined
    ? [
        "set-cookie",
        `${cookie}=${encodeURIComponent(text)}; Max-Age=${maxAge}; Path=/; HttpOnly; SameSite=Lax${isSecure ? "; Secure" : ""}`
      ]
    : [header, text]
