/** The terminal while a live board is on it. */
import { Effect, type Scope } from "effect"

const ESC = "\u001b["

/** The other screen, so that what was on the terminal comes back; no cursor. */
const ENTER = `${ESC}?1049h${ESC}?25l${ESC}2J`

const LEAVE = `${ESC}0m${ESC}?25h${ESC}?1049l`

export interface Screen {
  /** Shows the lines, the first one at the top. Writes only those that are not there yet. */
  readonly show: (lines: ReadonlyArray<string>) => void
  /** Everything is written again by the next `show`, because the terminal has another size. */
  readonly forget: () => void
}

/**
 * Takes the terminal until the scope closes. It is given back however the process ends, unless it is killed: also by an error that
 * nobody has foreseen.
 */
export const take = (out: NodeJS.WriteStream): Effect.Effect<Screen, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        let isTaken = true
        // Writing to a terminal is done when `write` returns, so this works at the very end of the process, too.
        const leave = () => {
          if (isTaken) out.write(LEAVE)
          isTaken = false
        }
        process.once("exit", leave)
        out.write(ENTER)
        return leave
      }),
      (leave) =>
        Effect.sync(() => {
          leave()
          process.off("exit", leave)
        })
    ),
    () => {
      let shown: ReadonlyArray<string> = []
      let isNew = false
      return {
        show: (lines) => {
          const changes: Array<string> = isNew ? [`${ESC}2J`] : []
          const before = isNew ? [] : shown
          for (let row = 0; row < Math.max(lines.length, before.length); row++) {
            const line = lines[row] ?? ""
            // Erased before it is written: after a line that fills the last column the erasing would take that column.
            if (line !== (before[row] ?? "")) changes.push(`${ESC}${row + 1};1H${ESC}K${line}`)
          }
          if (changes.length > 0) out.write(changes.join(""))
          shown = lines
          isNew = false
        },
        forget: () => {
          isNew = true
        }
      }
    }
  )
