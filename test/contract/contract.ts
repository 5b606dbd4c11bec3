import { type Command, CommandExecutor } from "@effect/platform"
import { SqlClient } from "@effect/sql/SqlClient"
import { layer, type Vitest } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { Duration, Effect, Exit, Layer, Option, Tracer } from "effect"
import { describe } from "vitest"
import { booksBalance as balance, eventually } from "../../packages/sql/test/support/checks.js"
import { unique } from "../../packages/sql/test/support/eventually.js"
import { type Database, databases, type Kinds, Server } from "./databases.js"
import * as Drivers from "./drivers.js"

export { eventually, unique }

/** Ours: nothing is leased, nobody waits, nothing is still being cleaned. Another driver keeps no books. */
export const booksBalance = Effect.flatMap(
  Effect.serviceOption(Sql.Sql),
  Option.match({
    onNone: () => Effect.void,
    onSome: (sql) => Effect.provideService(balance, Sql.Sql, sql)
  })
)

/** What a suite has: one of this database, or one of any. */
export interface Test<D extends Database = Database> {
  readonly it: Vitest.MethodsNonLive<ServerOf<D>, true>
  readonly driver: Drivers.Driver<D>
  /**
   * Runs a test body on a client of its own, then checks the books: nothing leased, nobody waiting, and after the Layer
   * has closed not one session of it left on the server.
   */
  readonly run: <A, E, R extends ServerOf<D> = never>(
    options: Drivers.Options<D>,
    body: Effect.Effect<A, E, Drivers.Client<D> | R>
  ) => Effect.Effect<A, unknown, Server | R>
}

/** What the tests of a file share: the server, and what can happen to it if the database is known. */
export type ServerOf<D extends Database> = Server | ([Database] extends [D] ? never : Kinds[D]["cluster"])

/** A test that hangs must not take the suite with it, also when what hangs cannot be interrupted. */
const DEADLINE = "2 minutes"

export const runOn =
  <D extends Database>(driver: Drivers.Driver<D>): Test<D>["run"] =>
  (options, body) =>
    Effect.gen(function* () {
      const server = yield* Server
      const name = driver.words.nameIn(options) ?? unique("contract")
      const client = yield* server.client(name)
      const exit = yield* body.pipe(
        Effect.zipLeft(booksBalance),
        Effect.disconnect,
        Effect.timeoutFail({ duration: DEADLINE, onTimeout: () => new Error(`not done within ${DEADLINE}`) }),
        Effect.provide(driver.layer({ ...client, ...options })),
        Effect.exit
      )
      if (Exit.isFailure(exit)) return yield* exit
      yield* noSessions(name)
      return exit.value
    })

/** The client of this name has closed. */
export const noSessions = (name: string) =>
  Effect.flatMap(Server, (server) =>
    eventually(
      "no session is left on the server",
      Effect.map(server.sessions(name), (sessions) => sessions.length === 0)
    )
  )

/**
 * The same sentences for every driver, of one database or of all; one server for each file and database. Tests run side by
 * side, because most of their time is waiting; each has its own client, and names that no other has.
 */
export const contract = <D extends Database = Database>(
  name: string,
  suite: (test: Test<D>) => void,
  options: {
    readonly database?: D
    /** For tests that share what has one name for all. */
    readonly oneByOne?: boolean
  } = {}
): void => {
  const group = options.oneByOne === true ? describe : describe.concurrent
  for (const database of Object.keys(databases) as Array<D>) {
    const drivers = Drivers.selected.filter((driver) => driver.database === database)
    if (drivers.length === 0 || (options.database ?? database) !== database) continue
    layer(databases[database].layer() as Layer.Layer<ServerOf<D>, unknown>, {
      excludeTestServices: true,
      timeout: "2 minutes"
    })(name, (it) => {
      for (const one of drivers) {
        const driver = Drivers.driver<D>(one.name)
        group(driver.name, () => suite({ it, driver, run: runOn(driver) }))
      }
    })
  }
}

/** Makes a table that no other test knows, and gives its name. */
export const table = (columns: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const name = unique("t")
    yield* sql.unsafe(`create table ${name} (${columns})`).raw
    return name
  })

export const idsOf = (name: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.map(sql<{ id: number }>`select id from ${sql(name)} order by id`.withoutTransform, (rows) =>
      rows.map(({ id }) => id)
    )
  )

/** Milliseconds that an effect takes, and what it gives. */
export const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(effect), ([elapsed, a]) => [Duration.toMillis(elapsed), a] as const)

/** Stands in for the programs that write down a schema: remembers how it was called, and gives the same text each time. */
export const dumping = (program: string, text: string) => {
  const calls: Array<Command.StandardCommand> = []
  const executor = CommandExecutor.CommandExecutor.of({
    ...CommandExecutor.makeExecutor(() => Effect.dieMessage("nothing is started")),
    string: (command) =>
      Effect.suspend(() => {
        const call = command as Command.StandardCommand
        calls.push(call)
        return call.command === program
          ? Effect.succeed(text)
          : Effect.dieMessage(`${call.command} was called, not ${program}`)
      })
  })
  return { calls, layer: Layer.succeed(CommandExecutor.CommandExecutor, executor) }
}

/** One span, as far as the suites look at it. */
export interface Seen {
  readonly name: string
  readonly parent: string | undefined
  readonly attributes: Record<string, unknown>
  readonly events: Array<string>
}

/** Runs an effect and gives the spans that it has made, oldest first. */
export const spansOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const seen: Array<Seen> = []
    const tracer = Tracer.make({
      span(name, parent, context, links, startTime, kind) {
        const record: Seen = {
          name,
          parent: Option.getOrUndefined(Option.filter(parent, (parent) => parent._tag === "Span"))?.name,
          attributes: {},
          events: []
        }
        seen.push(record)
        return {
          _tag: "Span",
          name,
          spanId: String(seen.length),
          traceId: "trace",
          parent,
          context,
          links,
          kind,
          sampled: true,
          status: { _tag: "Started", startTime },
          attributes: new Map(Object.entries(record.attributes)),
          attribute: (key, value) => {
            record.attributes[key] = value
          },
          event: (name) => {
            record.events.push(name)
          },
          addLinks: () => {},
          end: () => {}
        }
      },
      context: (f) => f()
    })
    return Effect.map(Effect.withTracer(effect, tracer), (value) => ({ seen, value }))
  })
