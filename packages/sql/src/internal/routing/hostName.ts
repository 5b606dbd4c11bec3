import { lookup as dnsLookup, type LookupAddress, type LookupAllOptions } from "node:dns"
import { isIP } from "node:net"

/** What a change of the addresses means. */
export type Move =
  /** Some are new, or some are gone. */
  | "changed"
  /** None of the former ones is left: open connections lead to where the name does not lead any more. */
  | "moved"

type Lookup = (
  host: string,
  options: LookupAllOptions,
  then: (error: Error | null, addresses: ReadonlyArray<LookupAddress>) => void
) => void

/**
 * Watches where a host name leads. What this gives is called beside each connect, which looks the name up by itself, too; `tell` is
 * called when the addresses are not those of the time before. After many failovers nothing else changes. A name that cannot be
 * looked up is no news: the connect says so. Numbers and sockets are not looked up.
 */
export const watch = (
  host: string | undefined,
  tell: (move: Move) => void,
  lookup: Lookup = dnsLookup
): (() => void) => {
  if (host === undefined || host === "" || host.startsWith("/") || isIP(host) !== 0) return () => {}
  let known: ReadonlySet<string> | undefined
  let isAsking = false
  return () => {
    if (isAsking) return
    isAsking = true
    lookup(host, { all: true }, (error, found) => {
      isAsking = false
      if (error !== null || found.length === 0) return
      const before = known
      const now = new Set(found.map(({ address }) => address))
      known = now
      if (before === undefined) return
      const left = [...before].filter((address) => now.has(address)).length
      if (left === 0) tell("moved")
      else if (left < before.size || left < now.size) tell("changed")
    })
  }
}
