/**
 * Who a request comes from, and whether it may come at all.
 *
 * | from | seen as |
 * | --- | --- |
 * | the program's own hook `authorize`, if there is one | whoever it says |
 * | a token, as `Authorization: Bearer` | its right |
 * | the cookie of a browser that has signed in | its right |
 * | this machine, not through a proxy | `numbers` |
 * | elsewhere | `none` |
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import { Effect, Option } from "effect"
import type { Viewer } from "./rights.js"
import * as Session from "./session.js"

export type Authorize = (request: HttpServerRequest.HttpServerRequest) => Effect.Effect<Viewer>

export interface Arrival extends Viewer {
  /** No page of another site can have made the request, because it has a token that no browser adds by itself. */
  readonly isByToken: boolean
}

const loopback = /^(?:::ffff:)?127\.|^::1$/

/** Headers that a proxy adds. What it passes on comes from this machine, and from anywhere. */
const proxied = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"]

const isLocal = (request: HttpServerRequest.HttpServerRequest): boolean =>
  Option.exists(request.remoteAddress, (address) => loopback.test(address)) &&
  proxied.every((name) => request.headers[name] === undefined)

/** Who it is. */
export const arrive = (
  request: HttpServerRequest.HttpServerRequest,
  sessions: Session.Sessions,
  authorize: Authorize | undefined
): Effect.Effect<Arrival> =>
  Effect.gen(function* () {
    if (authorize !== undefined) return { ...(yield* authorize(request)), isByToken: false }
    const [, bearer] = /^Bearer +(\S+)\s*$/i.exec(request.headers["authorization"] ?? "") ?? []
    const byToken = bearer === undefined ? undefined : sessions.ofToken(bearer)
    if (byToken !== undefined) return { ...byToken, isByToken: true }
    const cookie = request.cookies[Session.COOKIE]
    const byCookie = cookie === undefined ? undefined : yield* sessions.ofCookie(cookie)
    if (byCookie !== undefined) return { ...byCookie, isByToken: false }
    return isLocal(request)
      ? { rights: "numbers", who: "somebody on this machine", isByToken: false }
      : { rights: "none", who: "somebody", isByToken: false }
  })

/** Host and port without the port. */
const nameOf = (host: string): string => host.toLowerCase().replace(/:\d+$/, "")

const address = /^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\])$/

/**
 * Whether the request was made for this board. A page of another site can let its own name lead to this machine, and would then read the
 * numbers in the name of whoever looks at it: so the only names that are taken are those that the program has given. An address is no
 * name.
 */
export const isForUs = (request: HttpServerRequest.HttpServerRequest, hosts: ReadonlyArray<string>): boolean => {
  const name = nameOf(request.headers["host"] ?? "")
  return (
    name === "localhost" ||
    name.endsWith(".localhost") ||
    address.test(name) ||
    hosts.some((host) => host.toLowerCase() === name)
  )
}

const isSameHost = (origin: string, host: string | undefined): boolean =>
  URL.canParse(origin) && new URL(origin).host === host?.toLowerCase()

/** Whether a page of this board has made the request. Every browser of the last years says at least one of the two. */
export const isSameOrigin = (request: HttpServerRequest.HttpServerRequest): boolean => {
  const { headers } = request
  const site = headers["sec-fetch-site"]
  const origin = headers["origin"]
  if (site === undefined && origin === undefined) return false
  return (site === undefined || site === "same-origin") && (origin === undefined || isSameHost(origin, headers["host"]))
}
