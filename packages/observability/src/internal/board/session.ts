/** Tokens, the cookie that a signed-in browser has instead of one, and the token against forged requests. */
import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import { Clock, Effect, Redacted } from "effect"
import type { Rights, Viewer } from "./rights.js"

/** The tokens of a board. Who has one may see texts, or act. */
export interface Tokens {
  readonly read?: Redacted.Redacted | undefined
  readonly admin?: Redacted.Redacted | undefined
}

export const COOKIE = "sluice-board"

/** Seconds for which a browser is signed in: a working day. */
const LIFETIME = 12 * 3_600

/** Characters. A shorter one could be guessed. */
export const SHORTEST = 16

/** The comparison takes the same time whatever is given, also if the lengths differ: it compares digests. */
const isEqual = (a: string, b: string): boolean => {
  const digest = (text: string) => createHash("sha256").update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}

const signature = (key: string, text: string): string =>
  createHmac("sha256", key).update(`sluice board ${text}`).digest("base64url")

export interface Sessions {
  readonly isUsable: boolean
  /** Whoever has this token. */
  readonly ofToken: (token: string) => Viewer | undefined
  /** The cookie's value for a viewer of `ofToken`, and the seconds for which it is good. */
  readonly cookieFor: (viewer: Viewer) => Effect.Effect<{ readonly value: string; readonly maxAge: number }>
  /** Whoever has this cookie. A forged one, one that is too old, and one of a token that is no more, are nobody's. */
  readonly ofCookie: (value: string) => Effect.Effect<Viewer | undefined>
  /** What a page of this viewer must send with each action. Another site cannot know it. */
  readonly forgeryToken: (viewer: Viewer) => string
  readonly isForgeryToken: (viewer: Viewer, token: string) => boolean
}

export const make = (tokens: Tokens): Effect.Effect<Sessions> =>
  Effect.sync(() => {
    const known = (["admin", "read"] as const).flatMap((name) => {
      const token = tokens[name]
      if (token === undefined) return []
      return [{ name, rights: (name === "read" ? "texts" : "admin") as Rights, token: Redacted.value(token) }]
    })
    const viewerOf = ({ name, rights }: (typeof known)[number]): Viewer => ({
      rights,
      who: name === "read" ? "a reader" : "the admin"
    })
    // With tokens every process of a fleet has the same key, so a page of one may be answered by another.
    const pageKey = known[0]?.token ?? randomBytes(32).toString("base64url")
    const forgeryToken = ({ rights, who }: Viewer) => signature(pageKey, `page ${rights} ${who}`)
    return {
      isUsable: known.length > 0,
      ofToken: (token) => {
        // All are compared, so that the time does not say which one is nearly right.
        const found = known.filter((one) => isEqual(one.token, token))
        return found[0] === undefined ? undefined : viewerOf(found[0])
      },
      cookieFor: (viewer) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const one = known.find(({ rights }) => rights === viewer.rights)!
          const text = `${one.name}.${Math.floor(now / 1_000) + LIFETIME}`
          return { value: `${text}.${signature(one.token, text)}`, maxAge: LIFETIME }
        }),
      ofCookie: (value) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const [, text, name, until, signed] = /^((\w+)\.(\d{1,12}))\.([\w-]+)$/.exec(value) ?? []
          const one = known.find((one) => one.name === name)
          if (one === undefined || Number(until) * 1_000 < now) return undefined
          return isEqual(signature(one.token, text!), signed!) ? viewerOf(one) : undefined
        }),
      forgeryToken,
      isForgeryToken: (viewer, token) => isEqual(forgeryToken(viewer), token)
    }
  })
