/** A plan as text, for a terminal. */
import type { PlanReport, Reason, ServicePlan } from "../../PlanReport.js"
import { plain } from "./table.js"

/** The verdict in one sentence. */
export const headline = ({ fits, limits, recommended, services, verdict, worstCase }: PlanReport): string => {
  const worst = worstCase.at(-1)!.connections
  const of = `${worst} of ${limits.open} connections at the worst moment of a deploy`
  if (!fits) return `does not fit: ${of}`
  const given = services.every(({ isGiven }) => isGiven)
  const size = services.length === 1 ? `maxSize ${services[0]!.maxSize}` : "all pools"
  const largest = given && services.length === 1 ? `; at most ${recommended} would` : ""
  return `${size} ${services.length === 1 ? "fits" : "fit"}${verdict === "warning" ? ", with a warning" : ""}: ${of}${largest}`
}

export const serviceHead = ["service", "pods", "at worst", "processes", "maxSize", "recommended", "need"]
export const serviceRow = ({ isGiven, maxSize, name, need, pods, processes, recommended }: ServicePlan) => [
  name,
  pods.atRest,
  pods.worst,
  processes.worst,
  isGiven ? maxSize : "not given",
  recommended,
  need ?? "not said"
]

export const momentHead = (plan: PlanReport) => ["moment", "pods", "processes", "connections", `of ${plan.limits.open}`]
export const momentRows = (plan: PlanReport) =>
  plan.worstCase.map(({ connections, fits, moment, pods, processes }) => [
    moment,
    pods,
    processes,
    connections,
    fits ? "fits" : `${connections - plan.limits.open} too many`
  ])

export const limitsLine = ({
  limits: { kept, maxConnections, open, others, reservedByServer, usable }
}: PlanReport): string =>
  `max_connections ${maxConnections}: ${reservedByServer} reserved by the server${others === 0 ? "" : `, ${others} for other consumers`}, ${open} open; ${usable} usable when ${kept} are kept for operators, migrations and monitoring`

export const where = ({ source }: Reason): string => (source === undefined ? "" : ` (${source.file}:${source.line})`)

const reasonLine = (reason: Reason): string => `${reason.level}: ${reason.message}${where(reason)}`

const explained = ({ steps }: PlanReport): ReadonlyArray<string> => [
  "",
  "How each number was found:",
  ...plain(
    ["", "", ""],
    steps.map(({ how, name, value }) => [`  ${name}`, value, `= ${how}`])
  ).slice(1)
]

export const text = (plan: PlanReport, explain: boolean): string =>
  [
    `sluice plan: ${headline(plan)}`,
    limitsLine(plan),
    "",
    ...plain(serviceHead, plan.services.map(serviceRow)),
    "",
    ...plain(momentHead(plan), momentRows(plan)),
    "",
    `headroom: ${plan.headroom} usable connections at the worst moment`,
    ...(plan.connectionLimits.length === 0 ? [] : ["", "As a backstop, the database can hold each role to its plan:"]),
    ...plan.connectionLimits.map(({ statement }) => `  ${statement}`),
    ...(plan.reasons.length === 0 ? [] : ["", ...plan.reasons.map(reasonLine)]),
    ...(explain ? explained(plan) : [])
  ].join("\n")
