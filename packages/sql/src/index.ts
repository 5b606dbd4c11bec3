/**
 * @since 0.1.0
 */
export * as Sql from "./Sql.js"
export * as SqlAbort from "./SqlAbort.js"
export * as SqlDriver from "./SqlDriver.js"
export * as SqlFailure from "./SqlFailure.js"
export * as SqlLine from "./SqlLine.js"
export * as SqlPacking from "./SqlPacking.js"
export * as SqlProfile from "./SqlProfile.js"
export * as SqlReason from "./SqlReason.js"
export * as SqlRetry from "./SqlRetry.js"
export * as SqlRuntime from "./SqlRuntime.js"
