/**
 * The operation of a statement: the first word of its text, `db.operation.name` of OpenTelemetry. It is the name of a series, so it
 * must be one of a few words, whatever the program sends.
 */
const words: ReadonlySet<string> = new Set(
  "ALTER ANALYZE BEGIN CALL CHECKPOINT CLOSE COMMENT COMMIT COPY CREATE DEALLOCATE DECLARE DELETE DESCRIBE DISCARD DO DROP EXECUTE EXPLAIN FETCH FLUSH GRANT INSERT KILL LISTEN LOAD LOCK MERGE MOVE NOTIFY OPTIMIZE PREPARE REFRESH REINDEX RELEASE RENAME REPLACE RESET REVOKE ROLLBACK SAVEPOINT SELECT SET SHOW START TABLE TRUNCATE UNLISTEN UNLOCK UPDATE USE VACUUM VALUES WITH".split(
    " "
  )
)

/** What a text is that begins with none of the words. */
const OTHER = "_OTHER"

/** What may stand in front of the first word. One at a time, because one expression for all of it could try for ever. */
const AHEAD = /\s+|--[^\n]*\n?|#[^\n]*\n?|\/\*[\s\S]*?\*\/|\(/y

const WORD = /[A-Za-z]+/y

/** Characters that are looked at. */
const LONGEST = 1_000

/** Texts that are remembered. */
const MOST = 1_000

const known = new Map<string, string>()

export const operationOf = (text: string): string => {
  const before = known.get(text)
  if (before !== undefined) return before
  const head = text.slice(0, LONGEST)
  WORD.lastIndex = 0
  AHEAD.lastIndex = 0
  // A failed match begins at 0 again, so the end of what stands ahead is noted before.
  while (AHEAD.test(head)) WORD.lastIndex = AHEAD.lastIndex
  const word = WORD.exec(head)?.[0].toUpperCase()
  const operation = word !== undefined && words.has(word) ? word : OTHER
  if (known.size >= MOST) known.clear()
  known.set(text, operation)
  return operation
}
