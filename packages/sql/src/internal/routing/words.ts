/** Which server takes the statements that are not marked with `Sql.read`: the words of libpq. */
export const targetWords = ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] as const

export type TargetWord = (typeof targetWords)[number]

/**
 * Where the roles of the servers come from: `given` by the configuration, as `primary` and `replicas`; or `found` by asking the
 * servers, because the configuration has only said which servers there are.
 */
export type Roles = "given" | "found"
