/**
 * Plans the connections of a fleet, and has the `sluice` command. To watch the pools of a program, use `@sluice/observability`.
 *
 * @since 0.2.0
 */
export * as Plan from "./Plan.js"
export * as PlanError from "./PlanError.js"
export * as PlanInput from "./PlanInput.js"
export * as PlanReport from "./PlanReport.js"
