import type { SqlError } from "@effect/sql/SqlError"
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
  type Stream,
  Tracer
} from "effect"
import type { Mode } from "../../driver/Driver.js"

/** What statements of one client have in common. */
export interface Kit {
  /** Makes the statement of `@effect/sql`. */
  readonly make: Original.Constructor
  readonly transformRows: Rows
  /** Executes a text of a fiber that is not observed. */
  readonly run: (
    fiber: Fiber.RuntimeFiber<any, any>,
    flags: RuntimeFlags.RuntimeFlags,
    sql: string,
    params: ReadonlyArray<unknown>,
    mode: Mode
  ) => Effect.Effect<any, SqlError>
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

/**
 * A statement of `@effect/sql` without a span, a scope and segments. In a fiber that is observed it does what the original
 * statement does.
 */
class Statement<A> extends Effectable.Class<ReadonlyArray<A>, SqlError> implements Original.Statement<A> {
  private made: Original.Statement<A> | undefined = undefined

  constructor(
    private readonly kit: Kit,
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

  private run<B>(
    mode: Mode,
    transform: Rows,
    withoutTransform: boolean,
    original: (statement: Original.Statement<A>) => Effect.Effect<B, SqlError>
  ): Effect.Effect<B, SqlError> {
    return Effect.withFiberRuntime((fiber, status) => {
      if (isObserved(fiber)) return original(this.original)
      const [sql, params] = this.compile(withoutTransform)
      return transformed(this.kit.run(fiber, status.runtimeFlags, sql, params, mode), transform) as Effect.Effect<
        any,
        SqlError
      >
    })
  }

  commit(): Effect.Effect<ReadonlyArray<A>, SqlError> {
    return this.run("rows", this.kit.transformRows, false, Function.identity)
  }

  get withoutTransform(): Effect.Effect<ReadonlyArray<A>, SqlError> {
    return this.run("rows", undefined, true, (statement) => statement.withoutTransform)
  }

  get raw(): Effect.Effect<unknown, SqlError> {
    return this.run("raw", undefined, true, (statement) => statement.raw)
  }

  get values(): Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, SqlError> {
    return this.run("values", undefined, false, (statement) => statement.values)
  }

  get unprepared(): Effect.Effect<ReadonlyArray<A>, SqlError> {
    return this.run("unprepared", this.kit.transformRows, false, (statement) => statement.unprepared)
  }

  get stream(): Stream.Stream<A, SqlError> {
    return this.original.stream
  }

  toJSON(): unknown {
    return (this.original as any).toJSON()
  }
}

/** Neither a fragment nor a helper, so it can only be a parameter. */
const isPlain = (arg: unknown): boolean => typeof arg !== "object" || arg === null || arg instanceof Date

/** As `kit.make`, with statements of the class above. */
export const make = (kit: Kit): Original.Constructor => {
  const sql = (strings: any, ...args: ReadonlyArray<any>): any =>
    Array.isArray(strings) && "raw" in strings
      ? new Statement(kit, strings as unknown as TemplateStringsArray, args)
      : kit.make(strings as any, ...args)
  return Object.assign(sql, kit.make, {
    unsafe: (text: string, params: ReadonlyArray<unknown> = []) => new Statement(kit, text, params)
  }) as Original.Constructor
}
