/**
 * Where an original is wrong and we are right. Each row runs one scenario twice: on ours, which must do the right thing, and
 * on the original, which must do the documented wrong one; so no row can pass without testing anything, and a row whose
 * fault the original has repaired shows itself.
 *
 * What hangs on the original hangs in fibers of its own: see `onOriginal`.
 */
import { SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { assert, layer, type Vitest } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Option, Scope } from "effect"
import { describe } from "vitest"
import { eventually, runOn, type ServerOf, unique } from "./contract.js"
import { type Database, databases, Server, type Words } from "./databases.js"
import * as Drivers from "./drivers.js"

export type Body<A, D extends Database = Database> = (
  /** The name of the client. */
  name: string,
  /** Milliseconds after which something counts as hanging. What hangs on the original need not be awaited for long. */
  patience: number
) => Effect.Effect<A, unknown, Drivers.Client<D> | ServerOf<D> | Scope.Scope>

/** Runs a scenario on a client of these options. */
export type On<D extends Database = Database> = <A>(
  options: Drivers.Options<D>,
  body: Body<A, D>
) => Effect.Effect<A, unknown, ServerOf<D>>

export interface Pair<D extends Database = Database> {
  readonly it: Vitest.MethodsNonLive<ServerOf<D>, true>
  readonly words: Words
  readonly ours: Drivers.Driver<D>
  readonly original: Drivers.Driver<D>
  /** With the books checked at the end. */
  readonly onOurs: On<D>
  readonly onOriginal: On<D>
  readonly fix: <A>(
    name: string,
    wrong: string,
    options: Drivers.Options<D>,
    body: Body<A, D>,
    expected: { readonly ours: NoInfer<A>; readonly original: NoInfer<A> }
  ) => void
  /** A row whose scenario is more than a body: what it does with a driver, it does by `on`. */
  readonly fixOn: <A>(
    name: string,
    wrong: string,
    scenario: (on: On<D>) => Effect.Effect<A, unknown, ServerOf<D> | Scope.Scope>,
    expected: { readonly ours: NoInfer<A>; readonly original: NoInfer<A> }
  ) => void
}

const onOurs =
  <D extends Database>(driver: Drivers.Driver<D>): On<D> =>
  (options, body) => {
    const name = driver.words.nameIn(options) ?? unique("ours")
    return Effect.flatMap(
      Effect.flatMap(Server, (server) => server.client(name)),
      (client) => runOn(driver)({ ...client, ...options }, Effect.scoped(body(name, 10_000)) as any)
    ) as any
  }

/**
 * The original leaves fibers that cannot be interrupted and connections that nobody gives back: its sessions are ended on
 * the server, and its Layer is closed in the background.
 */
const onOriginal =
  <D extends Database>(driver: Drivers.Driver<D>): On<D> =>
  (options, body) =>
    Effect.gen(function* () {
      const server = yield* Server
      const name = driver.words.nameIn(options) ?? unique("original")
      const client = yield* server.client(name)
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(driver.layer({ ...client, ...options }), scope)
      return yield* body(name, 700).pipe(
        Effect.scoped,
        Effect.disconnect,
        Effect.timeoutFail({ duration: "12 seconds", onTimeout: () => new Error("the scenario itself hangs") }),
        Effect.provide(context),
        Effect.ensuring(Effect.forkDaemon(Scope.close(scope, Exit.void))),
        Effect.ensuring(Effect.ignore(server.end(name)))
      )
    }) as any

/** The rows of one database, or of any; one server for each file and database. Side by side: most of their time is waiting. */
export const pairs = <D extends Database = Database>(
  name: string,
  suite: (pair: Pair<D>) => void,
  options: { readonly database?: D; readonly replicas?: number } = {}
): void => {
  const selected = new Set(Drivers.selected.map((driver) => driver.name))
  for (const database of Object.keys(databases) as Array<D>) {
    const { original, ours } = Drivers.pair(database)
    if ((options.database ?? database) !== database || ![ours, original].some(({ name }) => selected.has(name)))
      continue
    const { replicas = 0 } = options
    layer(databases[database].layer({ replicas }) as Layer.Layer<ServerOf<D>, unknown>, {
      excludeTestServices: true,
      timeout: "2 minutes"
    })(name, (it) => {
      describe.concurrent(`${ours.name} and ${original.name}`, () => {
        const on = { ours: onOurs(ours), original: onOriginal(original) }
        const fixOn: Pair<D>["fixOn"] = (name, wrong, scenario, expected) => {
          if (selected.has(ours.name)) {
            it.effect(name, () =>
              Effect.map(Effect.scoped(scenario(on.ours)), (outcome) =>
                assert.deepStrictEqual<unknown>(outcome, expected.ours)
              )
            )
          }
          if (selected.has(original.name)) {
            it.effect(`(the original: ${wrong})`, () =>
              Effect.map(Effect.scoped(scenario(on.original)), (outcome) =>
                assert.deepStrictEqual<unknown>(outcome, expected.original)
              )
            )
          }
        }
        suite({
          it: it as any,
          words: ours.words,
          ours,
          original,
          onOurs: on.ours,
          onOriginal: on.original,
          fixOn,
          fix: (name, wrong, options, body, expected) => fixOn(name, wrong, (on) => on(options, body), expected)
        })
      })
    })
  }
}

/** What an effect has come to after so many milliseconds; what is not done goes on alone. */
export const after = <A, E, R>(
  milliseconds: number,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A | "not done", E, R> =>
  effect.pipe(
    Effect.disconnect,
    Effect.timeoutTo({ duration: milliseconds, onSuccess: (a: A) => a as A | "not done", onTimeout: () => "not done" })
  )

/** Whether an effect has ended after so many milliseconds. */
export const endsAfter = <A, E, R>(milliseconds: number, effect: Effect.Effect<A, E, R>) =>
  Effect.map(after(milliseconds, effect), (outcome) => (outcome === "not done" ? "not done" : "done"))

/** The number of statements of a client that run on the server and contain `text`. */
export const active = (name: string, text = "") =>
  Effect.flatMap(Server, (server) =>
    Effect.map(
      server.sessions(name),
      (all) => all.filter((session) => session.isRunning && session.text.includes(text)).length
    )
  )

export const running = (name: string, text: string, count = 1) =>
  eventually(
    `${text} runs`,
    Effect.map(active(name, text), (n) => n >= count)
  )

/** No statement that contains `text` runs any more. */
export const stopped = (name: string, text: string) =>
  eventually(
    `${text} has ended`,
    Effect.map(active(name, text), (n) => n === 0)
  )

/** Runs a text for nothing but what it does. */
export const run = (text: string) => Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.asVoid(sql.unsafe(text)))

export const codeOf = (error: unknown) =>
  ((error as SqlError | undefined)?.cause as { readonly code?: string } | undefined)?.code

/** What an effect has failed with. */
export const failureOf = <A, E>(exit: Exit.Exit<A, E>): E | undefined =>
  Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined

/** In one word: how an effect has ended. */
export const verdict = <A, E>(exit: Exit.Exit<A, E>) =>
  Exit.match(exit, {
    onSuccess: () => "success",
    onFailure: (cause) =>
      Cause.isDie(cause)
        ? "defect"
        : Cause.isInterrupted(cause) && Cause.isEmpty(Cause.stripFailures(cause))
          ? "interrupted"
          : "failure"
  })
