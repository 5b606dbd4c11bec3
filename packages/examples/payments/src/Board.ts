/**
 * What the demo shows while it runs. In a terminal it is redrawn four times a second; elsewhere it is a line a second.
 */
import type { SqlStats } from "@sluice/sql/Sql"
import { Clock, Effect, Schedule, type Scope } from "effect"
import { ms } from "./Claims.js"
import * as Meter from "./Meter.js"

export interface Board {
  /** Ends the phase that runs and begins the one of this name. */
  readonly begin: (phase: string) => Effect.Effect<void>
  /** Ends the phase that runs. */
  readonly end: Effect.Effect<void>
  /** Shows a text beside the phase that runs, in place of the text before. */
  readonly note: (text: string) => Effect.Effect<void>
  /** Shows these pools from now on. */
  readonly watch: (stats: Effect.Effect<SqlStats>) => Effect.Effect<void>
}

interface Phase {
  readonly name: string
  note: string
  state: "to come" | "running" | "done" | "failed"
}

export interface Terminal {
  /** Whether the board can be redrawn. */
  readonly redraws: boolean
  readonly colors: boolean
  readonly columns: number
}

export const terminal: Effect.Effect<Terminal> = Effect.sync(() => {
  const redraws = process.stdout.isTTY === true && process.env["TERM"] !== "dumb"
  return {
    redraws,
    colors: redraws && (process.env["NO_COLOR"] ?? "") === "",
    columns: process.stdout.columns ?? 160
  }
})

export const paint = (terminal: Terminal, color: "green" | "red" | "yellow" | "dim" | "bold", text: string): string =>
  terminal.colors ? `\u001b[${{ bold: 1, dim: 2, red: 31, green: 32, yellow: 33 }[color]}m${text}\u001b[0m` : text

export const print = (text: string) => Effect.sync(() => void process.stdout.write(text))

/** Draws until the scope closes. A phase that still runs at that moment is marked as failed. */
export const make = (names: ReadonlyArray<string>, meter: Meter.Meter): Effect.Effect<Board, never, Scope.Scope> =>
  Effect.gen(function* () {
    const screen = yield* terminal
    const startedAt = yield* Clock.currentTimeMillis
    const phases = names.map((name): Phase => ({ name, note: "", state: "to come" }))
    const running = () => phases.find(({ state }) => state === "running")
    let pools: Effect.Effect<SqlStats | undefined> = Effect.succeed(undefined)
    let drawn = 0

    const sample = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      return {
        pools: yield* pools,
        seconds: Math.floor((now - startedAt) / 1_000),
        lately: Meter.between(meter.answers, now - 1_000).length,
        wait: Meter.p99(Meter.between(meter.waits, now - 1_000).filter(({ background }) => !background)),
        failed: meter.answers.filter(({ failure }) => failure !== undefined)
      }
    })

    const draw = Effect.gen(function* () {
      const { failed, lately, pools, seconds, wait } = yield* sample
      const marks = {
        "to come": paint(screen, "dim", "·"),
        running: paint(screen, "yellow", "▸"),
        done: paint(screen, "green", "✓"),
        failed: paint(screen, "red", "✗")
      }
      const lines = [
        "",
        ...phases.map(({ name, note, state }) =>
          state === "to come"
            ? `  ${marks[state]} ${paint(screen, "dim", name)}`
            : `  ${marks[state]} ${name.padEnd(24)}${note}`
        ),
        "",
        paint(screen, "dim", `  ${"pool".padEnd(12)}      size  available  using  waiting`),
        ...(pools === undefined ? [] : [pools.write, ...pools.read]).map(
          (pool, n) =>
            `  ${(n === 0 ? "primary" : `replica ${n}`).padEnd(12)}${[
              pool.size,
              pool.available,
              pool.using,
              pool.waiting
            ]
              .map((value, column) => String(value).padStart([10, 11, 7, 9][column]!))
              .join("")}  ${"█".repeat(pool.using)}${"░".repeat(Math.max(0, pool.max - pool.using))}`
        ),
        "",
        `  ${String(lately).padStart(5)} requests/s   p99 wait ${ms(wait)}   served ${meter.answers.length - failed.length}   failed ${failed.length}   ${seconds} s`,
        ""
      ]
      // Goes up to the first line of the board and writes each line anew. Wrapping is off, because a line that wrapped
      // would take two lines of the terminal.
      const up = drawn === 0 ? "\u001b[?25l" : `\u001b[${drawn}A\r`
      drawn = lines.length
      yield* print(`${up}\u001b[?7l${lines.map((line) => `${line}\u001b[K\n`).join("")}\u001b[?7h\u001b[J`)
    })

    const line = Effect.gen(function* () {
      const { failed, lately, pools, seconds, wait } = yield* sample
      const show = (name: string, pool: SqlStats["write"]) =>
        ` | ${name} size ${pool.size} available ${pool.available} using ${pool.using} waiting ${pool.waiting}`
      yield* print(
        `${String(seconds).padStart(3)} s  ${(running()?.name ?? "").padEnd(12)} ${lately} req/s p99 wait ${ms(wait)}${
          pools === undefined
            ? ""
            : show("primary", pools.write) + pools.read.map((pool) => show("replica", pool)).join("")
        } | failed ${failed.length}\n`
      )
    })

    const settle = (state: "done" | "failed") =>
      Effect.suspend(() => {
        const phase = running()
        if (phase === undefined) return Effect.void
        phase.state = state
        return screen.redraws ? draw : print(`${state === "done" ? "✓" : "✗"} ${phase.name}: ${phase.note}\n`)
      })

    yield* Effect.addFinalizer(() =>
      settle("failed").pipe(Effect.zipRight(screen.redraws ? print("\u001b[?25h") : Effect.void))
    )
    yield* screen.redraws
      ? draw.pipe(Effect.repeat(Schedule.spaced("250 millis")), Effect.forkScoped)
      : line.pipe(Effect.schedule(Schedule.spaced("1 second")), Effect.forkScoped)

    return {
      begin: (name) =>
        settle("done").pipe(
          Effect.zipRight(
            Effect.sync(() => {
              const phase = phases.find((phase) => phase.name === name)
              if (phase !== undefined) phase.state = "running"
            })
          )
        ),
      end: settle("done"),
      note: (text) =>
        Effect.sync(() => {
          const phase = running()
          if (phase !== undefined) phase.note = text
        }),
      watch: (stats) =>
        Effect.sync(() => {
          pools = stats
        })
    }
  })
