/** Which processes the addresses stand for. */
import { lookup } from "node:dns/promises"
import { isIP } from "node:net"
import { Effect } from "effect"

/** The numeric addresses of a name. */
export type Lookup = (host: string) => Effect.Effect<ReadonlyArray<string>, unknown>

/**
 * By the resolver of the system, as for every other connection. A process may have an address of each kind, so those of the newer kind
 * count only where there are no others.
 */
export const system: Lookup = (host) =>
  Effect.map(
    Effect.tryPromise(() => lookup(host, { all: true })),
    (found) => {
      const old = found.filter(({ family }) => family === 4)
      return (old.length === 0 ? found : old).map(({ address }) => address)
    }
  )

/** `pod-1:9400/sluice` as `http://pod-1:9400/sluice/stats.json`. `undefined`: it is no address. */
export const statsUrl = (text: string): URL | undefined => {
  const whole = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`
  if (!URL.canParse(whole)) return undefined
  const url = new URL(whole)
  if (url.protocol !== "http:" && url.protocol !== "https:") return undefined
  if (!url.pathname.endsWith("/stats.json")) url.pathname = `${url.pathname.replace(/\/$/, "")}/stats.json`
  return url
}

/** Under TLS a process must be reached by the name that its certificate has, so there it is asked by its name alone. */
const mayBeMany = ({ hostname, protocol }: URL): boolean =>
  protocol === "http:" && hostname !== "localhost" && isIP(hostname.replace(/^\[|\]$/g, "")) === 0

const at = (url: URL, address: string): URL => {
  const one = new URL(url)
  one.hostname = isIP(address) === 6 ? `[${address}]` : address
  return one
}

/** One for each process. A name with one address stays a name; one that is not known is asked as it is, and the answer says so. */
export const expand = (url: URL, lookup: Lookup): Effect.Effect<ReadonlyArray<URL>> =>
  mayBeMany(url)
    ? Effect.match(lookup(url.hostname), {
        onFailure: () => [url],
        onSuccess: (found) => {
          const addresses = [...new Set(found)].sort()
          return addresses.length < 2 ? [url] : addresses.map((address) => at(url, address))
        }
      })
    : Effect.succeed([url])
