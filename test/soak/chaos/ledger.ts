/** What the program was told about each of its writes, and what it must therefore find. */
import { SqlReason } from "@sluice/sql"
import { Cause, Exit } from "effect"

export interface Entry {
  readonly id: string
  /** Faults that had begun when it was begun. */
  readonly episode: number
  /** Not declared to be idempotent: it must not be there twice. */
  readonly isOnce: boolean
  state: "open" | "written" | "absent" | "unknown"
  /** Seconds from the beginning. */
  began: number
  ended: number
  told: string
}

/** What went wrong, how often, and the first time. */
export type Wrongs = Map<string, { times: number; readonly first: string }>

export class Ledger {
  readonly entries = new Map<string, Entry>()
  readonly wrongs: Wrongs = new Map()
  /** Failures that were expected, by reason. */
  readonly failures = new Map<string, number>()
  /** Odd from the beginning of a fault of the primary until work goes on as before; rises with each of the two. */
  primaryTroubles = 0
  episode = 0
  done = 0

  constructor(readonly seconds: () => number) {}

  open(id: string, isOnce: boolean): Entry {
    const began = this.seconds()
    const entry: Entry = { id, episode: this.episode, isOnce, state: "open", began, ended: 0, told: "" }
    this.entries.set(id, entry)
    return entry
  }

  settle(entry: Entry, exit: Exit.Exit<unknown, unknown>): void {
    entry.ended = this.seconds()
    if (Exit.isSuccess(exit)) {
      entry.state = "written"
      return
    }
    // Nobody is told what becomes of a write that is interrupted.
    if (Cause.isInterrupted(exit.cause)) {
      entry.state = "unknown"
      return
    }
    const error = Cause.squash(exit.cause)
    const { _tag, outcome } = SqlReason.of(error)
    entry.told = `${_tag}, ${outcome}: ${error}`
    entry.state = outcome === "executed" ? "written" : outcome === "unknown" ? "unknown" : "absent"
  }

  wrong(what: string, detail: string): void {
    const known = this.wrongs.get(what)
    if (known === undefined) this.wrongs.set(what, { times: 1, first: `${this.seconds().toFixed(1)} s: ${detail}` })
    else known.times++
  }

  /** What was told so far about the writes of these episodes. */
  told(from: number, to: number): ReadonlyArray<Entry> {
    return Array.from(this.entries.values()).filter(
      ({ episode, state }) => episode >= from && episode <= to && state !== "open"
    )
  }

  /** Compares what had been told before the rows were read with the rows: each id and how often it is there. */
  audit(told: ReadonlyArray<Entry>, rows: ReadonlyArray<{ readonly id: string; readonly n: unknown }>): void {
    const found = new Map(rows.map(({ id, n }) => [id, Number(n)]))
    for (const entry of told) {
      const n = found.get(entry.id) ?? 0
      const detail = `${entry.id}, from ${entry.began.toFixed(2)} to ${entry.ended.toFixed(2)} s, told ${
        entry.told || entry.state
      }, found ${n} times`
      if (entry.state === "written" && n === 0) this.wrong("acknowledged writes that are lost", detail)
      if (entry.state === "absent" && n > 0) this.wrong("writes that were told not to be there, and are", detail)
      if (entry.isOnce && n > 1) this.wrong("writes that were applied twice", detail)
    }
    for (const id of found.keys()) if (!this.entries.has(id)) this.wrong("rows that nobody has written", id)
  }
}
