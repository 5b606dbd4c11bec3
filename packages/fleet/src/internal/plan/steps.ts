/** How each number of a plan was found. */
import type { Database, Service } from "../../PlanInput.js"
import type { Limits, ServicePlan, Step } from "../../PlanReport.js"
import { type Counted, DEFAULT_RESERVE, needOf, reserveOf, sum } from "./fleet.js"
import { arithmetic, type Judged } from "./reasons.js"

const step = (name: string, value: number, how: string): Step => ({ name, value, how })

const listed = (numbers: Readonly<Record<string, number>>): string =>
  Object.entries(numbers)
    .map(([name, n]) => `${name} ${n}`)
    .join(" + ")

const limitSteps = (database: Database, limits: Limits): ReadonlyArray<Step> => {
  const { others = {}, reserve = DEFAULT_RESERVE } = database
  const asked = typeof reserve === "number" ? "reserve" : `${reserve} of ${limits.maxConnections}, at least 5`
  return [
    step("max_connections", limits.maxConnections, "the server's limit"),
    step("reserved by the server", limits.reservedByServer, "superuser_reserved_connections + reserved_connections"),
    step(
      "kept",
      limits.kept,
      `the larger of ${reserveOf(database)} (${asked}) and the ${limits.reservedByServer} of the server`
    ),
    ...(limits.others === 0 ? [] : [step("other consumers", limits.others, listed(others))]),
    step(
      "open",
      limits.open,
      `${limits.maxConnections} − ${limits.reservedByServer} − ${limits.others}: what the server would give`
    ),
    step(
      "usable",
      limits.usable,
      `${limits.maxConnections} − ${limits.kept} − ${limits.others}: what the services may have`
    )
  ]
}

const worstHow = (one: Counted): string => {
  const { atRest, strategy, surge, terminating, unavailable, worst } = one.pods
  if (strategy === "recreate") return "a pod ends before its successor starts"
  const more = worst - atRest - surge
  const why = {
    none: "old pods have closed their connections before new ones open any",
    wave: `those of the first wave (${unavailable}), or one for each new pod that is ready`,
    together: `all new pods may become ready at once (${surge} + ${unavailable})`,
    full: "all old pods may still terminate when all new ones are there"
  }[terminating]
  return `${atRest} + ${surge} surge + ${more} terminating: ${why}`
}

const serviceSteps = (one: Counted, plan: ServicePlan): ReadonlyArray<Step> => {
  const { fixedPerPod, fixedPerProcess, pods, processes, processesPerPod, service } = one
  const named = (name: string, value: number, how: string) => step(`${service.name}: ${name}`, value, how)
  const { holdMs, pools = [], requestsPerSecond, surge = "25%", unavailable = "25%" } = service
  const need = needOf(service)
  const rolling = [
    named("surge", pods.surge, `${shared(surge)} of ${pods.atRest} pods, rounded up`),
    named("unavailable", pods.unavailable, `${shared(unavailable)} of ${pods.atRest} pods, rounded down`)
  ]
  const inEach = Object.fromEntries(pools.filter(({ each }) => each !== "pod").map((pool) => [pool.name, pool.maxSize]))
  const inPod = Object.fromEntries(pools.filter(({ each }) => each === "pod").map((pool) => [pool.name, pool.maxSize]))
  return [
    ...(pods.strategy === "rolling" ? rolling : []),
    named("pods at worst", pods.worst, worstHow(one)),
    named("processes at worst", processes.worst, `${pods.worst} pods × ${processesPerPod}`),
    ...(fixedPerProcess === 0
      ? []
      : [named("beside the pool, in each process", fixedPerProcess, listed({ ...inEach, ...service.extras }))]),
    ...(fixedPerPod === 0 ? [] : [named("beside the pool, in each pod", fixedPerPod, listed(inPod))]),
    ...(need === undefined ? [] : [named("need", need, `⌈${requestsPerSecond} requests/s × ${holdMs} ms × 1.5⌉`)]),
    named(
      "connections at worst",
      plan.connections.worst,
      `${processes.worst} × (${plan.maxSize} + ${fixedPerProcess})${fixedPerPod === 0 ? "" : ` + ${pods.worst} × ${fixedPerPod}`}`
    )
  ]
}

const shared = (share: Service["surge"]): string => String(share)

const recommendedStep = ({ counted, limits, recommended, services }: Judged): Step => {
  const open = services.filter((plan) => !plan.isGiven)
  const asked = open.length === 0 ? services : open
  const taken = sum(
    services.map((plan) => {
      const one = counted[services.indexOf(plan)]!
      const own = asked.includes(plan) ? 0 : plan.maxSize
      return one.processes.worst * (own + one.fixedPerProcess) + one.pods.worst * one.fixedPerPod
    })
  )
  const shares = asked.map((plan) =>
    plan.weight === 1 ? `${plan.processes.worst}` : `${plan.processes.worst} × ${plan.weight}`
  )
  const divisor = shares.length === 1 && !shares[0]!.includes("×") ? shares[0]! : `(${shares.join(" + ")})`
  return step("recommended maxSize", recommended, `⌊(${limits.usable} − ${taken}) / ${divisor}⌋, for weight 1`)
}

export const stepsOf = (judged: Judged): ReadonlyArray<Step> => [
  ...limitSteps(judged.database, judged.limits),
  ...judged.counted.flatMap((one, i) => serviceSteps(one, judged.services[i]!)),
  recommendedStep(judged),
  step("connections at worst", judged.table.at(-1)!.connections, arithmetic(judged.table, judged.limits.open))
]
