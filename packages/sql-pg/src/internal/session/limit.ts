/**
 * How long the server lets a statement of a session run.
 *
 * A statement that has run into `statement_timeout` and one that somebody has cancelled end with the same code (57014), and only a
 * sentence in the language of the server tells them apart. So what counts is what is known: the limit, and how long it took.
 *
 * 1. The option `statementTimeout`, or what role and database say, which the server is asked for on the first connection of a pool.
 * 2. What a text has set since: SET, SET LOCAL until the end of the transaction, and `set_config` with literals.
 *
 * A limit that a function of the database sets, or a parameter of a statement, is not known. Then such an error is `Cancelled`.
 */

/** A text that may change the limit. */
export const isSetIn = (sql: string): boolean =>
  /\bstatement_timeout\b/i.test(sql) && /\b(?:set|set_config|reset)\b/i.test(sql)

const units: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 }

/** The milliseconds of a value of the setting, 0 for none. `undefined`: the value of the beginning, or one that is not known. */
export const millisOf = (value: string): number | undefined => {
  const found = /^\s*(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)?\s*$/.exec(value)
  return found === null ? undefined : Number(found[1]) * units[found[2] ?? "ms"]!
}

const set =
  /\bset\s+(?:(local|session)\s+)?statement_timeout\s*(?:=|\bto\b)\s*(?:'([^']*)'|(\d[\w.]*)|default)|\bset_config\s*\(\s*'statement_timeout'\s*,\s*'([^']*)'\s*,\s*(true|false)/gi

export class Limit {
  /** `undefined`: that of the beginning. */
  private session: number | undefined
  private transaction: number | undefined

  /** A statement of this text has succeeded. */
  read(sql: string): void {
    for (const [, kind, quoted, plain, configured, isLocal] of sql.matchAll(set)) {
      const millis = millisOf(quoted ?? plain ?? configured ?? "")
      if (kind?.toLowerCase() !== "local" && isLocal?.toLowerCase() !== "true") {
        this.session = millis
        this.transaction = undefined
      } else this.transaction = millis
    }
    if (/\breset\s+(?:all|statement_timeout)\b/i.test(sql)) this.renew()
  }

  /** No transaction is open. */
  transactionEnded(): void {
    this.transaction = undefined
  }

  /** The session is as new. */
  renew(): void {
    this.session = undefined
    this.transaction = undefined
  }

  /** Whether a statement that took so many milliseconds has reached the limit. `beginning`: the limit of a new session. */
  isReached(took: number, beginning: number): boolean {
    const limit = this.transaction ?? this.session ?? beginning
    // The timer of the server and ours are rounded.
    return limit > 0 && took >= limit - 1
  }
}
