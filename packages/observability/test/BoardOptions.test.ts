/** What a board is told when it is made, and what it then does with the pools of this process. */
import { HttpRouter } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Board } from "@sluice/observability"
import { Pool } from "@sluice/pool"
import { Cause, Deferred, Effect, Exit, Layer, Logger, Option, Redacted } from "effect"
import { serve } from "../src/internal/board/serve.js"
import { ADMIN, ask, bearer } from "./support/asking.js"

const problemsOf = (exit: Exit.Exit<unknown, unknown>): ReadonlyArray<string> => {
  const error = Option.getOrThrow(Exit.isFailure(exit) ? Cause.failureOption(exit.cause) : Option.none())
  assert.instanceOf(error, Board.InvalidBoard)
  return (error as Board.InvalidBoard).problems
}

const token = (text: string) => Redacted.make(text)

const wrong: ReadonlyArray<readonly [name: string, options: unknown, problem: RegExp]> = [
  [
    "a token of 15 characters",
    { tokens: { read: token("x".repeat(15)) } },
    /^tokens\.read has 15 characters, and needs at least 16$/
  ],
  ["a token with a space", { tokens: { admin: token("a token with spaces") } }, /no header can carry/],
  ["a token that is a plain text", { tokens: { admin: "x".repeat(20) } }, /^tokens\.admin must be a Redacted/],
  ["the same token twice", { tokens: { admin: token(ADMIN), read: token(ADMIN) } }, /are the same$/],
  ["tokens and a hook", { tokens: { admin: token(ADMIN) }, authorize: () => Effect.never }, /give one of the two$/],
  ["a host that others reach, and nobody signs in", { host: "0.0.0.0" }, /^host is "0\.0\.0\.0", where everybody/],
  ["a name that leads elsewhere, and nobody signs in", { host: "127.example.org" }, /where everybody/],
  ["no viewer at all", { maxViewers: 0 }, /^maxViewers must be a whole number from 1 to 1000/],
  ["a port that does not exist", { port: 70_000 }, /^port must be a whole number/],
  ["a threshold that does not exist", { thresholds: { wait: 1 } }, /^wait is no option here/],
  ["an option that does not exist", { token: ADMIN }, /^token is no option here: did you mean/]
]

describe("Board.layer", () => {
  it.effect.each(wrong)("refuses %s, with a typed error", ([, options, problem]) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(Board.layer({ port: 0, ...(options as object) }))))
      const problems = problemsOf(exit)
      assert.lengthOf(problems, 1)
      assert.match(problems[0]!, problem)
      assert.notInclude(problems[0]!, ADMIN)
    })
  )

  it.scoped("serves the page on this machine, and says where", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    return Effect.gen(function* () {
      yield* Layer.build(Board.layer({ port: 0 }))
      const port = /^the board of the pools is on http:\/\/127\.0\.0\.1:(\d+)$/.exec(lines[0]!)![1]
      const page = yield* ask(Number(port), "/")
      assert.strictEqual(page.status, 200)
      assert.include(page.body, "Connection Pool Health")
    }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
  })
})

/** A board of this process in a server of its own, under a path, and what it does with a pool. */
const mounted = Effect.gen(function* () {
  const aborted: Array<number> = []
  let made = 0
  const pool = yield* Pool.make({
    name: "orders",
    maxSize: 2,
    connect: () => Effect.sync(() => ++made),
    abort: (connection) => Effect.sync(() => void aborted.push(connection))
  })
  const board = yield* Board.make({ tokens: { admin: token(ADMIN) } })
  const app = HttpRouter.empty.pipe(HttpRouter.mountApp("/pools", board.app), Effect.orDie)
  const port = Number(new URL(yield* Effect.orDie(serve(app, { port: 0, host: "127.0.0.1" }))).port)
  const stats = Effect.map(ask(port, "/pools/stats.json", { headers: bearer(ADMIN) }), ({ body }) => {
    const { databases } = JSON.parse(body) as { databases: ReadonlyArray<{ pools: ReadonlyArray<any> }> }
    return databases.flatMap(({ pools }) => pools).find(({ name }) => name === "orders")
  })
  const id = (yield* stats).id as number
  const act = (name: string, body: object = {}) =>
    ask(port, `/pools/actions/${name}`, {
      method: "POST",
      headers: bearer(ADMIN),
      body: JSON.stringify({ pool: id, ...body })
    })
  return { aborted, act, pool, port, stats }
})

describe("A board in a server of the program", () => {
  it.scoped("is found under its path, with and without a slash", () =>
    Effect.gen(function* () {
      const { port } = yield* mounted
      for (const path of ["/pools", "/pools/", "/pools?role=replica"]) {
        assert.strictEqual((yield* ask(port, path)).status, 200, path)
      }
    })
  )

  it.scoped("suspends, resumes, resets and drains the pool that is meant", () =>
    Effect.gen(function* () {
      const { act, pool, stats } = yield* mounted
      yield* Pool.use(pool, () => Effect.void)
      assert.strictEqual((yield* act("suspend")).status, 200)
      assert.strictEqual((yield* stats).phase, "suspended")
      assert.strictEqual((yield* act("resume")).status, 200)
      assert.strictEqual((yield* stats).phase, "running")
      assert.strictEqual((yield* act("reset")).status, 200)
      assert.strictEqual((yield* stats).closed.generation, 1)
      const drained = yield* act("drain")
      assert.strictEqual(
        drained.body,
        JSON.stringify({ message: "It is closed. 0 leases ended by themselves, 0 leases had to be taken away." })
      )
      const { phase, size, using, waiting } = yield* Pool.stats(pool)
      assert.deepStrictEqual({ phase, size, using, waiting }, { phase: "closed", size: 0, using: 0, waiting: 0 })
      const again = yield* act("drain")
      assert.strictEqual(again.status, 409)
      assert.include(again.body, "This pool is not open any more.")
    })
  )

  it.scoped("cancels what a lease does, and not what a younger lease of the same connection does", () =>
    Effect.gen(function* () {
      const { aborted, act, pool } = yield* mounted
      const got = yield* Deferred.make<void>()
      const letGo = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(
        Pool.use(pool, () => Effect.zipRight(Deferred.succeed(got, undefined), Deferred.await(letGo)))
      )
      yield* Deferred.await(got)
      const connection = 1
      assert.strictEqual((yield* act("cancel", { connection, heldMs: 5_000 })).status, 409)
      assert.strictEqual((yield* act("cancel", { connection, heldMs: 0 })).status, 200)
      yield* Effect.repeat(Effect.yieldNow(), { until: () => aborted.length > 0 })
      assert.deepStrictEqual(aborted, [1])
      yield* Deferred.succeed(letGo, undefined)
      yield* holder.await
      const { available, using, waiting } = yield* Pool.stats(pool)
      assert.deepStrictEqual({ available, using, waiting }, { available: 1, using: 0, waiting: 0 })
    })
  )
})
