/**
 * What a plan says, as plain data: `sluice plan --format json` prints exactly this.
 *
 * @since 0.2.0
 */
import type { Terminating } from "./PlanInput.js"

/**
 * @since 0.2.0
 * @category models
 */
export interface PlanReport {
  readonly version: 1
  /** `warning`: the connections fit, and something else is to be known before the deploy. */
  readonly verdict: "fits" | "warning" | "fails"
  /** Whether the server has a connection for everyone at the worst moment. */
  readonly fits: boolean
  /** The largest `maxSize` that fits, for a service of weight 1. 0: none does. */
  readonly recommended: number
  readonly limits: Limits
  readonly services: ReadonlyArray<ServicePlan>
  /** From the best to the worst moment: at rest, with surge, while old pods terminate. */
  readonly worstCase: ReadonlyArray<Moment>
  /** Usable connections that are left at the worst moment. Negative: so many are missing. */
  readonly headroom: number
  /** Limits for the database itself to keep, if a program does what nobody planned. */
  readonly connectionLimits: ReadonlyArray<ConnectionLimit>
  readonly reasons: ReadonlyArray<Reason>
  /** How each number was found, in the order of the arithmetic. */
  readonly steps: ReadonlyArray<Step>
}

/**
 * The connections of the server.
 *
 * @since 0.2.0
 * @category models
 */
export interface Limits {
  readonly system: "postgresql" | "mysql"
  readonly maxConnections: number
  /** What the server gives to superusers and members of reserved roles alone. */
  readonly reservedByServer: number
  /** What is kept from the services, including that. */
  readonly kept: number
  /** Consumers that are not planned. */
  readonly others: number
  /** What the server would give to the services at the most. */
  readonly open: number
  /** What the services may have. */
  readonly usable: number
}

/**
 * Something of a service at the three moments.
 *
 * @since 0.2.0
 * @category models
 */
export interface Counts {
  readonly atRest: number
  readonly withSurge: number
  readonly worst: number
}

/**
 * Pods at the three moments, and why they are so many.
 *
 * @since 0.2.0
 * @category models
 */
export interface Pods extends Counts {
  readonly strategy: "rolling" | "recreate"
  /** How many may be too many, and missing; never more than there are. */
  readonly surge: number
  readonly unavailable: number
  readonly terminating: Terminating
}

/**
 * One service.
 *
 * @since 0.2.0
 * @category models
 */
export interface ServicePlan {
  readonly name: string
  /** The `maxSize` that is recommended for it. 0: none fits. */
  readonly recommended: number
  /** The `maxSize` that this plan is about. */
  readonly maxSize: number
  /** Whether somebody said it, or it is the recommended one. */
  readonly isGiven: boolean
  readonly weight: number
  readonly processesPerPod: number
  /** Connections of each process beside the pool, and of each pod beside its processes. */
  readonly fixedPerProcess: number
  readonly fixedPerPod: number
  readonly pods: Pods
  readonly processes: Counts
  readonly connections: Counts
  /** How many connections each process needs for its load. `undefined`: the load was not said. */
  readonly need: number | undefined
  readonly source: Source | undefined
}

/**
 * Where something was said.
 *
 * @since 0.2.0
 * @category models
 */
export interface Source {
  readonly file: string
  readonly line: number
}

/**
 * One row of the worst-case table, over all services.
 *
 * @since 0.2.0
 * @category models
 */
export interface Moment {
  readonly moment: "at rest" | "with surge" | "while old pods terminate"
  readonly pods: number
  readonly processes: number
  readonly connections: number
  /** Whether the server has that many. */
  readonly fits: boolean
}

/**
 * @since 0.2.0
 * @category models
 */
export interface ConnectionLimit {
  /** `undefined`: nobody said as which role the services connect. */
  readonly role: string | undefined
  readonly limit: number
  /** The statement that sets it. */
  readonly statement: string
}

/**
 * Why the verdict is so.
 *
 * | code | level | what |
 * | --- | --- | --- |
 * | `overcommitted` | error | the server has fewer connections than the worst moment needs |
 * | `no-size-fits` | error | one connection in each process is too much already |
 * | `reserve-used` | warning | the worst moment uses what is kept for operators |
 * | `below-need` | warning | the size is less than the load needs |
 * | `single` | warning | one connection in each process |
 * | `saturated` | warning | more than four connections for each core of the server |
 * | `ready-together` | note | it would not fit if all new pods became ready in the same moment |
 * | `not-counted` | note | something in a file that was left out |
 *
 * @since 0.2.0
 * @category models
 */
export interface Reason {
  readonly level: "error" | "warning" | "note"
  readonly code:
    | "overcommitted"
    | "no-size-fits"
    | "reserve-used"
    | "below-need"
    | "single"
    | "saturated"
    | "ready-together"
    | "not-counted"
  readonly message: string
  /** `undefined`: it is about all of them. */
  readonly service: string | undefined
  readonly source: Source | undefined
}

/**
 * One number and how it was found.
 *
 * @since 0.2.0
 * @category models
 */
export interface Step {
  readonly name: string
  readonly value: number
  readonly how: string
}
