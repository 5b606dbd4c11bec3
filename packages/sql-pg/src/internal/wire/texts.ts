/** What can be seen in the text of a statement without parsing it. In doubt, the answer is the one that is safe. */

/** More than one statement. */
export const isSeveral = (sql: string): boolean => {
  const at = sql.indexOf(";")
  return at >= 0 && sql.slice(at + 1).trim() !== ""
}

const planned = /^\s*(?:select|insert|update|delete|with|values|table|merge)\b/i

/** The server makes a plan for it. Other statements gain nothing by being prepared. */
export const isPreparable = (sql: string, params: ReadonlyArray<unknown>): boolean =>
  planned.test(sql) && (params.length > 0 || !isSeveral(sql))

const reads = /^\s*(?:select|values|table)\b/i

/** Locks rows, makes a table, or is more than one statement. A literal that contains such a word only makes the read unpacked. */
const harms = /\b(?:into|temp|temporary|for\s+(?:no\s+key\s+update|key\s+share|update|share))\b|;\s*\S/i

/** A read that leaves nothing behind in the database. */
export const isRead = (sql: string): boolean => reads.test(sql) && !harms.test(sql)

/** A star that stands for columns, unlike that of `count(*)`. */
const star = /\*(?!\s*\))/
const table = /^\s*table\b/i

/**
 * Asks for all columns. A prepared statement refuses to give other columns than at its first execution, so an altered table fails
 * it, and inside a transaction everything else with it. Planned anew it does not fail.
 */
export const asksForAllColumns = (sql: string): boolean => (sql.includes("*") && star.test(sql)) || table.test(sql)
