/** What both sides of the comparison do, and how each is counted. */
import { Socket } from "node:net"
import type { SqlError } from "@effect/sql"
import { Sql, SqlReason } from "@sluice/sql"
import { Data, Effect, Layer, type Scope, Stream } from "effect"
import type { Endpoints } from "./Endpoints.js"
import * as Sequelize6 from "./Sequelize6.js"
import * as Sluice from "./Sluice.js"

/** A pool in the four words of every board. */
export interface Pool {
  readonly size: number
  readonly available: number
  readonly using: number
  readonly waiting: number
}

/** A request has failed, after all retries. */
export class Failed extends Data.TaggedError("Failed")<{ readonly reason: string }> {}

export interface Side {
  readonly name: string
  readonly read: Effect.Effect<unknown, Failed>
  readonly write: (id: number) => Effect.Effect<unknown, Failed>
  readonly pools: Effect.Effect<{ readonly write: Pool; readonly read: Pool }>
  /** The server at this port is gone: every connection to it that was opened until now is dead. */
  readonly serverGone: (port: number) => Effect.Effect<void>
  readonly counts: Effect.Effect<Counts>
}

/** Since the side was made. */
export interface Counts {
  /** Connects that were tried, whatever came of them: those of the pools, and those that ask servers for their roles. */
  readonly connects: number
  /** How often a dead connection was given to a caller. */
  readonly deadHandedOut: number
  /** Exceptions that no caller could have caught. Each ends a program that does not listen for them. */
  readonly uncaught: number
}

/** The connections that were opened, and those that the end of their server has killed. Counts when a caller gets one of these. */
const makeGraveyard = <K>(isAt: (connection: K, port: number) => boolean) => {
  const opened = new Set<K>()
  const dead = new Set<K>()
  let handedOut = 0
  return {
    opened: (connection: K) => void opened.add(connection),
    acquired: (connection: K) => {
      if (dead.has(connection)) handedOut++
    },
    serverGone: (port: number) =>
      Effect.sync(() => {
        for (const connection of opened) if (isAt(connection, port)) dead.add(connection)
      }),
    handedOut: () => handedOut
  }
}

export const sluice = (
  endpoints: Endpoints,
  options?: Sluice.Options
): Effect.Effect<Side, SqlError.SqlError, Scope.Scope> =>
  Effect.gen(function* () {
    let connects = 0
    const stream = () => {
      connects++
      return new Socket()
    }
    const context = yield* Layer.build(Sluice.layer(endpoints, { ...options, stream }))
    const failed = Effect.mapError((error: SqlError.SqlError) => new Failed({ reason: SqlReason.of(error)._tag }))
    const graveyard = makeGraveyard<string>((connection, port) => connection.includes(`:${port}`))
    yield* Sql.events.pipe(
      Stream.runForEach(({ event, pool }) =>
        Effect.sync(() => {
          if (event._tag === "Connected") graveyard.opened(`${pool} ${event.connection}`)
          if (event._tag === "Acquired") graveyard.acquired(`${pool} ${event.connection}`)
        })
      ),
      Effect.forkScoped,
      Effect.provide(context)
    )
    const stats = Effect.provide(Sql.stats, context)
    return {
      name: "Sluice",
      read: Sluice.read.pipe(failed, Effect.provide(context)),
      write: (id) => Sluice.write(id).pipe(failed, Effect.provide(context)),
      pools: Effect.map(stats, ({ read, write }) => ({ write, read: read[0] ?? write })),
      serverGone: graveyard.serverGone,
      counts: Effect.sync(() => ({ connects, deadHandedOut: graveyard.handedOut(), uncaught: 0 }))
    }
  })

/** Counts the exceptions that come out of Sequelize and that nobody can catch, so that they do not end the demo. */
const uncaughtOfSequelize = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => {
      let count = 0
      const listener = (error: unknown) => {
        if (!(error instanceof Error && /[\\/]sequelize[\\/]/.test(error.stack ?? ""))) throw error
        count++
      }
      process.on("uncaughtException", listener)
      process.on("unhandledRejection", listener)
      return { listener, count: () => count }
    }),
    ({ listener }) =>
      Effect.sync(() => {
        process.off("uncaughtException", listener)
        process.off("unhandledRejection", listener)
      })
  ),
  ({ count }) => count
)

export const sequelize = (endpoints: Endpoints): Effect.Effect<Side, never, Scope.Scope> =>
  Effect.gen(function* () {
    const uncaught = yield* uncaughtOfSequelize
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => Sequelize6.make(endpoints)),
      // Its end waits for every request, also for those that wait for a connection that never comes.
      (client) =>
        Effect.ignore(
          Effect.timeout(
            Effect.tryPromise(() => client.close()),
            "3 seconds"
          )
        )
    )
    const graveyard = makeGraveyard<{ readonly port: number }>((connection, port) => connection.port === port)
    let connects = 0
    client.addHook("beforeConnect", () => void connects++)
    client.addHook("afterConnect", (connection) => graveyard.opened(connection as { readonly port: number }))
    // This hook exists, but its types do not know it.
    const hooks = client as unknown as { addHook(name: string, hook: (connection: any) => void): void }
    hooks.addHook("afterPoolAcquire", graveyard.acquired)
    const { pool } = client.connectionManager as unknown as {
      readonly pool: { readonly write: Pool; readonly read: Pool }
    }
    const run = (statement: () => Promise<unknown>) =>
      Effect.tryPromise({
        try: statement,
        catch: (error) => new Failed({ reason: error instanceof Error ? error.name : String(error) })
      })
    return {
      name: "Sequelize 6",
      read: run(() => Sequelize6.read(client)),
      write: (id) => run(() => Sequelize6.write(client, id)),
      pools: Effect.sync(() => ({ write: four(pool.write), read: four(pool.read) })),
      serverGone: graveyard.serverGone,
      counts: Effect.sync(() => ({ connects, deadHandedOut: graveyard.handedOut(), uncaught: uncaught() }))
    }
  })

const four = ({ available, size, using, waiting }: Pool): Pool => ({ available, size, using, waiting })
