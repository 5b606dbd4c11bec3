/** The bounds of the metric `db.client.connection.wait_time`, in milliseconds. */
export const waitBounds: ReadonlyArray<number> = [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000]
