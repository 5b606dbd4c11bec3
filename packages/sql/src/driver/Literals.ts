/**
 * Texts of SQL, and messages of servers about them, without the literals, values and comments that may be secrets.
 *
 * Whatever this library prints of a statement passes through here. The reader of a text knows the words of the language that
 * decide where a literal begins and ends, and no settings of the session. Where a setting decides that, and where a literal has
 * no end, the rest of the text is left out.
 *
 * @since 0.2.0
 */

/**
 * Whose SQL it is. `mysql` stands for MariaDB too.
 *
 * @since 0.2.0
 * @category models
 */
export type Dialect = "postgresql" | "mysql"

/** Stands for what was left out. */
const REST = "…"

/** Stands for a literal. */
const LITERAL = "?"

const space = /[ \t\n\r\f\v]+/y
const words = {
  postgresql: /[A-Za-z_\x80-\uffff][\w$\x80-\uffff]*/y,
  // An identifier may begin with a digit. `numbers` is tried first, so such a name is left out like a number.
  mysql: /[\w$\x80-\uffff]+/y
}
const numbers = {
  postgresql: /\.?\d(?:[eE][+-]?\d|[\w.\x80-\uffff])*/y,
  mysql: /\.?\d(?:[eE][+-]?\d|[\w.$\x80-\uffff])*/y
}
const parameter = /\$\d+/y
const dollars = /\$(?:[A-Za-z_\x80-\uffff][\w\x80-\uffff]*)?\$/y
const lines = {
  postgresql: /--[^\n\r]*/y,
  // Two dashes are a comment only before a space, a control character or the end. Otherwise they are two minus signs.
  mysql: /(?:#|--(?=[\0-\x20\x7f]|$))[^\n]*/y
}
/** What stands directly before a quote and belongs to the literal. */
const introducers = {
  postgresql: /^[bexn]$/i,
  mysql: /^(?:[bxn]|_\w+)$/i
}

const matchAt = (pattern: RegExp, text: string, at: number): string | undefined => {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0]
}

/**
 * The end of what begins before `from` and ends with `quote`; -1 if it cannot be told. A quote that is written twice is no end.
 *
 * - `always`: a backslash escapes the character after it.
 * - `never`: it does not.
 * - `perhaps`: a setting of the session decides, so a backslash before a quote leaves the end unknown.
 */
const endOfQuoted = (
  text: string,
  from: number,
  quote: string,
  backslashEscapes: "always" | "never" | "perhaps"
): number => {
  for (let at = from; at < text.length; at++) {
    const char = text[at]
    if (char === quote) {
      if (text[at + 1] !== quote) return at + 1
      at++
    } else if (char === "\\" && backslashEscapes !== "never") {
      at++
      if (backslashEscapes === "perhaps" && text[at] === quote) return -1
    }
  }
  return -1
}

/** The end of a comment that begins at `at`; -1 if it cannot be told. */
const endOfComment = {
  postgresql: (text: string, at: number): number => {
    let depth = 0
    for (let i = at; i < text.length; i++) {
      if (text.startsWith("/*", i)) {
        depth++
        i++
      } else if (text.startsWith("*/", i)) {
        depth--
        i++
        if (depth === 0) return i + 1
      }
    }
    return -1
  },
  mysql: (text: string, at: number): number => {
    const end = text.indexOf("*/", at + 2)
    if (end < 0) return -1
    // The server executes such a comment or skips it, depending on its version, and then its end may be another one.
    const isCode = /^\/\*M?!/.test(text.slice(at, at + 4))
    return isCode && /['"`#]|--|\/\*/.test(text.slice(at + 2, end)) ? -1 : end + 2
  }
}

/** Follows the statements of a text, to find the values that are written as bare words: `set a = b`, `listen a`. */
class Bare {
  private verb: string | undefined = undefined
  private sets = false
  /** What comes now is a value, up to the end of the statement. */
  isValue = false

  ended(): void {
    this.verb = undefined
    this.sets = false
    this.isValue = false
  }

  /** After a word or a sign was written. */
  wrote(token: string): void {
    const word = token.toLowerCase()
    this.verb ??= word
    if (word === "set") this.sets = this.verb === "set" || this.verb === "alter"
    else if (word === "to" || word === "=") this.isValue ||= this.sets
    else if (word === this.verb && /^(?:un)?listen$|^notify$/.test(word)) this.isValue = true
  }
}

/** Reads a text. `onLiteral` is called with each literal as it stands in the text, and with a rest that cannot be read. */
const scan = (dialect: Dialect, sql: string, longest: number, onLiteral?: (literal: string) => void): string => {
  const isPg = dialect === "postgresql"
  const bare = new Bare()
  let out = ""
  let at = 0
  const gap = (to: number): void => {
    at = to
    if (out !== "" && !out.endsWith(" ") && !(bare.isValue && out.endsWith(LITERAL))) out += " "
  }
  const literal = (to: number): void => {
    onLiteral?.(sql.slice(at, to))
    at = to
    if (!bare.isValue) out += LITERAL
    else if (!out.endsWith(LITERAL)) out += LITERAL
  }
  /** To be used where `to` may be -1. */
  const literalTo = (to: number): boolean => {
    if (to < 0) return false
    literal(to)
    return true
  }
  const keep = (to: number): void => {
    if (bare.isValue) literal(to)
    else {
      out += sql.slice(at, to)
      at = to
    }
  }
  /** Reads what stands at `at`. Gives `false` where that cannot be told. */
  const step = (): boolean => {
    const char = sql[at]!
    const gapped = matchAt(space, sql, at) ?? matchAt(lines[dialect], sql, at)
    if (gapped !== undefined) {
      gap(at + gapped.length)
      return true
    }
    if (sql.startsWith("/*", at)) {
      const end = endOfComment[dialect](sql, at)
      if (end >= 0) gap(end)
      return end >= 0
    }
    switch (char) {
      case "\0":
        // PostgreSQL ends the text here.
        return false
      case "'":
        return literalTo(endOfQuoted(sql, at + 1, "'", "perhaps"))
      case '"': {
        // In the mode ANSI_QUOTES of MySQL it is an identifier.
        if (!isPg) return literalTo(endOfQuoted(sql, at + 1, '"', "perhaps"))
        const end = endOfQuoted(sql, at + 1, '"', "never")
        if (end >= 0) keep(end)
        return end >= 0
      }
      case "`": {
        if (isPg) break
        const end = endOfQuoted(sql, at + 1, "`", "never")
        if (end >= 0) keep(end)
        return end >= 0
      }
      case "$": {
        // Since version 9 MySQL has such literals too, where others see a name.
        if (!isPg) return matchAt(dollars, sql, at) === undefined && keepWord()
        const numbered = matchAt(parameter, sql, at)
        if (numbered !== undefined) {
          keep(at + numbered.length)
          return true
        }
        const tag = matchAt(dollars, sql, at)
        if (tag === undefined) break
        const end = sql.indexOf(tag, at + tag.length)
        return literalTo(end < 0 ? -1 : end + tag.length)
      }
    }
    const number = matchAt(numbers[dialect], sql, at)
    if (number !== undefined) {
      literal(at + number.length)
      return true
    }
    return keepWord()
  }
  /** Keeps a word, or one sign. A word may begin a literal. */
  const keepWord = (): boolean => {
    const char = sql[at]!
    const word = matchAt(words[dialect], sql, at)
    if (word === undefined) {
      if (char === ";") bare.ended()
      keep(at + 1)
      if (char !== ";") bare.wrote(char)
      return true
    }
    const after = at + word.length
    const quote = sql[after]
    if (isPg && /^u$/i.test(word) && sql.startsWith("&'", after)) {
      return literalTo(endOfQuoted(sql, after + 2, "'", "perhaps"))
    }
    if ((quote === "'" || (quote === '"' && !isPg)) && introducers[dialect].test(word)) {
      return literalTo(endOfQuoted(sql, after + 1, quote, isPg && /^e$/i.test(word) ? "always" : "perhaps"))
    }
    keep(after)
    bare.wrote(word)
    return true
  }
  while (at < sql.length && out.length <= longest) {
    if (step()) continue
    onLiteral?.(sql.slice(at))
    out += REST
    break
  }
  const trimmed = out.trimEnd()
  return trimmed.length > longest ? `${trimmed.slice(0, longest - 1)}${REST}` : trimmed
}

/**
 * A text without its literals and comments, each run of white space as one space. `?` stands for a literal.
 *
 * - Left out: strings in every form, numbers, bit and hexadecimal strings with their introducers, comments of every kind, and
 *   the values of `set …`, `alter … set …`, `listen`, `unlisten` and `notify`, which may be bare words. In the dialect `mysql` also what stands
 *   in double quotes. Kept: words, quoted identifiers, signs, and the places of parameters.
 * - `…` stands for the end of a text that is longer than `longest` characters, and for a rest that cannot be read: a literal or
 *   comment without an end, or one whose end depends on a setting of the session (a backslash before a quote).
 *
 * @since 0.2.0
 * @category conversions
 */
export const without = (dialect: Dialect, sql: string, longest: number = Number.POSITIVE_INFINITY): string =>
  scan(dialect, sql, longest)

/**
 * The statement that a message is about, as far as it is known.
 *
 * @since 0.2.0
 * @category models
 */
export interface About {
  readonly dialect: Dialect
  readonly sql: string
  readonly params: ReadonlyArray<unknown>
  /** Names that a message may show although they are not in the text, such as the constraint that was violated. */
  readonly names: ReadonlyArray<unknown>
}

/** Characters of a text that are searched for what a message repeats. What stands behind them is not known to be harmless. */
const SEARCHED = 16_384

/** Literals inside of literals are searched up to this depth. */
const DEEPEST = 3

/** Values of fewer characters would be found in ordinary words. */
const SHORTEST = 4

/** The content of a literal as the server would quote it. */
const contentOf = (literal: string): string => {
  const quoted = /^(?:[a-z]|_\w+|u&)?(['"])([\s\S]*?)\1?$/i.exec(literal) ?? /^(\$\w*\$)([\s\S]*?)\1?$/.exec(literal)
  return quoted === null ? literal : quoted[2]!.replaceAll("''", "'")
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")

/** Words of a text, in lower case. */
const wordsOf = (text: string): ReadonlyArray<string> => text.toLowerCase().match(/[\w$\x80-\uffff]+/g) ?? []

/** What stands in quotes, of the languages that servers write their messages in. An apostrophe inside of a word is no quote. */
const quotes = /"[^"]*"|«[^»]*»|[„“][^“”]*[“”]|(?<!\w)'(?:[^']|'(?=\w))*'(?!\w)/g

/**
 * A message of a server without the values that it quotes. What is quoted stays if all of its words are known: from the text
 * without its literals, or from `names`. Parameters and literals that the message repeats without quotes are left out too.
 *
 * @since 0.2.0
 * @category conversions
 */
export const withoutValues = (message: string, { dialect, names, params, sql }: About): string => {
  const values = new Set<string>()
  const collect = (literal: string, depth: number): void => {
    const content = contentOf(literal)
    values.add(content)
    // It is code, such as the body of a DO, and has literals too.
    if (depth < DEEPEST && /['"$]/.test(content)) scan(dialect, content, SEARCHED, (inner) => collect(inner, depth + 1))
  }
  const text = scan(dialect, sql.slice(0, SEARCHED), SEARCHED, (literal) => collect(literal, 0))
  const known = new Set(wordsOf(text))
  for (const name of names) if (typeof name === "string") for (const word of wordsOf(name)) known.add(word)
  for (const value of params) {
    if (typeof value === "string" || typeof value === "number" || typeof value === "bigint") values.add(String(value))
  }
  let rest = message
  for (const value of values) {
    if (value.length < SHORTEST || value.length > message.length || !message.includes(value)) continue
    rest = rest.replace(new RegExp(`(?<!\\w)${escaped(value)}(?!\\w)`, "g"), REST)
  }
  return rest.replace(quotes, (quoted) => {
    const inside = wordsOf(quoted.slice(1, -1))
    const isKnown = inside.length === 0 ? quoted.length <= SHORTEST : inside.every((word) => known.has(word))
    return isKnown || quoted.slice(1, -1) === REST ? quoted : `${quoted[0]}${REST}${quoted[quoted.length - 1]}`
  })
}

/** Fields of the errors of `pg` and `mysql2` that have values or the text in them. */
const TELLING = ["detail", "hint", "where", "internalQuery", "sql", "sqlMessage"]

/**
 * Makes the error of a server safe to be printed. It stays the same error: every field can be read by its name, as before.
 *
 * - `message` becomes the given one, without values. The message of the server can be read from `originalMessage`.
 * - Fields that have values in them (`detail`, `where`, `sqlMessage` and so on) are no longer enumerable, so that nothing that
 *   prints or copies a whole error shows them.
 *
 * @since 0.2.0
 * @category utils
 */
export const conceal = (error: unknown, message: string): void => {
  if (!(error instanceof Error) || Object.hasOwn(error, "originalMessage")) return
  const original = error.message
  const define = (name: string, value: unknown) =>
    Object.defineProperty(error, name, { value, enumerable: false, writable: true, configurable: true })
  for (const name of TELLING) if (Object.hasOwn(error, name)) define(name, (error as any)[name])
  define("originalMessage", original)
  if (message === original) return
  const { stack } = error
  define("message", message)
  if (stack !== undefined)
    define(
      "stack",
      stack.replace(original, () => message)
    )
}
