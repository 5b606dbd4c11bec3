/**
 * @since 0.2.0
 */
export * as Health from "./Health.js"
export * as Refusal from "./Refusal.js"
export * as RequestConnection from "./RequestConnection.js"
