/**
 * Which functions a text calls, as far as that can be told without parsing. A function of the program may write, so a text that
 * calls one must not be executed twice.
 *
 * @since 0.2.0
 */

/** What may stand before a parenthesis and is no function: words of SQL, and types that have a length. */
const words: ReadonlyArray<string> =
  `all and any array as between bit by case cast char character cross cube decimal delete
distinct else end except exists filter from group grouping having ilike in inner intersect interval into is join last lateral like
limit materialized not nchar numeric nvarchar of offset on only or order over partition rlike rollup row select set sets similar
some tablesample then time timestamp timestamptz timetz union using values varbinary varbit varchar varying when where window
within xor`.split(/\s+/)

/** What stands before a parenthesis: a word, or one other character. */
const opened = /([\w$\u0080-\uffff]+|[^\s\w])?\s*\(/g

/** A comment hides what stands before a parenthesis. */
const hidden = /\*\/\s*\(|(?:--|#)[^\n]*\n\s*\(/

/**
 * Whether every function that a text calls is one of `known`, which are written in lower case. In doubt it is not: a literal
 * that looks like a call, a quoted name, a name with a schema. The words of SQL that stand before a parenthesis are known.
 *
 * @since 0.2.0
 * @category constructors
 */
export const only = (known: ReadonlyArray<string>): ((sql: string) => boolean) => {
  const names = new Set([...words, ...known])
  const isKnown = (sql: string, before: string | undefined, at: number): boolean => {
    if (before === undefined) return true
    if (!/^[\w$\u0080-\uffff]/.test(before)) return !/["'`]/.test(before)
    const ahead = sql.slice(Math.max(0, at - 8), at)
    // `as t(a)` and `::bit(3)` call nothing.
    return !/\.\s*$/.test(ahead) && (names.has(before.toLowerCase()) || /(?:\bas\s+|::)$/i.test(ahead))
  }
  return (sql) => {
    if (hidden.test(sql)) return false
    for (const { 1: before, index } of sql.matchAll(opened)) if (!isKnown(sql, before, index)) return false
    return true
  }
}
