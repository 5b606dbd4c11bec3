import type { Reactivity } from "@effect/experimental/Reactivity"
import * as Client from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import * as Deadline from "@sluice/pool/Deadline"
import type * as Pool from "@sluice/pool/Pool"
import * as Priority from "@sluice/pool/Priority"
import { Chunk, Context, Effect, Exit, type Fiber, Option, RuntimeFlags, type Scope, Stream } from "effect"
import type { Cursor, Mode } from "../../driver/Driver.js"
import type { Policy } from "../../SqlRetry.js"
import * as Router from "../routing/router.js"
import * as Lock from "../session/lock.js"
import * as Pin from "../session/pin.js"
import * as Transaction from "../session/transaction.js"
import * as Contexts from "./contexts.js"
import * as Retry from "./retry.js"
import * as Statements from "./statement.js"

export interface ClientOptions {
  readonly compiler: Statement.Compiler
  readonly transformRows: Statements.Rows
  readonly spanAttributes: ReadonlyArray<readonly [string, unknown]>
}

export interface PinOptions extends Pool.AcquireOptions {
  readonly intent?: Router.Intent | undefined
}

/** What `Sql` and `SqlClient` are both made of. */
export interface Core {
  readonly client: Client.SqlClient
  readonly query: (
    text: string,
    params: ReadonlyArray<unknown>,
    prepare: boolean
  ) => Effect.Effect<ReadonlyArray<any>, SqlError>
  readonly withConnection: (options: PinOptions) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly withTransaction: (
    options: Transaction.Options
  ) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
  readonly retry: (policy: Policy) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/**
 * A connection of this client carries its block under this key. It is a plain property, because programs spread
 * connections (`{ ...connection, execute: … }`), and the copy must still be known as ours.
 */
const BlockKey = Symbol.for("@sluice/sql/Block")

let clients = 0

/** Work that can wait shares a connection with nobody, so that it delays nobody. */
const isUrgent = (context: Context.Context<never>): boolean => {
  const priority = context.unsafeMap.get(Priority.CurrentPriority.key) as Priority.Priority | undefined
  return priority === undefined || (priority !== "low" && priority !== "background")
}

/** The deadline is that of the fiber that reads the piece. */
const withDeadline = <A>(next: (until: Deadline.Instant) => Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
  Effect.withFiberRuntime((fiber) => next(Deadline.currentIn(fiber.currentContext)))

const rowsOf =
  (transform: Statements.Rows) =>
  (next: Cursor["next"]): Stream.Stream<any, SqlError> =>
    Stream.repeatEffectChunkOption(
      Effect.matchEffect(withDeadline(next), {
        onFailure: (error) => Effect.fail(Option.some(error)),
        onSuccess: (rows) =>
          rows.length === 0
            ? Effect.fail(Option.none())
            : Effect.succeed(Chunk.unsafeFromArray(transform === undefined ? rows : transform(rows)))
      })
    )

export const make = <Conn>(
  router: Router.Router<Conn>,
  reactivity: Reactivity.Service,
  options: ClientOptions
): Core => {
  const { driver } = router
  const { packing } = driver
  const retrying = Retry.make(router)
  /**
   * Two tags. Our own says which block a fiber is inside of, for this client alone: the tag of `@effect/sql` is shared by
   * all clients, and with it a statement of one database could run inside a transaction of another. But resolvers carry
   * only that one from the caller to the batch, so it is set too, and believed when the connection in it is ours.
   */
  const Own = Context.GenericTag<Pin.Block<Conn>>(`@sluice/sql/Block/${++clients}`)
  const Shared = Client.TransactionConnection
  const mine = (block: Pin.Block<Conn> | undefined) => block !== undefined && block.pin.router === router

  const blockOf = (context: Context.Context<never>): Pin.Block<Conn> | undefined => {
    const own = context.unsafeMap.get(Own.key) as Pin.Block<Conn> | undefined
    if (own !== undefined) return Pin.carries(own) ? own : undefined
    const shared = context.unsafeMap.get(Shared.key) as readonly [any, number] | undefined
    const block = shared?.[0]?.[BlockKey] as Pin.Block<Conn> | undefined
    return block !== undefined && mine(block) && Pin.carries(block) ? block : undefined
  }

  type Run = (sql: string, params: ReadonlyArray<unknown>, mode: Mode) => Effect.Effect<any, SqlError>
  type OpenStream = Connection["executeStream"]

  // Own arrow properties, not methods: see BlockKey.
  const connectionOf = (run: Run, stream: OpenStream): Connection => ({
    execute: (sql, params, transform) => Statements.transformed(run(sql, params, "rows"), transform),
    executeRaw: (sql, params) => run(sql, params, "raw"),
    executeValues: (sql, params) => run(sql, params, "values"),
    executeUnprepared: (sql, params, transform) => Statements.transformed(run(sql, params, "unprepared"), transform),
    executeStream: stream
  })

  /** A statement of a fiber: on the connection of the block that it is inside of, else on one of the pool's. */
  const statement: Statements.Kit["run"] = (fiber, flags, sql, params, mode) => {
    const context = fiber.currentContext
    const block = blockOf(context)
    if (block !== undefined) {
      return statementIn(block, context, (connection, before) => driver.execute(connection, sql, params, mode, before))
    }
    const intent = Router.intentOf(context)
    if (packing?.packs(sql, mode, params) && isUrgent(context)) {
      const interruptible = RuntimeFlags.isEnabled(flags, RuntimeFlags.Interruption)
      const read = Router.share<Conn, any>(router, intent, (connection, resume, answer) =>
        packing.start(connection, {
          sql,
          params,
          mode,
          fiber,
          interruptible,
          until: Deadline.currentIn(context),
          answer,
          resume
        })
      )
      return retrying.statement(context, intent, read)
    }
    const once = Router.lend(router, intent, (connection) => driver.execute(connection, sql, params, mode))
    return retrying.statement(context, intent, once)
  }

  const facade = connectionOf(
    (sql, params, mode) =>
      Effect.withFiberRuntime((fiber, { runtimeFlags }) => statement(fiber, runtimeFlags, sql, params, mode)),
    (sql, params, transform) =>
      Stream.unwrapScoped(
        Effect.withFiberRuntime((fiber) => {
          const block = blockOf(fiber.currentContext)
          const intent = Router.intentOf(fiber.currentContext)
          return Effect.map(
            block === undefined ? cursorFromPool(intent, sql, params) : cursorIn(block, intent, sql, params),
            rowsOf(transform)
          )
        })
      )
  )

  /** The first statement of a transaction may be run again like one that stands alone: nothing else is lost with it. */
  const statementIn = <A>(
    block: Pin.Block<Conn>,
    context: Context.Context<never>,
    f: (connection: Conn, before: ReadonlyArray<string>) => Effect.Effect<A, SqlError>
  ): Effect.Effect<A, SqlError> => {
    const intent = Router.intentOf(context)
    const statement = Pin.statement(block, intent, f)
    return block.transaction !== undefined && Pin.isUnopened(block.pin)
      ? retrying.statement(context, intent, Effect.mapError(statement, Transaction.failedToBegin))
      : statement
  }

  const connectionIn = (block: Pin.Block<Conn>): Connection =>
    Object.assign(
      connectionOf(
        (sql, params, mode) =>
          Effect.withFiberRuntime((fiber) =>
            statementIn(block, fiber.currentContext, (connection, before) =>
              driver.execute(connection, sql, params, mode, before)
            )
          ),
        (sql, params, transform) =>
          Stream.unwrapScoped(
            Effect.withFiberRuntime((fiber) =>
              Effect.map(cursorIn(block, Router.intentOf(fiber.currentContext), sql, params), rowsOf(transform))
            )
          )
      ),
      { [BlockKey]: block }
    )

  /** A cursor on a connection of its own, for as long as the stream is read; so are all of these `next`. */
  const cursorFromPool = (intent: Router.Intent | undefined, sql: string, params: ReadonlyArray<unknown>) =>
    Effect.flatMap(Router.acquire(router, intent), (connection) => cursorOn(connection, sql, params))

  /** A cursor whose opening was interrupted needs no closing: the connection is busy, and is aborted by its next user. */
  const cursorOn = (connection: Conn, sql: string, params: ReadonlyArray<unknown>) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.tap(restore(driver.stream(connection, sql, params)), (cursor) => Effect.addFinalizer(() => cursor.close))
    ).pipe(Effect.map((cursor) => cursor.next))

  const cursorIn = (
    block: Pin.Block<Conn>,
    intent: Router.Intent | undefined,
    sql: string,
    params: ReadonlyArray<unknown>
  ): Effect.Effect<Cursor["next"], SqlError, Scope.Scope> =>
    block.transaction !== undefined
      ? Effect.uninterruptibleMask((restore) =>
          restore(
            Pin.statement(block, intent, (connection, before) =>
              Effect.zipRight(
                Effect.forEach(before, (sql) => driver.execute(connection, sql, [], "command"), { discard: true }),
                driver.stream(connection, sql, params)
              )
            )
          ).pipe(
            Effect.tap((cursor) => Effect.addFinalizer(() => Pin.afterwards(block, cursor.close))),
            // The lock is taken for each piece, so that the reader may run statements between two of them.
            Effect.map((cursor) => (until: Deadline.Instant) => Pin.statement(block, intent, () => cursor.next(until)))
          )
        )
      : // Outside of a transaction the server keeps a cursor only until the next statement: nothing may come between.
        Lock.hold(block.lock, () => Pin.settle(block)).pipe(
          Effect.zipRight(
            Effect.acquireRelease(
              Effect.sync(() => {
                block.streaming = true
              }),
              () =>
                Effect.sync(() => {
                  block.streaming = false
                })
            )
          ),
          Effect.zipRight(Pin.connect(block, intent)),
          Effect.flatMap((connection) => cursorOn(connection, sql, params))
        )

  /** What a fiber inside of `block` has in its context. */
  const contextIn = (context: Context.Context<never>, block: Pin.Block<Conn>): Context.Context<any> =>
    block.transaction === undefined
      ? Context.add(context, Own, block)
      : Context.add(Context.add(context, Own, block), Shared, [connectionIn(block), block.transaction.depth])

  /** Runs `body` inside the root block of a new pin, which is closed with it. */
  const onPin = <A, E, R>(
    intent: Router.Intent | undefined,
    acquire: Pool.AcquireOptions | undefined,
    body: (block: Pin.Block<Conn>, restore: Contexts.Restore) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> =>
    Effect.uninterruptibleMask((restore) => {
      const block = Pin.make(router, intent, acquire)
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

  const withConnection =
    ({ intent, ...acquire }: PinOptions) =>
    <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.withFiberRuntime((fiber: Fiber.RuntimeFiber<A, E>) => {
        const context = fiber.currentContext
        const inside = intent === undefined ? context : Context.add(context, Router.CurrentIntent, intent)
        if (blockOf(context) !== undefined) {
          return intent === undefined ? effect : Effect.provideService(effect, Router.CurrentIntent, intent)
        }
        return onPin(Router.intentOf(inside), acquire, (block, restore) =>
          Contexts.within(effect, () => contextIn(inside, block), restore)
        )
      })

  const withTransaction = (transaction: Transaction.Options) => {
    const run = <A, E, R>(
      fiber: Fiber.RuntimeFiber<A, E | SqlError>,
      effect: Effect.Effect<A, E, R>
    ): Effect.Effect<A, E | SqlError, R> => {
      const context = fiber.currentContext
      const block = blockOf(context)
      const intent = Router.intentOf(context)
      return retrying.transaction(context, block?.transaction !== undefined, transaction, (transaction) => {
        const inside = (outer: Pin.Block<Conn>, restore: Contexts.Restore) =>
          Transaction.run(
            outer,
            intent,
            transaction,
            (body, block, restore) => Contexts.within(body, (context) => contextIn(context, block), restore),
            effect,
            restore
          )
        return block === undefined
          ? onPin(intent, undefined, inside)
          : Pin.alone(block, (restore) => inside(block, restore))
      })
    }
    return <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
      Effect.withFiberRuntime((fiber: Fiber.RuntimeFiber<A, E | SqlError>) =>
        Statements.isObserved(fiber) ? spanned(effect, run) : run(fiber, effect)
      )
  }

  /** A span around a transaction, for those who trace. */
  const spanned = <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    run: (
      fiber: Fiber.RuntimeFiber<A, E | SqlError>,
      effect: Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | SqlError, R>
  ): Effect.Effect<A, E | SqlError, R> =>
    Effect.useSpan("sql.transaction", { kind: "client", captureStackTrace: false }, (span) =>
      Effect.withFiberRuntime((fiber: Fiber.RuntimeFiber<A, E | SqlError>) => {
        for (const [key, value] of options.spanAttributes) span.attribute(key, value)
        const isNested = blockOf(fiber.currentContext)?.transaction !== undefined
        return Effect.onExit(run(fiber, Effect.withParentSpan(effect, span)), (exit) => {
          const end = Exit.isFailure(exit) ? "rollback" : isNested ? "savepoint" : "commit"
          return Effect.clockWith((clock) =>
            Effect.sync(() => span.event(`db.transaction.${end}`, clock.unsafeCurrentTimeNanos()))
          )
        })
      })
    )

  const acquirer = Effect.succeed(facade)

  /** A connection for the caller alone, until the scope closes; never the one of a transaction that is open. */
  const reserve: Client.SqlClient["reserve"] = Effect.uninterruptibleMask((restore) =>
    Effect.withFiberRuntime((fiber) => {
      const block = Pin.make(router, Router.intentOf(fiber.currentContext), undefined)
      return Effect.addFinalizer(() => Effect.sync(() => Pin.close(block))).pipe(
        Effect.zipRight(restore(Pin.alone(block, (restore) => restore(Pin.connect(block, undefined))))),
        Effect.as(connectionIn(block))
      )
    })
  )

  const statements = (compiler: Statement.Compiler, transformRows: Statements.Rows) =>
    Statements.make({
      make: Statement.make(acquirer, compiler, options.spanAttributes, transformRows),
      transformRows,
      run: statement,
      texts: new WeakMap()
    })
  const sql = statements(options.compiler, options.transformRows)
  const client: any = Object.assign(sql, {
    [Client.TypeId]: Client.TypeId,
    safe: undefined,
    reserve,
    withTransaction: withTransaction({ commitTimeout: defaultCommitTimeout }),
    withoutTransforms(this: any): any {
      if (options.transformRows === undefined) return this
      const plain: any = statements(options.compiler.withoutTransform, undefined)
      Object.assign(plain, { ...this, ...plain })
      plain.safe = plain
      plain.withoutTransforms = () => plain
      return plain
    },
    reactive: reactivity.stream,
    reactiveMailbox: reactivity.query
  })
  client.safe = client
  const query: Core["query"] = (text, params, prepare) =>
    Effect.withFiberRuntime((fiber, { runtimeFlags }) => {
      if (Statements.isObserved(fiber)) {
        const observed = client.unsafe(text, params)
        return prepare ? observed : observed.unprepared
      }
      const rows = statement(fiber, runtimeFlags, text, params, prepare ? "rows" : "unprepared")
      return Statements.transformed(rows, options.transformRows)
    })

  const retry: Core["retry"] = (policy) => (effect) =>
    Effect.withFiberRuntime(({ currentContext }) =>
      retrying.whole(currentContext, blockOf(currentContext)?.transaction !== undefined, policy, effect)
    )
  return { client, query, withConnection, withTransaction, retry }
}

export const defaultCommitTimeout = "30 seconds"
