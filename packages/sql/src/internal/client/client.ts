import type { Reactivity } from "@effect/experimental/Reactivity"
import * as Client from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import * as Deadline from "@sluice/pool/Deadline"
import * as OptionTable from "@sluice/pool/OptionTable"
import type * as Pool from "@sluice/pool/Pool"
import * as PoolOptions from "@sluice/pool/PoolOptions"
import * as Priority from "@sluice/pool/Priority"
import { Context, Effect, Either, type Fiber, RuntimeFlags, type Scope, Stream } from "effect"
import type { Executed, Mode } from "../../driver/Driver.js"
import type { Cluster } from "../routing/cluster.js"
import { CurrentIntent, type Intent, intentOf } from "../routing/intent.js"
import * as Route from "../routing/route.js"
import type { Seen } from "../routing/totals.js"
import { connect, isUnopened } from "../session/connection.js"
import type * as Hooks from "../session/hooks.js"
import * as Options from "../session/options.js"
import * as Pin from "../session/pin.js"
import * as PinStatement from "../session/statement.js"
import * as Transaction from "../session/transaction.js"
import * as Blocks from "./blocks.js"
import * as Contexts from "./contexts.js"
import * as Elsewhere from "./elsewhere.js"
import * as Ends from "./ends.js"
import { invalidUse } from "./errors.js"
import * as Given from "./given.js"
import * as Retry from "./retry.js"
import * as Spans from "./spans.js"
import * as Statements from "./statement.js"
import * as Streams from "./streams.js"

export interface ClientOptions {
  readonly compiler: Statement.Compiler
  readonly transformRows: Statements.Rows
  readonly spanAttributes: ReadonlyArray<readonly [string, unknown]>
}

export interface PinOptions extends Pool.AcquireOptions {
  readonly intent?: Intent | undefined
}

const pinTable: OptionTable.Table<PinOptions> = {
  acquireTimeout: OptionTable.that("a duration of at least 0", (value) => OptionTable.millisOf(value) !== undefined),
  priority: OptionTable.oneOf(...Object.keys(Priority.rank)),
  intent: OptionTable.oneOf("read", "write")
}

/** What `Sql` and `SqlClient` are both made of. */
export interface Core<Conn> extends Hooks.Core<Conn> {
  readonly client: Client.SqlClient
  /** A text without its literals. */
  readonly shown: (text: string) => string
  readonly query: (
    text: string,
    params: ReadonlyArray<unknown>,
    prepare: boolean
  ) => Effect.Effect<ReadonlyArray<any>, SqlError>
  readonly execute: (
    text: string,
    params: ReadonlyArray<unknown>,
    prepare: boolean
  ) => Effect.Effect<Executed, SqlError>
  readonly withConnection: (
    options: PinOptions
  ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
  readonly connectionScoped: (
    options: PinOptions
  ) => Effect.Effect<<A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>, SqlError, Scope.Scope>
  readonly withTransaction: (
    options: Options.Input
  ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
  readonly retry: (policy: unknown) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
}

/** Whether a statement may share a connection. Statements of the low priorities may not, because those behind them would wait. */
const isUrgent = (context: Context.Context<never>): boolean => {
  const priority = context.unsafeMap.get(Priority.CurrentPriority.key) as Priority.Priority | undefined
  return priority === undefined || (priority !== "low" && priority !== "background")
}

export const make = <Conn>(
  cluster: Cluster<Conn>,
  reactivity: Effect.Effect<Reactivity.Service>,
  options: ClientOptions
): Core<Conn> => {
  const { consistency, driver, totals } = cluster
  const { packing } = driver
  const mayWrite = (intent: Intent | undefined) => Route.mayWrite(cluster, intent)
  const retrying = Retry.make(cluster)
  const blocks = Blocks.make(cluster)
  const again = packing && Elsewhere.again(cluster, packing)

  /** A statement of a fiber: on the connection of the block that it is inside of, else on one of the pool's. */
  const statement: Statements.Kit["run"] = (fiber, flags, sql, params, mode) =>
    totals.listener === undefined
      ? unheard(fiber, flags, sql, params, mode, undefined)
      : Ends.told(cluster, sql, (seen) => unheard(fiber, flags, sql, params, mode, seen))

  /** A statement whose end nobody is told of here. `seen` is for those who are. */
  const unheard = (
    fiber: Fiber.RuntimeFiber<any, any>,
    flags: RuntimeFlags.RuntimeFlags,
    sql: string,
    params: ReadonlyArray<unknown>,
    mode: Mode,
    seen: Seen<Conn> | undefined
  ): Effect.Effect<any, SqlError> => {
    const context = fiber.currentContext
    const block = blocks.of(context)
    if (block !== undefined) return statementIn(block, context, sql, params, mode, seen)
    const intent = intentOf(context)
    const until = Deadline.currentIn(context)
    if (packing?.packs(sql, mode, params) && isUrgent(context)) {
      const interruptible = RuntimeFlags.isEnabled(flags, RuntimeFlags.Interruption)
      const start: Pool.Register<Conn, any, SqlError> = (connection, resume, answer) => {
        if (seen !== undefined) seen.connection = connection
        packing.start(connection, { sql, params, mode, fiber, interruptible, until, resume, answer, again })
      }
      return retrying.statement(context, (options) => Route.share(cluster, intent, start, options), true)
    }
    const isNoted = consistency !== undefined && mayWrite(intent)
    const execute = (connection: Conn) => {
      if (seen !== undefined) seen.connection = connection
      const execution = driver.execute(connection, sql, params, mode, undefined, until)
      return isNoted ? consistency.marks.around(connection, execution) : execution
    }
    return retrying.statement(context, (options) => Route.lend(cluster, intent, execute, options), false)
  }

  /** The first statement of a transaction may be run again like one that stands alone: nothing else is lost with it. */
  const statementIn = (
    block: Pin.Block<Conn>,
    context: Context.Context<never>,
    sql: string,
    params: ReadonlyArray<unknown>,
    mode: Mode,
    seen: Seen<Conn> | undefined
  ): Effect.Effect<any, SqlError> => {
    const until = Deadline.currentIn(context)
    const intent = intentOf(context)
    const isNoted = consistency !== undefined && mayWrite(intent)
    const isFirst = block.transaction !== undefined && isUnopened(block.pin)
    const execute = (connection: Conn, before: ReadonlyArray<string>) => {
      if (seen !== undefined) seen.connection = connection
      const execution = driver.execute(connection, sql, params, mode, before, until)
      if (!isNoted) return execution
      return block.transaction === undefined
        ? consistency.marks.around(connection, execution)
        : consistency.marks.inside(connection, execution)
    }
    // A failure of the first statement counts after its last run.
    const statement = PinStatement.run(block, intent, until, execute, !isFirst)
    return isFirst
      ? retrying.statement(context, () => Effect.mapError(statement, Transaction.failedToBegin), false)
      : statement
  }

  /** A connection as `@effect/sql` knows it. `blockOf` finds the block that a statement of it runs in. */
  const connectionOf = (blockOf: (context: Context.Context<never>) => Pin.Block<Conn> | undefined): Connection => {
    const run = (sql: string, params: ReadonlyArray<unknown>, mode: Mode): Effect.Effect<any, SqlError> =>
      Effect.withFiberRuntime((fiber, { runtimeFlags }) => {
        const block = blockOf(fiber.currentContext)
        if (block === undefined) return statement(fiber, runtimeFlags, sql, params, mode)
        const within = (seen?: Seen<Conn>) => statementIn(block, fiber.currentContext, sql, params, mode, seen)
        return totals.listener === undefined ? within() : Ends.told(cluster, sql, within)
      })
    // Own arrow properties and not methods, because programs spread connections.
    return {
      execute: (sql, params, transform) => Statements.transformed(run(sql, params, "rows"), transform),
      executeRaw: (sql, params) => run(sql, params, "raw"),
      executeValues: (sql, params) => run(sql, params, "values"),
      executeUnprepared: (sql, params, transform) => Statements.transformed(run(sql, params, "unprepared"), transform),
      executeStream: (sql, params, transform) =>
        Stream.unwrapScoped(
          Effect.withFiberRuntime(({ currentContext }) => {
            const block = blockOf(currentContext)
            const intent = intentOf(currentContext)
            const cursor =
              block === undefined
                ? Streams.cursorFromPool(cluster, intent, sql, params)
                : Streams.cursorIn(block, intent, Deadline.currentIn(currentContext), sql, params)
            const counted = <A, R>(effect: Effect.Effect<A, SqlError, R>) =>
              Effect.tapErrorCause(effect, (cause) => Effect.sync(() => totals.failed(cause)))
            return Effect.map(counted(cursor), (next) => Streams.rowsOf(transform)((until) => counted(next(until))))
          })
        )
    }
  }

  const facade = connectionOf(blocks.of)

  const connectionIn = (block: Pin.Block<Conn>): Connection =>
    Blocks.mark(
      connectionOf(() => block),
      block
    )

  /** Runs `body` inside the root block of a new pin, which is closed with it. */
  const onPin = <A, E, R>(
    intent: Intent | undefined,
    acquire: Pool.AcquireOptions | undefined,
    body: (block: Pin.Block<Conn>, restore: Contexts.Restore) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> =>
    Effect.uninterruptibleMask((restore) => {
      const block = Pin.make(cluster, intent, acquire)
      return Effect.matchCauseEffect(body(block, restore), {
        onFailure: (cause) => {
          Pin.close(block)
          return Effect.failCause(cause)
        },
        onSuccess: (a) => {
          Pin.close(block)
          return Effect.succeed(a)
        }
      })
    })

  const pinProblem = (verb: string, pinOptions: PinOptions): SqlError | undefined => {
    const problems = OptionTable.problems(pinOptions, pinTable, { elsewhere: PoolOptions.elsewhere() })
    return problems.length === 0 ? undefined : invalidUse(`${verb}: ${problems.join("; ")}`)
  }

  const withConnection: Core<Conn>["withConnection"] = (pinOptions) => {
    const problem = pinProblem("withConnection", pinOptions)
    if (problem !== undefined) return () => Effect.fail(problem)
    const { intent, ...acquire } = pinOptions
    return <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
      Effect.withFiberRuntime((fiber: Fiber.RuntimeFiber<A, E>) => {
        const context = fiber.currentContext
        const inside = intent === undefined ? context : Context.add(context, CurrentIntent, intent)
        if (blocks.of(context) !== undefined) {
          return intent === undefined ? effect : Effect.provideService(effect, CurrentIntent, intent)
        }
        return onPin(intentOf(inside), acquire, (block, restore) =>
          Contexts.within(effect, () => blocks.enter(inside, block, connectionIn), restore)
        )
      })
  }

  const connectionScoped: Core<Conn>["connectionScoped"] = (pinOptions) =>
    Effect.suspend(() => {
      const problem = pinProblem("connectionScoped", pinOptions)
      if (problem !== undefined) return Effect.fail(problem)
      const { intent, ...acquire } = pinOptions
      return Effect.withFiberRuntime(({ currentContext }) => {
        const block = Pin.make(cluster, intent ?? intentOf(currentContext), acquire)
        const enter = (context: Context.Context<never>): Context.Context<any> => {
          const inside = intent === undefined ? context : Context.add(context, CurrentIntent, intent)
          return blocks.of(context) === undefined
            ? blocks.enter(inside, block, connectionIn)
            : (inside as Context.Context<any>)
        }
        const within = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
          Effect.uninterruptibleMask((restore) => Contexts.within(effect, enter, restore))
        return Effect.as(
          Effect.addFinalizer(() => Effect.sync(() => Pin.close(block))),
          within
        )
      })
    })

  /** `effect` as a transaction of the fiber with this context. */
  const transaction = <A, E, R>(
    context: Context.Context<never>,
    decoded: Options.Options,
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | SqlError, R> => {
    const block = blocks.of(context)
    const intent = intentOf(context)
    const call = Options.call(decoded, Deadline.currentIn(context), cluster.timers.now)
    const inside = (outer: Pin.Block<Conn>, restore: Contexts.Restore) =>
      Transaction.run(
        outer,
        intent,
        call,
        (body, block, restore) =>
          Contexts.within(body, (context) => blocks.enter(context, block, connectionIn), restore),
        effect,
        restore,
        block !== undefined
      )
    const once =
      block === undefined
        ? onPin(intent, undefined, inside)
        : PinStatement.exclusively(
            block,
            (restore) => inside(block, restore),
            PinStatement.boundOf(cluster, call.deadline)
          )
    return retrying.transaction(context, block?.transaction !== undefined, call, once)
  }

  const withTransaction: Core<Conn>["withTransaction"] = (input) => {
    const decoded = Options.decode(input)
    if (Either.isLeft(decoded)) return () => Effect.fail(decoded.left)
    return <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
      Effect.withFiberRuntime((fiber: Fiber.RuntimeFiber<A, E | SqlError>) => {
        const context = fiber.currentContext
        if (!Statements.isObserved(fiber)) return transaction(context, decoded.right, effect)
        const kind = blocks.of(context)?.transaction === undefined ? "transaction" : "savepoint"
        return Spans.aroundTransaction(options.spanAttributes, kind, (span) =>
          Effect.withFiberRuntime((fiber: Fiber.RuntimeFiber<A, E | SqlError>) =>
            transaction(fiber.currentContext, decoded.right, Effect.withParentSpan(effect, span))
          )
        )
      })
  }

  const acquirer = Effect.succeed(facade)

  /** A connection for the caller alone, until the scope closes; never the one of a transaction that is open. */
  const reserve: Client.SqlClient["reserve"] = Effect.uninterruptibleMask((restore) =>
    Effect.withFiberRuntime(({ currentContext }) => {
      const block = Pin.make(cluster, intentOf(currentContext), undefined)
      const taken = PinStatement.exclusively(block, (restore) =>
        restore(connect(block, undefined, Deadline.currentIn(currentContext)))
      )
      return Effect.addFinalizer(() => Effect.sync(() => Pin.close(block))).pipe(
        Effect.zipRight(restore(taken)),
        Effect.as(connectionIn(block))
      )
    })
  )

  const spans = new Spans.Said(options.spanAttributes, options.compiler.dialect === "pg" ? "postgresql" : "mysql")
  const statements = (compiler: Statement.Compiler, transformRows: Statements.Rows) =>
    Statements.make({
      make: Statement.make(acquirer, compiler, options.spanAttributes, transformRows),
      transformRows,
      spans,
      run: statement,
      stream: facade.executeStream,
      texts: new WeakMap()
    })
  const sql = statements(options.compiler, options.transformRows)
  const client: any = Object.assign(sql, {
    [Client.TypeId]: Client.TypeId,
    safe: undefined,
    reserve,
    withTransaction: withTransaction({}),
    withoutTransforms(this: any): any {
      if (options.transformRows === undefined) return this
      const plain: any = statements(options.compiler.withoutTransform, undefined)
      Object.assign(plain, { ...this, ...plain })
      plain.safe = plain
      plain.withoutTransforms = () => plain
      return plain
    },
    reactive: (...query: Parameters<Reactivity.Service["stream"]>) =>
      Stream.unwrap(Effect.map(reactivity, ({ stream }) => stream(...query))),
    reactiveMailbox: (...query: Parameters<Reactivity.Service["query"]>) =>
      Effect.flatMap(reactivity, (reactivity) => reactivity.query(...query))
  })
  client.safe = client
  const query: Core<Conn>["query"] = (text, params, prepare) =>
    Effect.withFiberRuntime((fiber, { runtimeFlags }) => {
      if (Statements.isObserved(fiber)) {
        const observed = client.unsafe(text, params)
        return prepare ? observed : observed.unprepared
      }
      const rows = statement(fiber, runtimeFlags, text, params, prepare ? "rows" : "unprepared")
      return Statements.transformed(rows, options.transformRows)
    })

  const execute: Core<Conn>["execute"] = (text, params, prepare) =>
    (sql.unsafe(text, params) as unknown as Statements.Executable).executed(prepare)

  const retry: Core<Conn>["retry"] = (policy) => {
    const decoded = Given.decode(policy === undefined ? true : policy)
    return (effect) => {
      if (Either.isLeft(decoded)) return Effect.fail(invalidUse(`Sql.retry: ${decoded.left}`))
      const given = decoded.right
      if (given === undefined) return effect
      return Effect.withFiberRuntime(({ currentContext }) =>
        // Whatever has failed inside of a transaction, the whole transaction is over or has to be run again.
        blocks.of(currentContext)?.transaction === undefined
          ? retrying.given(currentContext, given, Deadline.currentIn(currentContext), effect)
          : effect
      )
    }
  }

  const inside: Hooks.Core<Conn>["inside"] = (connection, lost) => (effect) =>
    Effect.uninterruptibleMask((restore) => {
      const block = Pin.fixed(cluster, connection, lost)
      return Effect.ensuring(
        Contexts.within(effect, (context) => blocks.enter(context, block, connectionIn), restore),
        Effect.sync(() => Pin.close(block))
      )
    })
  const { shown } = spans
  return { client, shown, query, execute, withConnection, connectionScoped, withTransaction, retry, inside }
}
