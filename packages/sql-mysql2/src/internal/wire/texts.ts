import * as changes from "../session/changes.js"
import { onlyReads } from "./functions.js"
import { keyOf } from "./mysql.js"

/** What can be seen in the text of a statement without parsing it. */
export interface Text {
  readonly sql: string
  /** The key under which `mysql2` keeps its prepared statement. */
  readonly key: string
  /** Worth being prepared, and kept so. */
  readonly planned: boolean
  /** More than one statement, as far as can be told: those cannot be prepared. */
  readonly several: boolean
  /** What it may leave in the session. */
  readonly changes: changes.Changes
  /** The character sets that it chooses for its session. */
  readonly charsets: ReadonlyArray<string>
  /** One statement that cannot begin or end a transaction, whatever becomes of it. */
  readonly plain: boolean
  /** Leaves nothing behind. */
  readonly isRead: boolean
  /** The server has refused to prepare it. */
  unpreparable: boolean
}

/** Texts that each connection remembers. A larger number costs memory, a smaller one costs reading texts again. */
const MAX_TEXTS = 500

/** The server makes a plan for it. */
const planned = /^\s*(?:select|insert|update|delete|replace|with|values|table)\b/i

const reads = /^\s*(?:select|values|table)\b/i

/**
 * Writes, leaves something in the session, asks what an earlier statement has left there, or is more than one statement. A literal
 * that contains such a word only makes the read unpacked.
 */
const writes =
  /\b(?:into|sql_calc_found_rows|found_rows|row_count|last_insert_id|get_lock|release_lock|release_all_locks|nextval|setval|next\s+value)\b|:=|;\s*\S/i

const locks = /\b(?:for\s+(?:update|share)|lock\s+in\s+share\s+mode)\b/i

/** A read that leaves nothing behind when its transaction has ended, as far as can be told without parsing. */
export const isRead = (sql: string): boolean => reads.test(sql) && !writes.test(sql)

/**
 * A read that may share its connection with others, and may be executed twice: it calls no function that the program has made,
 * which could write.
 */
export const isHarmless = (sql: string): boolean => isRead(sql) && !locks.test(sql) && onlyReads(sql)

/** More than one statement, or one that has others inside; a literal may be taken for one, too. */
export const isSeveral = (sql: string): boolean => {
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
    charsets: changes.charsets(sql),
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

/** What may stand before the first word. */
const blank = String.raw`(?:\s|\(|/\*[\s\S]*?\*/|--(?=\s)[^\n]*|#[^\n]*)*`

const verb = new RegExp(`^${blank}(\\w+)`)

/** The first word, in capitals: the answer in the mode `command`. */
export const verbOf = (sql: string): string => verb.exec(sql)?.[1]?.toUpperCase() ?? ""

/** Ends a transaction that has failed, or begins another one in its place. */
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
