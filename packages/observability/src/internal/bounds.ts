import { metrics } from "../Catalog.js"

/** The bounds of the buckets of waits, in milliseconds. */
export const waitBounds: ReadonlyArray<number> = metrics["db.client.connection.wait_time"].buckets.map((seconds) =>
  Math.round(seconds * 1_000)
)
