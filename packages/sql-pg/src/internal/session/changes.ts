import { without } from "@sluice/sql/driver/Literals"

/**
 * What makes a session dirty: what a statement leaves in it that the next user of the connection must not find.
 *
 * 1. The command tag, which says what the server has done: SET, LISTEN, PREPARE, DECLARE, LOAD, DO, CALL, a temporary table.
 * 2. The text, for what the tag does not say: `select set_config(…)`, `create table pg_temp.…`.
 * 3. A setting that the server reports when it changes, see `Reported`.
 *
 * What a function of the database does is seen by none of them: `resetOnRelease: "always"` is for programs that call such ones.
 */

/** Makes an object that lives as long as the session. */
const temporary = /\b(?:temp|temporary)\b|\bpg_temp/i

/**
 * Functions that change the session. `DISCARD ALL` undoes all of them but dblink's, see `outlivesReset`. The name alone counts, also
 * in a literal, which may be executed: what stands between a name and its parenthesis has many forms.
 */
const calls =
  /\b(?:set_config|pg_(?:try_)?advisory_lock(?:_shared)?|dblink_connect(?:_u)?|lo_(?:open|creat|create|import)|setseed)\b/gi

/** An identifier in which every letter may be written by its number. */
const encoded = /\bu&"/i

/** Settings of the transaction alone: `set_config(name, value, true)`. */
const localSettings = /\bset_config\s*\((?:[^()]|\([^()]*\))*,\s*true\s*\)/gi

const countOf = (sql: string): number => sql.match(calls)?.length ?? 0

/** Every call changes a setting of the transaction alone. In doubt it is not so. */
const isLocal = (sql: string, count: number): boolean => {
  const bare = without("postgresql", sql)
  return countOf(bare) === count && countOf(bare.replace(localSettings, "")) === 0
}

/**
 * Whether a statement of this text may leave something in the session although its command tag does not say so, or although it
 * fails: a lock of the session outlives the failure of its statement.
 */
export const isSeenInText = (sql: string): boolean => {
  if (temporary.test(sql) || encoded.test(sql)) return true
  const count = countOf(sql)
  return count > 0 && !isLocal(sql, count)
}

/** A connection that dblink has opened to another database stays open, whatever is done to the session. */
export const outlivesReset = (sql: string): boolean => /\bdblink_connect(?:_u)?\b/i.test(sql)

/** Settings that end with the transaction leave nothing behind. Only when the text is that one statement. */
const local = /^\s*set\s+(?:local|transaction)\b[^;]*;?\s*$/i

/** Whether a statement with this command tag and this text leaves something in the session. */
export const isSeenInTag = (tag: string, sql: string): boolean => {
  switch (tag.charCodeAt(0)) {
    case 67: // C
      return tag === "CALL"
    case 68: // D
      return tag === "DO" || tag.startsWith("DECLARE")
    case 76: // L
      return tag === "LISTEN" || tag === "LOAD"
    case 80: // P
      return tag === "PREPARE"
    case 83: // S
      return tag === "SET" && !local.test(sql)
    default:
      return false
  }
}

/** Whether a statement with this command tag may take away what the program has given the session at its beginning. */
export const takesAway = (tag: string): boolean => /^(?:RESET|DISCARD|DEALLOCATE|UNLISTEN|CLOSE)\b/.test(tag)
