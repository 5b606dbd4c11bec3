/**
 * Positions of MySQL and MariaDB, which are lists of transactions.
 *
 * - MariaDB: for each domain its last transaction, `domain-server-number`, for example `0-1-42`. Everything before it is included.
 * - MySQL: all transactions, `server:first-last`, for example `3e11fa47-71ca-11e1-9e33-c80aa9429562:1-42:50`.
 */

/** See `Driver.reached`. */
export const reached = (position: string, wanted: string): boolean | undefined => {
  if (position === wanted) return isPosition(wanted) ? true : undefined
  const then = domainsOf(wanted)
  if (then !== undefined) {
    const now = domainsOf(position)
    return now === undefined ? undefined : hasDomains(now, then)
  }
  const some = setOf(wanted)
  const all = some && setOf(position)
  return all === undefined ? undefined : hasSet(all, some!)
}

const isPosition = (text: string): boolean => (domainsOf(text) ?? setOf(text)) !== undefined

interface Last {
  readonly server: string
  readonly number: bigint
}

const domainsOf = (text: string): ReadonlyMap<string, Last> | undefined => {
  const domains = new Map<string, Last>()
  for (const one of text.split(",")) {
    const parts = /^(\d{1,10})-(\d{1,10})-(\d{1,20})$/.exec(one)
    if (parts === null) return undefined
    domains.set(parts[1]!, { server: parts[2]!, number: BigInt(parts[3]!) })
  }
  return domains
}

/**
 * The numbers of a domain go on when another server takes the writes, and two servers that have lost each other give the same
 * numbers to different transactions. So what another server has written last says nothing.
 */
const hasDomains = (now: ReadonlyMap<string, Last>, then: ReadonlyMap<string, Last>): boolean | undefined => {
  let result: boolean | undefined = true
  for (const [domain, { number, server }] of then) {
    const last = now.get(domain)
    if (last === undefined || last.number < number) return false
    if (last.server !== server) result = undefined
  }
  return result
}

type Interval = readonly [first: bigint, last: bigint]

/** The intervals of each server, and of each tag of a server (MySQL 8.3 and later). */
const setOf = (text: string): ReadonlyMap<string, ReadonlyArray<Interval>> | undefined => {
  const set = new Map<string, Array<Interval>>()
  for (const one of text.toLowerCase().split(",")) {
    const [server = "", ...rest] = one.split(":")
    if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(server) || rest.length === 0) return undefined
    let key = server
    let isOpen = false
    for (const part of rest) {
      const interval = /^(\d{1,19})(?:-(\d{1,19}))?$/.exec(part)
      isOpen = interval === null
      if (interval !== null) {
        const first = BigInt(interval[1]!)
        const intervals = set.get(key) ?? []
        intervals.push([first, interval[2] === undefined ? first : BigInt(interval[2])])
        set.set(key, intervals)
      } else if (/^[a-z_][a-z0-9_]{0,31}$/.test(part)) key = `${server}:${part}`
      else return undefined
    }
    if (isOpen) return undefined
  }
  return set
}

const hasSet = (
  all: ReadonlyMap<string, ReadonlyArray<Interval>>,
  some: ReadonlyMap<string, ReadonlyArray<Interval>>
): boolean => {
  for (const [key, wanted] of some) {
    const intervals = all.get(key)
    if (intervals === undefined) return false
    for (const [from, to] of wanted) {
      if (!intervals.some(([first, last]) => first <= from && to <= last)) return false
    }
  }
  return true
}
