import { Cause, Option } from "effect"
import type { RetryOutcome, RouteReason, Totals as Shown, StatementEnd } from "../../Sources.js"
import * as SqlReason from "../../SqlReason.js"

type Routes = Record<RouteReason, number>

const none = (): Routes => ({ write: 0, read: 0, session: 0, lag_fallback: 0, no_replica: 0 })

/** A statement that is told of at its end. */
export interface Seen<Conn> {
  /** The connection that it ran on last. */
  connection: Conn | undefined
}

/** What one `Sql` has done so far: everybody counts, nobody decides by it. And who is told of the end of each statement. */
export class Totals {
  readonly routes = { primary: none(), replica: none() }
  private readonly retries = new Map<SqlReason.Tag, Record<RetryOutcome, number>>()
  private readonly errors = new Map<SqlReason.Tag, number>()
  /** Leases that were exchanged before a write, because they were older than a change of the roles. */
  fences = 0
  /** Packed reads that were sent on a second connection, and those that were not because too many were. */
  elsewhere = 0
  elsewhereDenied = 0
  /** Absent while nobody listens. */
  listener: ((end: StatementEnd) => void) | undefined = undefined
  private readonly listeners = new Set<(end: StatementEnd) => void>()

  retried({ _tag }: SqlReason.SqlReason, outcome: RetryOutcome): void {
    let counts = this.retries.get(_tag)
    if (counts === undefined) {
      counts = { succeeded: 0, failed: 0, denied: 0 }
      this.retries.set(_tag, counts)
    }
    counts[outcome]++
  }

  /** What its caller gets of a statement. An interruption is no failure. */
  readonly failed = (cause: Cause.Cause<unknown>): void => {
    const failure = Cause.failureOption(cause)
    if (Option.isSome(failure)) this.failedBy(SqlReason.of(failure.value))
  }

  failedBy({ _tag }: SqlReason.SqlReason): void {
    this.errors.set(_tag, (this.errors.get(_tag) ?? 0) + 1)
  }

  listen(listener: (end: StatementEnd) => void): () => void {
    const { listeners } = this
    const own = (end: StatementEnd) => listener(end)
    listeners.add(own)
    this.listener = (end) => {
      for (const listener of listeners) listener(end)
    }
    return () => {
      listeners.delete(own)
      if (listeners.size === 0) this.listener = undefined
    }
  }

  shown(more: Pick<Shown, "roleChanges" | "packed" | "batches" | "cancels" | "controlConnects">): Shown {
    const { elsewhere, elsewhereDenied, errors, fences, retries, routes } = this
    return {
      ...more,
      routes: { primary: { ...routes.primary }, replica: { ...routes.replica } },
      retries: Object.fromEntries(Array.from(retries, ([tag, counts]) => [tag, { ...counts }])),
      errors: Object.fromEntries(errors),
      fences,
      elsewhere,
      elsewhereDenied
    }
  }
}
