/** Which lines of the sections a screen has room for. */
import type { PanelId } from "../../Panels.js"
import type { Section } from "./sections.js"
import { type Line, lineWidth, piece } from "./text.js"

/**
 * What a screen shows first when it is small: how many rows of a section it has before the next section gets any, and how many it has
 * before any section gets all.
 */
const importance: ReadonlyArray<readonly [id: PanelId, least: number, enough: number]> = [
  ["verdict", 4, 9],
  ["places", 1, 6],
  ["pods", 3, 12],
  ["waits", 1, 4],
  ["holders", 2, 6],
  ["endpoints", 0, 6],
  ["errors", 0, 2],
  ["server", 0, 2],
  ["saturation", 0, 2],
  ["closes", 0, 2],
  ["whatIf", 0, 3]
]

/** Says at the end of the head how many rows are left out, if there is room to say it. */
const headOf = ({ head, id, rows }: Section, shown: number, columns: number): Line => {
  const left = rows.length - shown
  const note = [piece(`   ${left} more`, "dim")]
  return left === 0 || id === "verdict" || lineWidth(head) + lineWidth(note) > columns ? head : [...head, ...note]
}

/** Every line of every section, with an empty line between two of them. */
export const everything = (sections: ReadonlyArray<Section>): ReadonlyArray<Line> =>
  sections.flatMap(({ head, rows }, i) => [...(i === 0 ? [] : [[]]), head, ...rows])

/**
 * At most `room` lines. Each section has its first line while there is room for that, the more important ones first; then they get
 * the rows that they need most; then enough of them; then all; then empty lines between the sections.
 */
export const fit = (sections: ReadonlyArray<Section>, room: number, columns: number): ReadonlyArray<Line> => {
  const byImportance = importance.flatMap(([id, least, enough]) => {
    const section = sections.find((one) => one.id === id)
    return section === undefined ? [] : [{ section, least, enough }]
  })
  const shown = new Map<PanelId, number>()
  let left = room
  for (const { section } of byImportance) {
    if (left === 0) break
    shown.set(section.id, 0)
    left--
  }
  const give = (section: Section, upTo: number): void => {
    const has = shown.get(section.id)
    if (has === undefined) return
    const more = Math.min(left, Math.max(0, Math.min(upTo, section.rows.length) - has))
    shown.set(section.id, has + more)
    left -= more
  }
  for (const { least, section } of byImportance) give(section, least)
  for (const { enough, section } of byImportance) give(section, enough)
  for (const { section } of byImportance) give(section, section.rows.length)
  const kept = sections.filter(({ id }) => shown.has(id))
  const isAiry = left >= kept.length - 1
  return kept.flatMap((section, i) => {
    const rows = shown.get(section.id)!
    return [...(isAiry && i > 0 ? [[]] : []), headOf(section, rows, columns), ...section.rows.slice(0, rows)]
  })
}
