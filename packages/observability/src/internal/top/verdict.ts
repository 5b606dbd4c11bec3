/** The verdict on a terminal: the sentence, then for each reason what helps, and its numbers. */
import type * as Verdict from "../../Verdict.js"
import type { Section } from "./sections.js"
import { clean, type Line, piece, type Style, widthOf, wrap } from "./text.js"

/** What a level looks like, with and without colours. */
const levels: Readonly<Record<Verdict.Level, readonly [word: string, style: Style]>> = {
  ok: ["OK", "good"],
  warning: ["WARNING", "warning"],
  critical: ["CRITICAL", "critical"]
}

const indented = (text: string, columns: number, style: Style, before = "  "): ReadonlyArray<Line> =>
  wrap(clean(text), columns - widthOf(before)).map((line, i) => [
    piece(i === 0 ? before : " ".repeat(widthOf(before))),
    piece(line, style)
  ])

export const verdict = ({ level, reasons, sentence }: Verdict.Verdict, columns: number): Section => {
  const [word, style] = levels[level]
  const lines = wrap(clean(`${word} ${sentence}`), columns)
  const [first = "", ...more] = lines
  const rows = reasons.flatMap(({ evidence, level, remedy, title, where }, i): ReadonlyArray<Line> => {
    const [word, style] = levels[level]
    // The first reason is the sentence.
    const name = i === 0 ? [] : indented(`${word} ${where === undefined ? "" : `${where}: `}${title}`, columns, style)
    return [...name, ...indented(remedy, columns, "plain", "  → "), ...indented(evidence, columns, "dim")]
  })
  return {
    id: "verdict",
    head: [piece(word, style), piece(first.slice(word.length), "bold")],
    rows: [...more.map((line): Line => [piece(line, "bold")]), ...rows]
  }
}
