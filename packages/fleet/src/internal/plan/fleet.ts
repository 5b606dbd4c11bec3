/** The sums over a fleet, without a verdict. */
import type { Database, Service, Terminating } from "../../PlanInput.js"
import type { Counts, Limits, Moment, ServicePlan, Source } from "../../PlanReport.js"
import { podsOf, roundedUp } from "./rollout.js"

/** What PostgreSQL keeps for superusers unless it is told otherwise. MySQL has one connection for them above `max_connections`. */
const reservedBy = { postgresql: 3, mysql: 0 }

/** A percentage of a small server would leave an operator too few to look and to act. */
const LEAST_RESERVE = 5

export const DEFAULT_RESERVE = "3%"

export const sum = (numbers: Iterable<number>): number => {
  let total = 0
  for (const n of numbers) total += n
  return total
}

export const reserveOf = ({ maxConnections, reserve = DEFAULT_RESERVE }: Database): number =>
  typeof reserve === "number" ? reserve : Math.max(LEAST_RESERVE, roundedUp(reserve, maxConnections))

export const limitsOf = (database: Database): Limits => {
  const { maxConnections, others: named = {}, system = "postgresql" } = database
  const reservedByServer = (database.superuserReserved ?? reservedBy[system]) + (database.reservedConnections ?? 0)
  const kept = Math.max(reserveOf(database), reservedByServer)
  const others = sum(Object.values(named))
  return {
    system,
    maxConnections,
    reservedByServer,
    kept,
    others,
    open: maxConnections - reservedByServer - others,
    usable: maxConnections - kept - others
  }
}

/** A service whose pods are counted, and whose size is not yet known. */
export interface Counted {
  readonly service: Service
  readonly weight: number
  readonly processesPerPod: number
  readonly fixedPerProcess: number
  readonly fixedPerPod: number
  readonly pods: ReturnType<typeof podsOf>
  readonly processes: Counts
}

const poolsOf = (service: Service, each: "process" | "pod"): number =>
  sum((service.pools ?? []).filter((pool) => (pool.each ?? "process") === each).map((pool) => pool.maxSize))

const every = (counts: Counts, f: (n: number) => number): Counts => ({
  atRest: f(counts.atRest),
  withSurge: f(counts.withSurge),
  worst: f(counts.worst)
})

export const count = (service: Service, terminating?: Terminating): Counted => {
  const processesPerPod = service.processes ?? 1
  const pods = podsOf(service, terminating)
  return {
    service,
    weight: service.weight ?? 1,
    processesPerPod,
    fixedPerProcess: sum(Object.values(service.extras ?? {})) + poolsOf(service, "process"),
    fixedPerPod: poolsOf(service, "pod"),
    pods,
    processes: every(pods, (n) => n * processesPerPod)
  }
}

/** The connections of a service at one number of pods, if each of its processes has a pool of this size. */
const connectionsAt = (one: Counted, size: number, pods: number): number =>
  pods * one.processesPerPod * (size + one.fixedPerProcess) + pods * one.fixedPerPod

export const worstAt = (one: Counted, size: number): number => connectionsAt(one, size, one.pods.worst)

/**
 * The largest size for weight 1 that fits into `usable`. Services whose size is given take theirs first; if that is so of all, it
 * is asked what fits if none were given.
 */
export const recommendedOf = (
  usable: number,
  counted: ReadonlyArray<Counted>,
  givenOf: (one: Counted) => number | undefined
): number => {
  const open = counted.filter((one) => givenOf(one) === undefined)
  const asked = open.length === 0 ? counted : open
  const taken = sum(counted.map((one) => worstAt(one, asked.includes(one) ? 0 : (givenOf(one) ?? 0))))
  const shares = sum(asked.map((one) => one.processes.worst * one.weight))
  return Math.max(0, Math.floor((usable - taken) / shares))
}

/** Connections for requests that overlap by chance: half as many again as those that are busy on average. */
const CHANCE = 1.5

export const needOf = ({ holdMs, requestsPerSecond }: Service): number | undefined =>
  holdMs === undefined || requestsPerSecond === undefined
    ? undefined
    : Math.ceil((requestsPerSecond * holdMs * CHANCE) / 1000)

export const sized = (
  one: Counted,
  size: { readonly maxSize: number; readonly recommended: number; readonly isGiven: boolean },
  source: Source | undefined
): ServicePlan => {
  const { fixedPerPod, fixedPerProcess, pods, processes, processesPerPod, service, weight } = one
  return {
    name: service.name,
    ...size,
    weight,
    processesPerPod,
    fixedPerProcess,
    fixedPerPod,
    pods,
    processes,
    connections: every(pods, (n) => connectionsAt(one, size.maxSize, n)),
    need: needOf(service),
    source
  }
}

const moments: ReadonlyArray<readonly [Moment["moment"], keyof Counts]> = [
  ["at rest", "atRest"],
  ["with surge", "withSurge"],
  ["while old pods terminate", "worst"]
]

export const tableOf = (services: ReadonlyArray<ServicePlan>, open: number): ReadonlyArray<Moment> =>
  moments.map(([moment, at]) => {
    const connections = sum(services.map((service) => service.connections[at]))
    return {
      moment,
      pods: sum(services.map((service) => service.pods[at])),
      processes: sum(services.map((service) => service.processes[at])),
      connections,
      fits: connections <= open
    }
  })
