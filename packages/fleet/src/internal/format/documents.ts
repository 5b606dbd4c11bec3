/** Documents for people, filled in with the numbers of a plan: a checklist before a deploy, and a decision about background jobs. */
import type { PlanReport, ServicePlan } from "../../PlanReport.js"
import { arithmetic, plural } from "../plan/reasons.js"
import { statements, tables } from "./markdown.js"
import { prose } from "./table.js"
import { headline, limitsLine } from "./text.js"

const sizes = (services: ReadonlyArray<ServicePlan>): string =>
  services.map(({ maxSize, name }) => `${prose(name)} ${maxSize}`).join(", ")

/** What a service would have if its background jobs made a pool of their own of the same size. */
const doubled = ({ limits, services, worstCase }: PlanReport): string => {
  const twice = worstCase.map((row, i) => {
    const at = (["atRest", "withSurge", "worst"] as const)[i]!
    const more = services.reduce((sum, one) => sum + one.processes[at] * one.maxSize, 0)
    return { ...row, connections: row.connections + more }
  })
  return arithmetic(twice, limits.open)
}

const box = (done: boolean, text: string): string => `- [${done ? "x" : " "}] ${text}`

/** A box is ticked if the plan has found it true; the others are for a person. */
export const checklist = (plan: PlanReport): string => {
  const { connectionLimits, fits, headroom, limits, reasons, services, worstCase } = plan
  const [rest, surge, worst] = worstCase
  const has = (code: string) => reasons.some((reason) => reason.code === code)
  const loaded = services.every(({ need }) => need !== undefined)
  return [
    "# Before this deploy",
    "",
    `${headline(plan)}.`,
    "",
    ...tables(plan),
    "",
    "## Connections",
    "",
    box(rest!.fits, `At rest: ${rest!.connections} of ${limits.open}.`),
    box(surge!.fits, `With surge: ${surge!.connections} of ${limits.open}.`),
    box(worst!.fits, `While old pods terminate: ${worst!.connections} of ${limits.open}.`),
    box(
      headroom >= 0,
      `${limits.kept} connections are kept for operators, migrations and monitoring; ${Math.max(0, headroom)} more are left.`
    ),
    box(
      fits && loaded && !has("below-need"),
      loaded
        ? `Each pool has what its load needs: ${services.map(({ maxSize, name, need }) => `${prose(name)} ${need} of ${maxSize}`).join(", ")}.`
        : "The load of each service is known: requests per second, and how long each holds a connection."
    ),
    box(
      !has("ready-together") && !has("overcommitted") && !has("no-size-fits"),
      "It fits also if all new pods become ready in the same moment."
    ),
    "",
    "## To be done by a person",
    "",
    box(false, `The configured maxSize of each service is the planned one: ${sizes(services)}.`),
    box(false, "No process opens a second pool on this database: background jobs use the pool of the requests."),
    box(
      false,
      `The server's limit is still ${limits.maxConnections} (\`${limits.system === "mysql" ? "select @@max_connections" : "show max_connections"}\`), and nobody else has more than ${limits.others} of it.`
    ),
    box(false, "A pod closes its connections when it is told to end, before its grace period is over."),
    box(false, "Alerts for utilization above 80 %, waits above 100 ms and pool exhaustion reach somebody."),
    ...(connectionLimits.length === 0
      ? []
      : [box(false, "Each role has its limit:"), "", ...statements(plan).map((line) => `  ${line}`)])
  ].join("\n")
}

export const adr = (plan: PlanReport): string => {
  const { services, worstCase } = plan
  const processes = services.reduce((sum, one) => sum + one.processes.atRest, 0)
  return [
    "# Background jobs use the pool of the requests",
    "",
    `- Status: ${plan.fits ? "proposed" : "proposed; the present sizes do not fit"}`,
    "- Decision: a process has one connection pool for each database; jobs run in it with background priority",
    "",
    "## Context",
    "",
    `${limitsLine(plan)}. ${plural(processes, "process", "processes")} run at rest, ${worstCase.at(-1)!.processes} at the worst moment of a deploy:`,
    "",
    ...tables(plan),
    "",
    `If the jobs of each process opened a pool of their own of the same size, there would be ${doubled(plan)}. Nobody sees that in a test: each pool alone is small, and the sum exists only in production, first of all during a deploy.`,
    "",
    "## Decision",
    "",
    `- One pool for each process: ${sizes(services)}. The program makes it in one Layer, which requests and jobs share.`,
    '- Jobs acquire with priority "background": a request that waits is served first, and a job takes what is left.',
    "- Work that must not wait for requests is a service of its own in this plan, with pods and a size that are counted.",
    "- `sluice plan` runs before every deploy, and a size that does not fit stops it (exit code 2).",
    "",
    "## Consequences",
    "",
    "- The number of connections follows from the number of processes alone; a new job changes no limit.",
    `- Under full load jobs are slower. ${plural(Math.max(0, plan.headroom), "usable connection")} are left for a service of their own.`,
    "- A job that holds a connection for long takes it from requests: it reads in batches, and does slow work without a connection.",
    ...(plan.connectionLimits.length === 0
      ? []
      : ["- The database refuses what nobody planned:", "", ...statements(plan).map((line) => `  ${line}`)])
  ].join("\n")
}
