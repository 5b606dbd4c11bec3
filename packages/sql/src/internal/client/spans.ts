import { Effect, Exit, type Tracer } from "effect"
import * as Literals from "../../driver/Literals.js"

/** Characters of a text in a span. */
const LONGEST = 4_096

/** Texts of which is remembered how they look without literals. */
const MOST = 500

/** What the spans of a client say. */
export class Said {
  private readonly known = new Map<string, string>()

  constructor(
    readonly attributes: ReadonlyArray<readonly [string, unknown]>,
    private readonly dialect: Literals.Dialect
  ) {}

  /** Says on the span of a statement what is executed. Literals may be secrets, and spans leave the program. */
  ofStatement(span: Tracer.Span, operation: string, sql: string): void {
    for (const [key, value] of this.attributes) span.attribute(key, value)
    span.attribute("db.operation.name", operation)
    span.attribute("db.query.text", this.shown(sql))
  }

  /** The text without its literals. */
  readonly shown = (sql: string): string => {
    const known = this.known.get(sql)
    if (known !== undefined) return known
    const shown = Literals.without(this.dialect, sql, LONGEST)
    if (this.known.size >= MOST) this.known.clear()
    this.known.set(sql, shown)
    return shown
  }
}

/** The options of the span of a statement. */
export const ofStatement = { kind: "client", captureStackTrace: false } as const

/** A span around a transaction, for programs that trace. `kind` says whether it is a whole transaction or a savepoint. */
export const aroundTransaction = <A, E, R>(
  attributes: ReadonlyArray<readonly [string, unknown]>,
  kind: "transaction" | "savepoint",
  run: (span: Tracer.Span) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.useSpan("sql.transaction", { kind: "client", captureStackTrace: false }, (span) => {
    for (const [key, value] of attributes) span.attribute(key, value)
    return Effect.onExit(run(span), (exit) => {
      const end = Exit.isFailure(exit) ? "rollback" : kind === "savepoint" ? "savepoint" : "commit"
      return Effect.clockWith((clock) =>
        Effect.sync(() => span.event(`db.transaction.${end}`, clock.unsafeCurrentTimeNanos()))
      )
    })
  })
