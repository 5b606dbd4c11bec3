/**
 * Whether the pools of a fleet fit into the limit of their database, also while a deploy replaces them, and how large they may be.
 *
 * ```
 * surge       = percentage of the pods, rounded up; unavailable = percentage of the pods, rounded down
 * worst pods  = pods + surge + those that terminate while their successors already have connections
 * processes   = worst pods × processes of each pod
 * kept        = the larger of `reserve` and what the server itself reserves
 * usable      = max_connections − kept − other consumers
 * fixed       = Σ processes × (extras + further pools) + Σ worst pods × further pools of each pod
 * recommended = ⌊(usable − fixed) / Σ processes × weight⌋
 * need        = ⌈requests per second × seconds that each holds a connection × 1.5⌉
 * ```
 *
 * A plan counts connections that may exist, not those that exist now: a pool opens up to its `maxSize` when there is load, and a deploy
 * is a moment of load. All services are taken to be deployed at once.
 *
 * @since 0.2.0
 */
import { Either } from "effect"
import { count, limitsOf, recommendedOf, sized, tableOf, worstAt } from "./internal/plan/fleet.js"
import { type Judged, reasonsOf } from "./internal/plan/reasons.js"
import { stepsOf } from "./internal/plan/steps.js"
import type { InvalidInput } from "./PlanError.js"
import { decode, type PlanInput } from "./PlanInput.js"
import type { ConnectionLimit, PlanReport, Reason, ServicePlan, Source } from "./PlanReport.js"

/**
 * @since 0.2.0
 * @category models
 */
export interface PlanOptions {
  /** Where each service was declared, for reasons that name it. */
  readonly sources?: Readonly<Record<string, Source>> | undefined
  /** What whoever read the files wants to be known. It changes no verdict. */
  readonly notes?: ReadonlyArray<Reason> | undefined
}

/** As people write it in SQL: in quotes only if it must be. */
const quoted = (role: string): string => (/^[a-z_][a-z0-9_]*$/.test(role) ? role : `"${role.replaceAll('"', '""')}"`)

const statementOf = (system: "postgresql" | "mysql", role: string | undefined, limit: number): string =>
  system === "postgresql"
    ? `ALTER ROLE ${role === undefined ? "<role>" : quoted(role)} CONNECTION LIMIT ${limit};`
    : `ALTER USER ${role === undefined ? "<user>" : `'${role.replaceAll("'", "''")}'`} WITH MAX_USER_CONNECTIONS ${limit};`

/** For each role what its services have at worst, if they have what fits. */
const connectionLimits = ({ counted, limits, services, table }: Judged): ReadonlyArray<ConnectionLimit> => {
  const fits = table.at(-1)!.connections <= limits.open
  const byRole = new Map<string | undefined, number>()
  for (const [i, one] of counted.entries()) {
    const { maxSize, recommended } = services[i]!
    const { role } = one.service
    byRole.set(role, (byRole.get(role) ?? 0) + worstAt(one, fits ? maxSize : recommended))
  }
  const found = [...byRole].map(([role, limit]) => ({
    role,
    limit,
    statement: statementOf(limits.system, role, limit)
  }))
  return services.some((plan) => plan.recommended === 0) ? [] : found
}

const verdictOf = (reasons: ReadonlyArray<Reason>): PlanReport["verdict"] => {
  if (reasons.some(({ level }) => level === "error")) return "fails"
  return reasons.some(({ level }) => level === "warning") ? "warning" : "fits"
}

/**
 * The plan of a fleet: judges the sizes that are given, and recommends the others.
 *
 * **When to use:** for an input that was written in the program. What comes from outside goes through `make`.
 *
 * - Pure: it opens no file and no connection.
 * - Never recommends what would use more than `usable` at the worst moment; one connection more in each process would, always.
 *
 * @example
 * ```ts
 * import { Plan } from "@sluice/fleet"
 *
 * const web = { name: "web", pods: 20, processes: 4 }
 * const database = { maxConnections: 500 }
 *
 * console.log(Plan.plan({ database, services: [web] }).recommended)
 * // 4
 * const slower = { ...web, surge: 1, unavailable: 0 }
 * console.log(Plan.plan({ database, services: [slower] }).recommended)
 * // 5
 * const asked = Plan.plan({ database, services: [{ ...web, maxSize: 6 }] })
 * console.log(asked.fits, asked.worstCase.map(({ connections }) => connections).join(", "))
 * // false 480, 600, 720
 * ```
 *
 * @see `make` for an input that nobody has checked.
 * @since 0.2.0
 * @category constructors
 */
export const plan = (input: PlanInput, options: PlanOptions = {}): PlanReport => {
  const { database } = input
  const { notes = [], sources = {} } = options
  const limits = limitsOf(database)
  const counted = input.services.map((service) => count(service))
  const recommended = recommendedOf(limits.usable, counted, ({ service }) => service.maxSize)
  const isMixed = counted.some(({ service }) => service.maxSize === undefined)
  const services = counted.map((one): ServicePlan => {
    const { maxSize, name } = one.service
    // A size that is given beside others that are not is taken as it is: the others have what it leaves.
    const own = isMixed && maxSize !== undefined ? maxSize : recommended * one.weight
    // If nothing fits, the arithmetic is shown for the smallest pool there is.
    const size = { maxSize: maxSize ?? Math.max(1, own), recommended: own, isGiven: maxSize !== undefined }
    return sized(one, size, Object.hasOwn(sources, name) ? sources[name] : undefined)
  })
  const table = tableOf(services, limits.open)
  const judged = { database, limits, recommended, counted, services, table }
  const reasons = [...reasonsOf(judged), ...notes]
  const verdict = verdictOf(reasons)
  return {
    version: 1,
    verdict,
    fits: verdict !== "fails",
    recommended,
    limits,
    services,
    worstCase: table,
    headroom: limits.usable - table.at(-1)!.connections,
    connectionLimits: connectionLimits(judged),
    reasons,
    steps: stepsOf(judged)
  }
}

/**
 * As `plan`, for an input that nobody has checked.
 *
 * - Fails with `InvalidInput`, which lists every problem.
 *
 * @see `plan` for an input that the compiler has checked.
 * @since 0.2.0
 * @category constructors
 */
export const make = (input: unknown, options?: PlanOptions): Either.Either<PlanReport, InvalidInput> =>
  Either.map(decode(input), (checked) => plan(checked, options))

/**
 * The exit code of the command: 0 fits, 1 fits with a warning, 2 does not fit.
 *
 * @since 0.2.0
 * @category conversions
 */
export const exitCode = ({ verdict }: PlanReport): 0 | 1 | 2 => (({ fits: 0, warning: 1, fails: 2 }) as const)[verdict]
