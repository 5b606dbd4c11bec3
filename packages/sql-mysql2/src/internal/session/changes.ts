/**
 * What makes a session dirty: what a statement leaves in it that the next user of the connection must not find.
 *
 * 1. What the server reports with its answer: a variable, a temporary table, PREPARE, USE. `MysqlConnection.changed` hears it.
 * 2. The text, for what no server reports.
 * 3. The text, for all of it, where the server reports nothing (before MySQL 5.7 and MariaDB 10.3, some proxies).
 * 4. A session without autocommit, which every answer shows.
 * 5. A transaction that could not begin, because its isolation level may be set already.
 *
 * What a function or procedure of the database locks by name is seen by none of them: `resetOnRelease: "always"` is for programs
 * that call such ones.
 */

const unreported =
  /^\s*(?:lock\s+tables?|handler|flush\s+tables|set\s+(?:session\s+|local\s+)?transaction)\b|\bget_lock\s*\(|@\w+\s*:=/i

const reported = /^\s*(?:set|use|prepare|deallocate|call|do|execute|create\s+(?:or\s+replace\s+)?temporary)\b|;\s*\S/i

/** What a statement of a text may leave in the session. */
export interface Changes {
  /** What the server does not report (2). */
  readonly unreported: boolean
  /** What a server that reports says itself (3). */
  readonly reported: boolean
}

export const read = (sql: string): Changes => ({ unreported: unreported.test(sql), reported: reported.test(sql) })
