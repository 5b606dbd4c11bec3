import * as changes from "../session/changes.js"
import { keyOf } from "./mysql.js"

/** What can be seen in the text of a statement without parsing it. */
export interface Text {
  readonly sql: string
  /** What `mysql2` keeps its prepared statement under. */
  readonly key: string
  /** Worth being prepared, and kept so. */
  readonly planned: boolean
  /** More than one statement, as far as can be told: those cannot be prepared. */
  readonly several: boolean
  /** What it may leave in the session. */
  readonly changes: changes.Changes
  /** One statement that cannot begin or end a transaction, whatever becomes of it. */
  readonly plain: boolean
  /** Leaves nothing behind. */
  readonly isRead: boolean
  /** Refused by the server when prepared: found out by asking. */
  unpreparable: boolean
}

/** Texts remembered by each connection. More cost memory, fewer cost a look at the text each time. */
const MAX_TEXTS = 500

/** What a server plans. */
const planned = /^\s*(?:select|insert|update|delete|replace|with|values|table)\b/i

const reads = /^\s*(?:select|values|table)\b/i

/**
 * Writes, leaves something in the session or asks what a statement before it has left there, or is more than one statement.
 * That one of these may stand in a literal does no harm.
 */
const writes =
  /\b(?:into|sql_calc_found_rows|found_rows|row_count|last_insert_id|get_lock|release_lock|release_all_locks|nextval|setval|next\s+value)\b|:=|;\s*\S/i

const locks = /\b(?:for\s+(?:update|share)|lock\s+in\s+share\s+mode)\b/i

/** Nothing is left of it when the transaction that it was alone in has ended, as far as can be told without parsing. */
export const isRead = (sql: string): boolean => reads.test(sql) && !writes.test(sql)

/** A read that may share its connection with others. */
export const isHarmless = (sql: string): boolean => isRead(sql) && !locks.test(sql)

const isSeveral = (sql: string): boolean => {
  const at = sql.indexOf(";")
  return at >= 0 && sql.slice(at + 1).trim() !== ""
}

export const read = (sql: string): Text => {
  const several = isSeveral(sql)
  return {
    sql,
    key: keyOf(sql),
    planned: planned.test(sql),
    several,
    changes: changes.read(sql),
    plain: !several && planned.test(sql),
    isRead: isRead(sql),
    unpreparable: false
  }
}

export class Texts {
  private readonly known = new Map<string, Text>()

  of(sql: string): Text {
    const known = this.known.get(sql)
    if (known !== undefined) return known
    if (this.known.size >= MAX_TEXTS) this.known.clear()
    const text = read(sql)
    this.known.set(sql, text)
    return text
  }
}

/** The first word, in capitals: what `command` answers. */
export const verbOf = (sql: string): string => /^\s*(\w+)/.exec(sql)?.[1]?.toUpperCase() ?? ""

/** What ends a transaction that has failed, or takes its place. */
export const replacesTransaction = (sql: string): boolean =>
  /^\s*(?:rollback(?!\s+(?:work\s+)?to\b)|begin|start\s+transaction)\b/i.test(sql)

export const endsTransaction = (sql: string): boolean => /^\s*(?:commit|rollback(?!\s+(?:work\s+)?to\b))\b/i.test(sql)

/** Commits first, also when it fails then. */
export const commitsImplicitly = (sql: string): boolean =>
  /^\s*(?:create|alter|drop|rename|truncate|grant|revoke|analyze|optimize|repair|check|flush|install|uninstall|lock|set\s+password)\b/i.test(
    sql
  )

/** Begins or ends a transaction by hand, alone or among others. */
export const handlesTransaction = (sql: string): boolean =>
  /(?:^|;)\s*(?:commit|rollback|begin|start\s+transaction|xa)\b/i.test(sql)

/** Literals may be secrets. */
export const withoutLiterals = (sql: string): string =>
  sql
    .replace(/'(?:[^'\\]|\\[\s\S]|'')*'|"(?:[^"\\]|\\[\s\S]|"")*"/g, "'…'")
    .replace(/\s+/g, " ")
    .trim()
