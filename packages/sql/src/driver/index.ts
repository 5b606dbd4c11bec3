/**
 * What a driver is made of. A program that uses a database needs none of it.
 *
 * @since 0.2.0
 */
export * as Cancel from "./Cancel.js"
export * as Classify from "./Classify.js"
export * as Driver from "./Driver.js"
export * as Fork from "./Fork.js"
export * as Packing from "./Packing.js"
export * as Pipeline from "./Pipeline.js"
export * as Profile from "./Profile.js"
export * as Runtime from "./Runtime.js"
export * as Unreadable from "./Unreadable.js"
