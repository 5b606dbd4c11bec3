/** Lines of a terminal: pieces of text with a style each, measured in columns, and without anything that a terminal obeys. */
import stringWidth from "string-width"

/** What a piece of text stands for. How that looks is decided when it is drawn. */
export type Style = "plain" | "bold" | "dim" | "good" | "warning" | "critical" | "inverse"

export interface Piece {
  readonly text: string
  readonly style: Style
}

export type Line = ReadonlyArray<Piece>

export const piece = (text: string, style: Style = "plain"): Piece => ({ text, style })

/** Stands for a character that a terminal would obey instead of showing it. */
const HARMLESS = "�"

/**
 * A text from the network as a terminal may show it. Names of pods, pools, spans and statements come from other machines: a control
 * character in one of them could move the cursor, write to the clipboard, or send keys back; a format character could show the text
 * in another order than it has. White space of every kind becomes one space.
 */
export const clean = (text: string): string =>
  text.replace(/\s+/gu, " ").replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, HARMLESS)

/** Of ASCII and of what a screen draws itself every character takes one column. To measure others costs a hundred times as much. */
const isSimple = /^[ -~█▒░▲→↑↓…]*$/

/** Columns that a text takes. */
export const widthOf = (text: string): number => (isSimple.test(text) ? text.length : stringWidth(text))

const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" })

/** The beginning of a text that takes at most `columns`; `…` stands for the rest. */
export const clip = (text: string, columns: number): string => {
  if (widthOf(text) <= columns) return text
  if (columns <= 0) return ""
  if (isSimple.test(text)) return `${text.slice(0, columns - 1)}…`
  let kept = ""
  let width = 1
  for (const { segment } of graphemes.segment(text)) {
    width += widthOf(segment)
    if (width > columns) break
    kept += segment
  }
  return `${kept}…`
}

/** A name that takes at most `columns`. It is cut in the middle: what tells pods from one another stands at the end of their names. */
export const clipName = (text: string, columns: number): string => {
  if (widthOf(text) <= columns) return text
  const segments = [...graphemes.segment(text)].map(({ segment }) => segment)
  const beginning = clip(text, Math.max(1, Math.floor(columns / 3)))
  let end = ""
  let width = widthOf(beginning)
  for (const segment of segments.reverse()) {
    width += widthOf(segment)
    if (width > columns) break
    end = segment + end
  }
  return beginning + end
}

/** As `clip`, filled up with spaces. */
export const pad = (text: string, columns: number): string => {
  const clipped = clip(text, columns)
  return clipped + " ".repeat(Math.max(0, columns - widthOf(clipped)))
}

/** As `pad`, with the spaces in front. */
export const padStart = (text: string, columns: number): string => {
  const clipped = clip(text, columns)
  return " ".repeat(Math.max(0, columns - widthOf(clipped))) + clipped
}

export const lineWidth = (line: Line): number => line.reduce((sum, { text }) => sum + widthOf(text), 0)

/** The beginning of a line that takes at most `columns`. */
export const clipLine = (line: Line, columns: number): Line => {
  if (lineWidth(line) <= columns) return line
  const kept: Array<Piece> = []
  let left = columns
  for (const { style, text } of line) {
    const width = widthOf(text)
    // One column stays free for the `…`: something is left out, or the line would have fitted.
    if (width < left) {
      kept.push({ style, text })
      left -= width
    } else {
      kept.push({ style, text: clip(`${text} `, left) })
      break
    }
  }
  return kept
}

/** `left` and `right` on one line of `columns`. What is on the left gives way. */
export const between = (left: Line, right: Line, columns: number): Line => {
  const rest = columns - lineWidth(right) - 1
  if (rest < 8) return clipLine(left, columns)
  const kept = clipLine(left, rest)
  return [...kept, piece(" ".repeat(columns - lineWidth(kept) - lineWidth(right))), ...right]
}

/** The words of a text on as many lines as it takes. A word that is longer than a line is cut. */
export const wrap = (text: string, columns: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let line = ""
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`
    if (widthOf(longer) <= columns) line = longer
    else {
      if (line !== "") lines.push(line)
      line = clip(word, columns)
    }
  }
  return line === "" ? lines : [...lines, line]
}

/** Groups of pieces on as few lines as they fit on, with `gap` spaces between two groups of one line. */
export const flow = (groups: ReadonlyArray<Line>, columns: number, gap = 3): ReadonlyArray<Line> => {
  const lines: Array<Line> = []
  let line: Line = []
  for (const group of groups) {
    if (line.length === 0) line = group
    else if (lineWidth(line) + gap + lineWidth(group) <= columns) line = [...line, piece(" ".repeat(gap)), ...group]
    else {
      lines.push(line)
      line = group
    }
  }
  return line.length === 0 ? lines : [...lines, line]
}

/** A part of a bar. */
export interface Part {
  readonly size: number
  readonly char: string
  readonly style: Style
}

/**
 * A bar of `columns` for `whole`, the parts from the left to the right. Where each unit can have a column of its own it has one, and
 * the bar is as long as that. A part that is not 0 is seen, and nothing looks full that is not.
 */
export const bar = (parts: ReadonlyArray<Part>, whole: number, columns: number): Line => {
  const length = Math.max(0, Math.min(columns, Math.ceil(whole)))
  const pieces: Array<Piece> = []
  let drawn = 0
  let sum = 0
  const present = parts.filter(({ size }) => size > 0)
  for (const [i, { char, size, style }] of present.entries()) {
    sum += size
    const later = present.length - 1 - i
    const exact = whole <= 0 ? 0 : (Math.min(sum, whole) / whole) * length
    const end = sum >= whole ? length : Math.min(length - 1, Math.max(drawn + 1, Math.round(exact)))
    const to = Math.max(drawn, Math.min(end, length - later))
    if (to > drawn) pieces.push(piece(char.repeat(to - drawn), style))
    drawn = to
  }
  return pieces
}

const codes: Readonly<Record<Style, string>> = {
  plain: "",
  bold: "1",
  dim: "2",
  good: "32",
  warning: "33",
  critical: "1;31",
  inverse: "7"
}

/** A line as a terminal gets it. Spaces at its end are left out. */
export const render = (line: Line, colour: boolean): string => {
  if (!colour)
    return line
      .map(({ text }) => text)
      .join("")
      .trimEnd()
  return line
    .map(({ style, text }) =>
      codes[style] === "" || text.trim() === "" ? text : `\u001b[${codes[style]}m${text}\u001b[0m`
    )
    .join("")
    .trimEnd()
}
