import { SqlError } from "@effect/sql/SqlError"
import * as Original from "@effect/sql/Statement"
import {
  Context,
  DefaultServices,
  Effect,
  Effectable,
  type Fiber,
  Function,
  Option,
  type RuntimeFlags,
  Stream,
  Tracer
} from "effect"
import type { Executed, Mode } from "../../driver/Driver.js"
import { thrown } from "../../driver/Unsendable.js"
import * as SqlReason from "../../SqlReason.js"
import * as Spans from "./spans.js"

/** What statements of one client have in common. */
export interface Kit {
  /** Makes the parts of statements. */
  readonly make: Original.Constructor
  readonly transformRows: Rows
  readonly spans: Spans.Said
  /** Executes a text of a fiber. */
  readonly run: (
    fiber: Fiber.RuntimeFiber<any, any>,
    flags: RuntimeFlags.RuntimeFlags,
    sql: string,
    params: ReadonlyArray<unknown>,
    mode: Mode
  ) => Effect.Effect<any, SqlError>
  readonly stream: (sql: string, params: ReadonlyArray<unknown>, transform: Rows) => Stream.Stream<any, SqlError>
  /** The compiled texts of templates whose arguments are all parameters. */
  readonly texts: WeakMap<TemplateStringsArray, string>
}

export type Rows = (<A extends object>(row: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined

const native = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/**
 * Whether the program traces this fiber or transforms its statements. A root span of Effect's own tracer does not count, because
 * that tracer shows its spans to nobody.
 */
export const isObserved = (fiber: Fiber.RuntimeFiber<any, any>): boolean =>
  fiber.currentSpan !== undefined ||
  fiber.currentTracer !== native ||
  Option.isSome(fiber.getFiberRef(Original.currentTransformer))

export const transformed = <E>(
  rows: Effect.Effect<ReadonlyArray<any>, E>,
  transform: Rows
): Effect.Effect<ReadonlyArray<any>, E> => (transform === undefined ? rows : Effect.map(rows, transform))

/** What makes the statements of a client. */
type Making = Kit & { readonly sql: Original.Constructor }

/** The statement that the transformer of the fiber puts in the place of this one. */
const replaced = <A>(
  { sql }: Making,
  statement: Statement<A>,
  span: Tracer.Span
): Effect.Effect<Original.Statement<any>> =>
  Effect.withFiberRuntime((fiber) => {
    const transformer = fiber.getFiberRef(Original.currentTransformer)
    return Option.isNone(transformer)
      ? Effect.succeed(statement)
      : transformer.value(statement, sql, fiber.getFiberRefs(), span)
  })

const noStatement = (): SqlError =>
  SqlReason.toError(
    SqlReason.make("InvalidUse"),
    "the statement was not sent: it must be a text and an array of parameters, and is something else"
  )

type Compiled = readonly [sql: string, params: ReadonlyArray<unknown>]

/** The text and the parameters of a statement. The compiler looks at each value, and a value may throw then. */
const compile = (statement: Original.Statement<any>, withoutTransform: boolean): Compiled | SqlError => {
  try {
    const compiled = statement.compile(withoutTransform)
    return typeof compiled[0] === "string" && Array.isArray(compiled[1]) ? compiled : noStatement()
  } catch (cause) {
    const { message } = thrown(undefined, cause)
    return SqlReason.toError(SqlReason.make("InvalidUse", { cause }), `the statement was not sent: ${message}`)
  }
}

/** What the statements here have besides those of `@effect/sql`. */
export interface Executable {
  /** For `Sql.execute`. */
  readonly executed: (prepare: boolean) => Effect.Effect<Executed, SqlError>
}

/**
 * A statement of `@effect/sql` without a scope and without segments, and without a span where nobody looks. In a fiber that is
 * observed it has the span of the original statement, which shows no literal.
 */
class Statement<A> extends Effectable.Class<ReadonlyArray<A>, SqlError> implements Original.Statement<A>, Executable {
  private made: Original.Statement<A> | undefined = undefined

  constructor(
    private readonly kit: Making,
    private readonly source: TemplateStringsArray | string,
    private readonly args: ReadonlyArray<any>
  ) {
    super()
  }

  get [Original.FragmentId]() {
    return Function.identity
  }

  private get original(): Original.Statement<A> {
    const { args, kit, source } = this
    this.made ??= (
      typeof source === "string" ? kit.make.unsafe(source, args) : kit.make(source, ...args)
    ) as Original.Statement<any>
    return this.made
  }

  get segments(): ReadonlyArray<Original.Segment> {
    return this.original.segments
  }

  compile(withoutTransform?: boolean): readonly [sql: string, params: ReadonlyArray<unknown>] {
    const { args, kit, source } = this
    if (typeof source === "string") return [source.trim(), args]
    if (!args.every(isPlain)) return this.original.compile(withoutTransform)
    let text = kit.texts.get(source)
    if (text === undefined) {
      text = this.original.compile(withoutTransform)[0]
      kit.texts.set(source, text)
    }
    return [text, args]
  }

  private run(
    mode: Mode,
    transform: Rows,
    withoutTransform: boolean,
    operation: string
  ): Effect.Effect<ReadonlyArray<any>, SqlError> {
    return Effect.withFiberRuntime((fiber, { runtimeFlags }) => {
      const { kit } = this
      if (isObserved(fiber)) return this.traced(mode, transform, withoutTransform, operation)
      const compiled = compile(this, withoutTransform)
      return compiled instanceof SqlError
        ? Effect.fail(compiled)
        : transformed(kit.run(fiber, runtimeFlags, compiled[0], compiled[1], mode), transform)
    })
  }

  private traced(
    mode: Mode,
    transform: Rows,
    withoutTransform: boolean,
    operation: string
  ): Effect.Effect<ReadonlyArray<any>, SqlError> {
    const { kit } = this
    return Effect.useSpan("sql.execute", Spans.ofStatement, (span) =>
      Effect.flatMap(replaced(kit, this, span), (statement) => {
        const compiled = compile(statement, withoutTransform)
        if (compiled instanceof SqlError) return Effect.fail(compiled)
        const [sql, params] = compiled
        kit.spans.ofStatement(span, operation, sql)
        const run = Effect.withFiberRuntime<ReadonlyArray<any>, SqlError>((fiber, { runtimeFlags }) =>
          transformed(kit.run(fiber, runtimeFlags, sql, params, mode), transform)
        )
        // What the statement waits for, and its retries, are told there.
        return Effect.withParentSpan(run, span)
      })
    )
  }

  commit(): Effect.Effect<ReadonlyArray<A>, SqlError> {
    return this.run("rows", this.kit.transformRows, false, "execute")
  }

  get withoutTransform(): Effect.Effect<ReadonlyArray<A>, SqlError> {
    return this.run("rows", undefined, true, "executeWithoutTransform")
  }

  get raw(): Effect.Effect<unknown, SqlError> {
    return this.run("raw", undefined, true, "executeRaw")
  }

  get values(): Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, SqlError> {
    return this.run("values", undefined, false, "executeValues")
  }

  get unprepared(): Effect.Effect<ReadonlyArray<A>, SqlError> {
    return this.run("unprepared", this.kit.transformRows, false, "executeUnprepared")
  }

  /** For `Sql.execute`. */
  executed(prepare: boolean): Effect.Effect<Executed<A>, SqlError> {
    const { transformRows } = this.kit
    const transform =
      transformRows === undefined
        ? undefined
        : (result: Executed<any>) => ({ ...result, rows: transformRows(result.rows) })
    const mode = prepare ? "result" : "unpreparedResult"
    return this.run(mode, transform as any, false, prepare ? "execute" : "executeUnprepared") as Effect.Effect<
      any,
      SqlError
    >
  }

  get stream(): Stream.Stream<A, SqlError> {
    const { kit } = this
    return Stream.unwrapScoped(
      Effect.flatMap(Effect.makeSpanScoped("sql.execute", Spans.ofStatement), (span) =>
        Effect.map(replaced(kit, this, span), (statement) => {
          const compiled = compile(statement, false)
          if (compiled instanceof SqlError) return Stream.fail(compiled)
          const [sql, params] = compiled
          kit.spans.ofStatement(span, "executeStream", sql)
          return kit.stream(sql, params, kit.transformRows)
        })
      )
    )
  }

  toJSON(): unknown {
    return (this.original as any).toJSON()
  }
}

/** Neither a fragment nor a helper, so it can only be a parameter. */
const isPlain = (arg: unknown): boolean => typeof arg !== "object" || arg === null || arg instanceof Date

/** As `kit.make`, with statements of the class above. */
export const make = (kit: Kit): Original.Constructor => {
  const build = (strings: any, ...args: ReadonlyArray<any>): any =>
    Array.isArray(strings) && "raw" in strings
      ? new Statement(making, strings as unknown as TemplateStringsArray, args)
      : kit.make(strings as any, ...args)
  const sql = Object.assign(build, kit.make, {
    unsafe: (text: string, params: ReadonlyArray<unknown> = []) => new Statement(making, text, params)
  }) as Original.Constructor
  const making: Making = { ...kit, sql }
  return sql
}
