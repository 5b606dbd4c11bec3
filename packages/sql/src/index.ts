/**
 * @since 0.1.0
 */
export * as Consistency from "./Consistency.js"
export * as Job from "./Job.js"
export * as Router from "./Router.js"
export * as Sources from "./Sources.js"
export * as Sql from "./Sql.js"
export * as SqlHealth from "./SqlHealth.js"
export * as SqlHooks from "./SqlHooks.js"
export * as SqlReason from "./SqlReason.js"
export * as SqlRetry from "./SqlRetry.js"
export * as Topology from "./Topology.js"
