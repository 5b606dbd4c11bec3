/** F29: our pools as a function platform attaches them, with the package of the platform. */
import { AsyncLocalStorage } from "node:async_hooks"
import { assert } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { attachDatabasePool } from "@vercel/functions"
import { Effect, Runtime } from "effect"
import { eventually } from "./contract.js"
import { Server } from "./databases.js"
import { ours } from "./ours.js"

/** A request, as the package sees it: what it gives to `waitUntil` keeps the process from being suspended. */
class Request {
  readonly awaited: Array<PromiseLike<unknown>> = []
  readonly waitUntil = (promise: PromiseLike<unknown>): void => void this.awaited.push(promise)
}

const requests = new AsyncLocalStorage<Request>()

/** What the platform gives to a process: its variables, and the request under way. */
const platform = Effect.acquireRelease(
  Effect.sync(() => {
    const before = { url: process.env["VERCEL_URL"], region: process.env["VERCEL_REGION"], warn: console.warn }
    const warnings: Array<string> = []
    process.env["VERCEL_URL"] = "example.test"
    process.env["VERCEL_REGION"] = "dev1"
    console.warn = (line: string) => void warnings.push(line)
    Object.assign(globalThis, { [Symbol.for("@vercel/request-context")]: { get: () => requests.getStore() } })
    return { before, warnings }
  }),
  ({ before }) =>
    Effect.sync(() => {
      delete process.env["VERCEL_URL"]
      delete process.env["VERCEL_REGION"]
      if (before.url !== undefined) process.env["VERCEL_URL"] = before.url
      if (before.region !== undefined) process.env["VERCEL_REGION"] = before.region
      console.warn = before.warn
    })
)

ours("a process that its platform suspends", ({ database, it, onPool, sleep, words }) => {
  it.effect("it runs until every connection is closed, and the next request finds nothing broken", () =>
    onPool({ pool: { maxSize: 4, minIdle: 2, closeWhenIdle: "300 millis" } }, (name) =>
      Effect.gen(function* () {
        const { warnings } = yield* platform
        const runtime = yield* Effect.runtime<Sql.Sql>()
        attachDatabasePool(yield* Sql.functionPool)
        /** The handler in the context of its request, and then what the platform waits for. */
        const served = (handler: Effect.Effect<unknown, unknown, Sql.Sql>) => {
          const request = new Request()
          return Effect.map(
            Effect.promise(() => requests.run(request, () => Runtime.runPromise(runtime)(handler))),
            () => request
          )
        }
        const relation = words.series(3)
        const handlers: Readonly<Record<string, Effect.Effect<unknown, unknown, Sql.Sql>>> = {
          query: Sql.query("select 1"),
          "packed reads": Effect.all(
            Array.from({ length: 20 }, () => Sql.query(`select i from ${relation}`)),
            { concurrency: "unbounded" }
          ),
          withConnection: Sql.withConnection(Effect.repeatN(Sql.query("select 1"), 3)),
          withTransaction: Sql.withTransaction(Sql.query("select 1")),
          "a statement that is cancelled": Effect.timeoutOption(sleep(30), "200 millis")
        }
        for (const [what, handler] of Object.entries(handlers)) {
          const all = yield* Effect.all([served(handler), served(Effect.delay(handler, 50))], {
            concurrency: "unbounded"
          })
          const awaited = all.flatMap(({ awaited }) => awaited)
          assert.isAtLeast(awaited.length, 1, what)
          yield* Effect.promise(() => Promise.all(awaited))
          // Now the platform suspends the process. By its own timers, which on a busy machine are early by a turn or two.
          yield* eventually(
            `${what}: every connection is closed`,
            Effect.map(Sql.stats, ({ write }) => write.size === 0),
            "5 seconds"
          )
          yield* eventually(
            `${what}: the control connection is closed, long before its own time`,
            Effect.map(Sql.stats, ({ control }) => control.every(({ open }) => open === 0)),
            "5 seconds"
          )
          yield* eventually(
            `${what}: no session is left on the server`,
            Effect.flatMap(Server, (server) => Effect.map(server.sessions(name), (all) => all.length === 0))
          )
        }
        assert.deepStrictEqual(warnings, [], "a release was told outside of its request")
        const { control, write } = yield* Sql.stats
        assert.isAtLeast(write.connects, Object.keys(handlers).length)
        assert.strictEqual(control[0]!.connects > 0, database === "mysql")
      }).pipe(Effect.scoped)
    )
  )
})
