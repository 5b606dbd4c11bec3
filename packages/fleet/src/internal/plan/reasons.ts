/** What a plan has against a fleet, in sentences. */
import type { Database, Service } from "../../PlanInput.js"
import type { Limits, Moment, Reason, ServicePlan } from "../../PlanReport.js"
import { type Counted, count, recommendedOf, sum, worstAt } from "./fleet.js"

/** A server with more connections than this for each core only switches between them. */
const PER_CORE = 4

const RELIEF =
  "A proxy in transaction mode in front of the database (PgBouncer, ProxySQL), or a budget that the fleet shares, lets more processes use the same connections."

export interface Judged {
  readonly database: Database
  readonly limits: Limits
  readonly recommended: number
  readonly counted: ReadonlyArray<Counted>
  readonly services: ReadonlyArray<ServicePlan>
  readonly table: ReadonlyArray<Moment>
}

export const plural = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`

const reason = (
  level: Reason["level"],
  code: Reason["code"],
  message: string,
  service?: ServicePlan | undefined
): Reason => ({ level, code, message, service: service?.name, source: service?.source })

/** "6 connections (and jobs 10, listen 1)". */
const each = (plan: ServicePlan, service: Service): string => {
  const beside = [
    ...(service.pools ?? []).map((pool) => `${pool.name} ${pool.maxSize}${pool.each === "pod" ? " in each pod" : ""}`),
    ...Object.entries(service.extras ?? {}).map(([name, n]) => `${name} ${n}`)
  ]
  const size = plural(plan.maxSize, "connection")
  return beside.length === 0 ? size : `${size} (and ${beside.join(", ")})`
}

const whatOf = ({ counted, services }: Judged): string => {
  const [plan] = services
  if (services.length > 1 || plan === undefined) return "the services together open"
  return `${each(plan, counted[0]!.service)} in each of ${plural(plan.processes.atRest, "process", "processes")} (${plural(plan.pods.atRest, "pod")} × ${plan.processesPerPod}) are`
}

/** "480 at rest, 600 with surge, 720 while old pods terminate, of 497". */
export const arithmetic = (table: ReadonlyArray<Moment>, of: number): string =>
  `${table.map(({ connections, moment }) => `${connections} ${moment}`).join(", ")}, of ${of}`

const remedyOf = ({ recommended, services }: Judged): string => {
  if (recommended === 0) return `Not even one connection in each process fits. ${RELIEF}`
  if (services.length === 1) return `At most ${recommended} ${recommended === 1 ? "fits" : "fit"}.`
  return `What fits: ${services.map((plan) => `${plan.name} ${plan.isGiven && plan.recommended > plan.maxSize ? plan.maxSize : plan.recommended}`).join(", ")}.`
}

const fitting = (judged: Judged): ReadonlyArray<Reason> => {
  const { limits, services, table } = judged
  const worst = table.at(-1)!
  const service = services.length === 1 ? services[0] : undefined
  const overcommitted = worst.connections > limits.open
  if (judged.recommended === 0 && services.every((plan) => !plan.isGiven)) {
    const message = `no maxSize fits: ${whatOf(judged)} ${arithmetic(table, limits.usable)} usable. ${RELIEF}`
    return [reason("error", "no-size-fits", message, service)]
  }
  const message = `${whatOf(judged)} ${arithmetic(table, limits.open)}.`
  if (overcommitted) return [reason("error", "overcommitted", `${message} ${remedyOf(judged)}`, service)]
  if (worst.connections <= limits.usable) return []
  const kept = `The ${limits.kept} that are kept for operators, migrations and monitoring are not all free then.`
  return [reason("warning", "reserve-used", `${message} ${kept} ${remedyOf(judged)}`, service)]
}

const loads = ({ counted, services }: Judged): ReadonlyArray<Reason> =>
  services.flatMap((plan, i) => {
    const { holdMs, requestsPerSecond } = counted[i]!.service
    if (plan.need !== undefined && plan.maxSize < plan.need) {
      const load = `${requestsPerSecond} requests/s × ${holdMs} ms × 1.5`
      const message = `${plan.name}: each process needs ${plural(plan.need, "connection")} for its load (${load}) and has ${plan.maxSize}: requests will wait. ${RELIEF}`
      return [reason("warning", "below-need", message, plan)]
    }
    if (plan.maxSize >= 2) return []
    const message = `${plan.name}: one connection in each process, so each request waits for the one before it. ${RELIEF}`
    return [reason("warning", "single", message, plan)]
  })

const saturation = ({ database: { cores }, table }: Judged): ReadonlyArray<Reason> => {
  const [rest] = table
  if (cores === undefined || rest === undefined || rest.connections <= cores * PER_CORE) return []
  const message = `${rest.connections} connections at rest are more than ${PER_CORE} for each of the ${plural(cores, "core")} of the database: when all are busy, each statement takes longer and no more are finished.`
  return [reason("warning", "saturated", message)]
}

const readyTogether = ({ counted, limits, services }: Judged): ReadonlyArray<Reason> => {
  const together = counted.map(({ pods, service }) =>
    count(service, pods.terminating === "wave" ? "together" : pods.terminating)
  )
  const connections = sum(together.map((one, i) => worstAt(one, services[i]!.maxSize)))
  if (connections <= limits.open) return []
  const fits = recommendedOf(limits.usable, together, () => undefined)
  const pods = sum(together.map((one) => one.pods.worst))
  const message = `if all new pods of a wave become ready in the same moment, ${pods} pods have connections: ${connections}, of ${limits.open}. Start fewer at once (maxSurge 1, maxUnavailable 0), or plan for it with terminating "together": then ${fits} ${fits === 1 ? "fits" : "fit"}.`
  return [reason("note", "ready-together", message)]
}

export const reasonsOf = (judged: Judged): ReadonlyArray<Reason> => {
  const found = fitting(judged)
  const fails = found.some(({ level }) => level === "error")
  return [...found, ...(fails ? [] : [...loads(judged), ...saturation(judged), ...readyTogether(judged)])]
}
