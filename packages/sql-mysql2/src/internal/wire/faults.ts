/** The statement cannot be prepared, on this server. */
export const isUnpreparable = (errno: number | undefined): boolean => errno === 1295

/** The server keeps as many prepared statements as it may. */
export const isFull = (errno: number | undefined): boolean => errno === 1461

/** The server has tried to prepare it anew, and its tables have changed again each time. */
export const isRepreparationRefused = (errno: number | undefined): boolean => errno === 1615

/** The server does not know the prepared statement any more, or cannot prepare it again. */
export const isStale = (errno: number | undefined): boolean => errno === 1243 || errno === 1615
