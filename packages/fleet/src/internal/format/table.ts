/** Tables of text: numbers to the right, words to the left. */
type Cell = string | number

/** Columns are as wide as their widest cell. */
export const plain = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<Cell>>): ReadonlyArray<string> => {
  const all = [head, ...rows]
  const widths = head.map((_, i) => Math.max(...all.map((row) => String(row[i] ?? "").length)))
  const isNumeric = head.map((_, i) => rows.every((row) => typeof row[i] === "number"))
  const cell = (value: Cell | undefined, i: number) =>
    isNumeric[i] ? String(value ?? "").padStart(widths[i]!) : String(value ?? "").padEnd(widths[i]!)
  return all.map((row) => row.map(cell).join("  ").trimEnd())
}

/** What would end a cell or begin markup in a table of Markdown. */
const escaped = (value: Cell | undefined): string =>
  String(value ?? "")
    .replaceAll(/[\\|`*_<>[\]]/g, (character) => `\\${character}`)
    .replaceAll(/\s+/g, " ")

export const markdown = (
  head: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<Cell>>
): ReadonlyArray<string> => {
  const line = (cells: ReadonlyArray<Cell>) => `| ${cells.map(escaped).join(" | ")} |`
  const rule = head.map((_, i) => (rows.every((row) => typeof row[i] === "number") ? "--:" : "---"))
  return [line(head), `| ${rule.join(" | ")} |`, ...rows.map(line)]
}

/** A text in a paragraph of Markdown: no markup in it works. */
export const prose = (text: string): string => text.replaceAll(/[\\`*_<>[\]]/g, (character) => `\\${character}`)
