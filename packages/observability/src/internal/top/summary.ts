/** The numbers of many processes together: what a screen shows first, before it shows who they are. */
import type { Pod } from "../../Pods.js"
import type { Database, PoolReport, Server } from "../../Report.js"

/** A pool, and where it is. */
export interface Place {
  readonly pod: string
  readonly database: Database
  readonly pool: PoolReport
}

export const placesOf = (pods: ReadonlyArray<Pod>): ReadonlyArray<Place> =>
  pods.flatMap(({ report }) =>
    report === undefined
      ? []
      : report.databases.flatMap((database) => database.pools.map((pool) => ({ pod: report.pod, database, pool })))
  )

export interface Totals {
  readonly size: number
  readonly using: number
  readonly available: number
  readonly waiting: number
  readonly max: number
  /** `(using + waiting) / max`. */
  readonly saturation: number
  readonly oldestWaitMs: number
  readonly isDown: boolean
}

const sum = <A>(all: ReadonlyArray<A>, of: (one: A) => number): number => all.reduce((total, one) => total + of(one), 0)

const most = <A>(all: ReadonlyArray<A>, of: (one: A) => number): number =>
  all.reduce((found, one) => Math.max(found, of(one)), 0)

export const totalsOf = (places: ReadonlyArray<Place>): Totals => {
  const using = sum(places, ({ pool }) => pool.using)
  const waiting = sum(places, ({ pool }) => pool.waiting)
  const max = sum(places, ({ pool }) => pool.max)
  return {
    size: sum(places, ({ pool }) => pool.size),
    using,
    available: sum(places, ({ pool }) => pool.available),
    waiting,
    max,
    saturation: max === 0 ? 0 : (using + waiting) / max,
    oldestWaitMs: most(places, ({ pool }) => pool.oldestWaitMs),
    isDown: places.some(({ pool }) => pool.host === "down" || !pool.isUp)
  }
}

/** The places by a key, in the order in which the keys are met. */
export const groupBy = (places: ReadonlyArray<Place>, keyOf: (place: Place) => string) => {
  const groups = new Map<string, Array<Place>>()
  for (const place of places) {
    const group = groups.get(keyOf(place))
    if (group === undefined) groups.set(keyOf(place), [place])
    else group.push(place)
  }
  return groups
}

/** Counts by name, added up, the largest first. Those of 0 are left out. */
export const counts = (
  all: ReadonlyArray<{ readonly [name: string]: number | undefined }>
): ReadonlyArray<readonly [name: string, count: number]> => {
  const totals = new Map<string, number>()
  for (const one of all) {
    for (const [name, count] of Object.entries(one)) totals.set(name, (totals.get(name) ?? 0) + (count ?? 0))
  }
  return [...totals].filter(([, count]) => count > 0).sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
}

/** A server of which several pools speak. */
export interface Endpoint {
  readonly endpoint: string
  readonly role: PoolReport["role"]
  /** All of them say so. */
  readonly isUp: boolean
  readonly isSilent: boolean
  readonly isLagging: boolean
  /** The greatest one. */
  readonly lagMs: number | undefined
  readonly latencyMs: number
  readonly isWritable: boolean
}

/** The servers: primaries first, and among those of one role the ones in trouble. */
export const endpointsOf = (places: ReadonlyArray<Place>): ReadonlyArray<Endpoint> => {
  const found = [...groupBy(places, ({ pool }) => `${pool.role} ${pool.endpoint}`).values()].map((group): Endpoint => {
    const { endpoint, role } = group[0]!.pool
    const lags = group.flatMap(({ pool }) => (pool.lagMs === undefined ? [] : [pool.lagMs]))
    return {
      endpoint,
      role,
      isUp: group.every(({ pool }) => pool.isUp),
      isSilent: group.some(({ pool }) => pool.isSilent),
      isLagging: group.some(({ pool }) => pool.isLagging),
      lagMs: lags.length === 0 ? undefined : Math.max(...lags),
      latencyMs: most(group, ({ pool }) => pool.latencyMs),
      isWritable: role === "replica" || group.every(({ database }) => database.isWritable)
    }
  })
  const trouble = (one: Endpoint): number =>
    one.isUp && one.isWritable ? (one.isSilent ? 1 : one.isLagging ? 2 : 3) : 0
  return found.sort(
    (a, b) =>
      Number(a.role === "replica") - Number(b.role === "replica") ||
      trouble(a) - trouble(b) ||
      (a.endpoint < b.endpoint ? -1 : 1)
  )
}

/** What a server says, and how many of its connections these processes have open. */
export interface Beside {
  readonly endpoint: string
  readonly ours: number
  readonly server: Server
}

/** One for each primary whose server has been asked: what the process knows that has asked last. */
export const serversOf = (places: ReadonlyArray<Place>): ReadonlyArray<Beside> => {
  const primaries = places.filter(({ pool }) => pool.role === "primary")
  return [...groupBy(primaries, ({ pool }) => pool.endpoint)].flatMap(([endpoint, group]) => {
    const servers = group.flatMap(({ database }) => (database.server === undefined ? [] : [database.server]))
    const server = servers.sort((a, b) => b.at - a.at)[0]
    return server === undefined ? [] : [{ endpoint, ours: sum(group, ({ pool }) => pool.size), server }]
  })
}

/** What has failed in the last minute, and how often that was since the start. */
export interface Failures {
  /** Failures of acquires and of statements, by tag. */
  readonly errors: ReadonlyArray<readonly [name: string, count: number]>
  readonly retries: Database["retries"]
  readonly sinceStart: number
}

export const failuresOf = (places: ReadonlyArray<Place>): Failures => {
  // A database with several pools counts once.
  const databases = [...new Set(places.map(({ database }) => database))]
  const ever = counts([...places.map(({ pool }) => pool.acquireFailures), ...databases.map(({ errors }) => errors)])
  return {
    errors: counts([
      ...places.map(({ pool }) => pool.lastMinute.acquireFailures),
      ...databases.map(({ lastMinute }) => lastMinute.errors)
    ]),
    retries: {
      total: sum(databases, ({ lastMinute }) => lastMinute.retries.total),
      denied: sum(databases, ({ lastMinute }) => lastMinute.retries.denied)
    },
    sinceStart: sum(ever, ([, count]) => count)
  }
}
