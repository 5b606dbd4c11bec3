/** The statement cannot be prepared, on this server. */
export const isUnpreparable = (errno: number | undefined): boolean => errno === 1295

/** The server does not know the prepared statement any more, or cannot prepare it again. */
export const isStale = (errno: number | undefined): boolean => errno === 1243 || errno === 1615
