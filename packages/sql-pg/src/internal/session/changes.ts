/**
 * What makes a session dirty: what a statement leaves in it that the next user of the connection must not find.
 *
 * 1. The command tag, which says what the server has done: SET, LISTEN, PREPARE, DECLARE, LOAD, DO, CALL, a temporary table.
 * 2. The text, for what the tag does not say: `select set_config(…)`, `create table pg_temp.…`.
 * 3. A setting of `Reported`, which the server reports when it changes.
 *
 * What a function of the database does is seen by none of them: `resetOnRelease: "always"` is for programs that call such ones.
 */

/** Makes an object that lives as long as the session. */
const temporary = /\b(?:temp|temporary|pg_temp)\b/i

/** Calls that change the session. `DISCARD ALL` undoes all of them but the last one, see `outlivesReset`. */
const calls = /\bset_config\s*\(|\bpg_(?:try_)?advisory_lock(?:_shared)?\s*\(|\bdblink_connect(?:_u)?\s*\(/i

/** Settings of the transaction alone: `set_config(name, value, true)`. */
const localSettings = /\bset_config\s*\((?:[^()]|\([^()]*\))*,\s*true\s*\)/gi

/** Whether a statement of this text may leave something in the session although its command tag does not say so. */
export const isSeenInText = (sql: string): boolean =>
  temporary.test(sql) || (calls.test(sql) && calls.test(sql.replace(localSettings, "")))

/** A connection that dblink has opened to another database stays open, whatever is done to the session. */
export const outlivesReset = (sql: string): boolean => /\bdblink_connect(?:_u)?\s*\(/i.test(sql)

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
