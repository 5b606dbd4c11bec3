/**
 * The parts that drivers are made of. A program that only uses a database needs none of them.
 *
 * @since 0.2.0
 */
export * as Calls from "./Calls.js"
export * as Cancel from "./Cancel.js"
export * as Classify from "./Classify.js"
export * as Configured from "./Configured.js"
export * as Connect from "./Connect.js"
export * as Driver from "./Driver.js"
export * as Endpoints from "./Endpoints.js"
export * as ErrorText from "./ErrorText.js"
export * as Fork from "./Fork.js"
export * as Layers from "./Layers.js"
export * as Literals from "./Literals.js"
export * as Operation from "./Operation.js"
export * as Options from "./Options.js"
export * as Packing from "./Packing.js"
export * as Pipeline from "./Pipeline.js"
export * as Profile from "./Profile.js"
export * as Runtime from "./Runtime.js"
export * as Tls from "./Tls.js"
export * as Unreadable from "./Unreadable.js"
export * as Unsendable from "./Unsendable.js"
export * as Url from "./Url.js"
export * as Watch from "./Watch.js"
