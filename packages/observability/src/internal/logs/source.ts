/** What is written of one `Sql`: that its retry budget is used up, and its slow statements. */
import type { Source, StatementEnd } from "@sluice/sql/Sources"
import { count, duration } from "../words.js"
import { Episode } from "./episode.js"
import type { Line } from "./line.js"

/** How long every retry must have been paid for. The budget of a busy program earns one in that time. */
const BUDGET_CALM = 10_000

/** Lines about slow statements in a minute. More would be the same again: a slow server makes all statements slow. */
const SLOW_LINES = 10

const MINUTE = 60_000

export class WatchedSource {
  private readonly budget = new Episode(BUDGET_CALM)
  private readonly stop: () => void
  /** Executions that were denied, at the last look and when the trouble began. */
  private denied: number
  private deniedBefore = 0
  private slow: Array<StatementEnd> = []
  private minuteEnds: number | undefined
  private written = 0
  private skipped = 0

  /** `slowMs`: from when on a statement is slow. `undefined`: no statement is looked at. */
  constructor(
    readonly source: Source,
    slowMs: number | undefined
  ) {
    this.denied = this.deniedNow()
    this.stop =
      slowMs === undefined
        ? () => {}
        : source.unsafeListen((end) => {
            if (end.ms < slowMs) return
            // Those of which nothing would be written are not kept.
            if (this.slow.length < SLOW_LINES) this.slow.push(end)
            else this.skipped++
          })
  }

  end(): void {
    this.stop()
  }

  private deniedNow(): number {
    return Object.values(this.source.totals().retries).reduce((sum, { denied }) => sum + denied, 0)
  }

  look(now: number): ReadonlyArray<Line> {
    return [...this.lookAtBudget(now), ...this.lookAtStatements(now)].map((line) => ({
      ...line,
      message: `database "${this.source.name}": ${line.message}`,
      about: { database: this.source.name, ...line.about }
    }))
  }

  private lookAtBudget(now: number): ReadonlyArray<Line> {
    const denied = this.deniedNow()
    const change = this.budget.look(denied > this.denied, now)
    if (change?._tag === "Begun") this.deniedBefore = this.denied
    this.denied = denied
    if (change === undefined) return []
    if (change._tag === "Begun") {
      const { retries } = this.source.totals()
      const reasons = Object.entries(retries).flatMap(([reason, { denied }]) => (denied > 0 ? [reason] : []))
      return [
        {
          level: "warning",
          message: `the retry budget is used up: more executions fail (${reasons.join(", ")}) than one for ten acquires, so callers get their errors at once. Find out why they fail`,
          about: { state: "retriesDenied" }
        }
      ]
    }
    return [
      {
        level: "info",
        message: `failed executions are repeated again, after ${duration(change.lastedMs)} in which ${count(denied - this.deniedBefore, "was", "were")} not`,
        about: { state: "retriesAllowed", seconds: Math.round(change.lastedMs / 1_000) }
      }
    ]
  }

  private lookAtStatements(now: number): ReadonlyArray<Line> {
    const ended = this.slow
    this.slow = []
    const lines: Array<Line> = []
    if (this.minuteEnds === undefined) this.minuteEnds = now + MINUTE
    if (now >= this.minuteEnds) {
      if (this.skipped > 0) {
        const others = count(this.skipped, "more statement was", "more statements were")
        lines.push({ level: "warning", message: `${others} slow in the last minute`, about: { slow: this.skipped } })
      }
      this.minuteEnds = now + MINUTE
      this.written = 0
      this.skipped = 0
    }
    for (const one of ended) {
      if (this.written < SLOW_LINES) lines.push(this.slowLine(one))
      else this.skipped++
      this.written++
    }
    return lines
  }

  private slowLine({ error, isInterrupted, ms, target, text }: StatementEnd): Line {
    const how = error !== undefined ? `, and failed with ${error}` : isInterrupted ? ", and was interrupted" : ""
    const where = target === undefined ? "" : ` on ${target.label}`
    return {
      level: "warning",
      message: `a statement took ${duration(ms)}${where}${how}: ${this.source.shown(text)}`,
      about: {
        ...(target === undefined ? {} : { pool: target.pool.name, endpoint: target.label, role: target.role }),
        ms: Math.round(ms)
      }
    }
  }
}
