/**
 * @since 0.2.0
 */
export type * as Report from "./Report.js"
