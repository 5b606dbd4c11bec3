/**
 * @since 0.1.0
 */
export * as Sql from "./Sql.js"
export * as SqlReason from "./SqlReason.js"
export * as SqlRetry from "./SqlRetry.js"
