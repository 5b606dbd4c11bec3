/** What a viewer may, and who it is. */

/**
 * - `none`: nothing.
 * - `numbers`: all numbers, names of pools and endpoints.
 * - `texts`: also what is done on a connection, and the span in which.
 * - `admin`: also the actions.
 */
export type Rights = "none" | "numbers" | "texts" | "admin"

const order: ReadonlyArray<Rights> = ["none", "numbers", "texts", "admin"]

export const includes = (has: Rights, wanted: Rights): boolean => order.indexOf(has) >= order.indexOf(wanted)

export interface Viewer {
  readonly rights: Rights
  /** Who it is, for the log of the actions. */
  readonly who: string
}
