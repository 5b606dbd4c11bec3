/**
 * @since 0.1.0
 */
export * as AsyncContext from "./AsyncContext.js"
export * as Backoff from "./Backoff.js"
export * as Deadline from "./Deadline.js"
export * as FunctionPool from "./FunctionPool.js"
export * as OptionTable from "./OptionTable.js"
export * as Origin from "./Origin.js"
export * as Pool from "./Pool.js"
export * as PoolError from "./PoolError.js"
export * as PoolEvent from "./PoolEvent.js"
export * as PoolHooks from "./PoolHooks.js"
export * as PoolOptions from "./PoolOptions.js"
export * as PoolStats from "./PoolStats.js"
export * as Pools from "./Pools.js"
export * as Priority from "./Priority.js"
export * as Registry from "./Registry.js"
