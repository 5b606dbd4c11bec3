/**
 * @since 0.2.0
 */
export * as ClientGone from "./ClientGone.js"
export * as Health from "./Health.js"
export * as NodeHttp from "./NodeHttp.js"
export * as Refusal from "./Refusal.js"
export * as RequestConnection from "./RequestConnection.js"
