/** What one `Sql` has done in the last minute. */
import type { Source, Totals } from "@sluice/sql/Sources"
import type { Database } from "../../Report.js"
import { PART } from "./window.js"

const MINUTE = 60_000

interface Counts {
  readonly at: number
  readonly retries: { readonly total: number; readonly denied: number }
  readonly errors: Readonly<Record<string, number>>
}

const countsOf = (at: number, { errors, retries }: Totals): Counts => {
  let total = 0
  let denied = 0
  for (const outcomes of Object.values(retries)) {
    total += outcomes.succeeded + outcomes.failed
    denied += outcomes.denied
  }
  return { at, retries: { total, denied }, errors: { ...errors } as Record<string, number> }
}

export class SourceRecord {
  /** The oldest one is a minute old, or the first one. */
  private readonly before: Array<Counts>

  constructor(
    readonly source: Source,
    now: number
  ) {
    this.before = [countsOf(now, source.totals())]
  }

  look(now: number): void {
    if (now - this.before.at(-1)!.at < PART) return
    this.before.push(countsOf(now, this.source.totals()))
    while (this.before.length > 1 && this.before[1]!.at <= now - MINUTE) this.before.shift()
  }

  counts(now: number): Pick<Database, "retries" | "errors" | "lastMinute"> {
    const { errors, retries } = countsOf(now, this.source.totals())
    const old = this.before[0]!
    const grown = Object.entries(errors)
      .map(([tag, n]) => [tag, n - (old.errors[tag] ?? 0)] as const)
      .filter(([, n]) => n > 0)
    return {
      retries,
      errors,
      lastMinute: {
        retries: { total: retries.total - old.retries.total, denied: retries.denied - old.retries.denied },
        errors: Object.fromEntries(grown)
      }
    }
  }
}
