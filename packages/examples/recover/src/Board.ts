/**
 * What the demo shows while it runs: both sides, a line for each. In a terminal it is redrawn four times a second; elsewhere
 * it is two lines a second.
 */
import { Clock, Effect, Schedule, type Scope } from "effect"
import * as Load from "./Load.js"
import type * as Side from "./Side.js"

export interface Terminal {
  /** Whether the board can be redrawn. */
  readonly redraws: boolean
  readonly colors: boolean
}

export const terminal: Effect.Effect<Terminal> = Effect.sync(() => {
  const redraws = process.stdout.isTTY === true && process.env["TERM"] !== "dumb"
  return { redraws, colors: redraws && (process.env["NO_COLOR"] ?? "") === "" }
})

export const paint = (terminal: Terminal, color: "green" | "red" | "dim" | "bold", text: string): string =>
  terminal.colors ? `\u001b[${{ bold: 1, dim: 2, red: 31, green: 32 }[color]}m${text}\u001b[0m` : text

export const print = (text: string) => Effect.sync(() => void process.stdout.write(text))

export interface Board {
  /** Shows what happens now. */
  readonly say: (text: string) => Effect.Effect<void>
}

/** One of the two sides on the board. */
export interface Shown {
  readonly side: Side.Side
  readonly load: Load.Load
}

const heading = `${"".padEnd(13)}served/s  failed   write: size available using waiting   read: size available using waiting`

const words = ({ available, size, using, waiting }: Side.Pool, first: number) =>
  [size, available, using, waiting].map((n, column) => String(n).padStart([first, 10, 6, 8][column]!)).join("")

const row = ({ load, side }: Shown) =>
  Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const { read, write } = yield* side.pools
    const lately = Load.between(load.answers, now - 1_000)
    const served = Load.served(lately, "read").length + Load.served(lately, "write").length
    const failed = Load.failed(load.answers).length
    return `${side.name.padEnd(13)}${String(served).padStart(8)}${String(failed).padStart(8)}${words(write, 14)}${words(read, 13)}`
  })

/** Draws until the scope closes. */
export const make = (title: string, shown: ReadonlyArray<Shown>): Effect.Effect<Board, never, Scope.Scope> =>
  Effect.gen(function* () {
    const screen = yield* terminal
    const startedAt = yield* Clock.currentTimeMillis
    let said = "under load"
    let drawn = 0

    const seconds = Effect.map(Clock.currentTimeMillis, (now) => `${Math.floor((now - startedAt) / 1_000)} s`)
    const draw = Effect.gen(function* () {
      const lines = [
        `  ${paint(screen, "bold", title)}: ${said}   ${yield* seconds}`,
        "",
        `  ${paint(screen, "dim", heading)}`,
        ...(yield* Effect.forEach(shown, row)).map((text) => `  ${text}`),
        ""
      ]
      // Goes up to the first line of the board and writes each line anew. Wrapping is off, because a line that wrapped
      // would take two lines of the terminal.
      const up = drawn === 0 ? "\u001b[?25l" : `\u001b[${drawn}A\r`
      drawn = lines.length
      yield* print(`${up}\u001b[?7l${lines.map((line) => `${line}\u001b[K\n`).join("")}\u001b[?7h\u001b[J`)
    })
    const line = Effect.gen(function* () {
      const passed = (yield* seconds).padStart(5)
      for (const text of yield* Effect.forEach(shown, row)) yield* print(`${passed}  ${text}\n`)
    })

    yield* print(screen.redraws ? "\n" : `\n${title}\n${"".padEnd(7)}${heading}\n`)
    if (screen.redraws) yield* Effect.addFinalizer(() => Effect.zipRight(draw, print("\u001b[?25h")))
    yield* screen.redraws
      ? draw.pipe(Effect.repeat(Schedule.spaced("250 millis")), Effect.forkScoped)
      : line.pipe(Effect.schedule(Schedule.spaced("1 second")), Effect.forkScoped)
    return {
      say: (text) =>
        Effect.suspend(() => {
          said = text
          return screen.redraws ? Effect.void : Effect.flatMap(seconds, (at) => print(`${at.padStart(5)}  ${text}\n`))
        })
    }
  })
