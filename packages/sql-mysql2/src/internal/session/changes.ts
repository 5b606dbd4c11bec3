/**
 * What makes a session dirty: what a statement leaves in it that the next user of the connection must not find.
 *
 * 1. What the server reports with its answer: a variable, a temporary table, PREPARE, USE. `MysqlConnection.changed` hears it. With an
 *    error it reports nothing, so what fails counts by its text.
 * 2. The text, for what no server reports.
 * 3. The text, for all of it, where the server reports nothing (before MySQL 5.7 and MariaDB 10.3, some proxies).
 * 4. A session without autocommit, which every answer shows.
 * 5. A transaction that could not begin, because its isolation level may be set already.
 *
 * What a function or procedure of the database locks by name is seen by none of them: `resetOnRelease: "always"` is for programs
 * that call such ones.
 */

import { Unsendable } from "@sluice/sql/driver/Unsendable"

/** The name of a function alone counts, also in a literal, which may be executed: what follows a name has many forms. */
const unreported =
  /^\s*(?:lock\s+tables?|handler|flush\s+tables|set\s+(?:session\s+|local\s+)?transaction)\b|\bget_lock\b|\binto\s*@|:=/i

const reported =
  /^\s*(?:\/\*[\s\S]*?\*\/\s*)*(?:set|use|prepare|deallocate|call|do|execute|begin\s+not|create\s+(?:or\s+replace\s+)?temporary)\b|;\s*\S/i

const reading = /^[\s(]*(?:select|with|values|table)\b/i

/** What a statement of a text may leave in the session. */
export interface Changes {
  /** What the server does not report (2). */
  readonly unreported: boolean
  /** What a server that reports says itself, unless the statement fails (3). */
  readonly reported: boolean
  /**
   * It changes the session only by a function. With its rows the server sends no more than one flag, which for other statements
   * means their position in the log.
   */
  readonly reading: boolean
}

export const read = (sql: string): Changes => ({
  unreported: unreported.test(sql),
  reported: reported.test(sql),
  reading: reading.test(sql)
})

/** A SET that may choose how the texts of a client are read. What is sent back says itself in which character set it is. */
const choosing = /(?:^|;|\*\/)\s*set\b/i

const chosen =
  /(?<![\w@.`])(?:(?:names|character\s+set|charset)\s+|(?:@@(?:session\.|local\.)?|(?:session|local)\s+)?character_set_(?:client|connection)\s*:?=\s*)['"]?([@\w]+)/gi

/** The character sets that a text chooses for its session, in small letters. */
export const charsets = (sql: string): ReadonlyArray<string> =>
  choosing.test(sql) ? Array.from(sql.matchAll(chosen), ([, name]) => name!.toLowerCase()) : none

/** The client would go on writing texts in the character set of its configuration, and the server would misread them. */
export const foreignCharset = (charsets: ReadonlyArray<string>, names: string): Unsendable | undefined => {
  const [, own] = names.split(" ")
  return charsets.every((charset) => charset === own)
    ? undefined
    : new Unsendable(
        `it chooses a character set for its session, and this client writes ${own}: choose it for the Layer (charset in the url or in the option mysql2), or convert in the statement`
      )
}

const none: ReadonlyArray<string> = []
