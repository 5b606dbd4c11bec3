import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Example from "../../../../test/support/example.js"

const { common, holds, leavesNothing, start } = Example.make(import.meta.url, "npx pnpm demo")

describe.sequential("npx pnpm demo", () => {
  it.scopedLive(
    "ends by itself with exit code 0, every claim held, and leaves no process and no folder",
    () =>
      Effect.gen(function* () {
        const started = yield* start()
        yield* started.says("✓ start")
        assert.isTrue(started.isLeft())
        yield* holds(started, 18, /≤ \d+ (?:s|ms)|within \d+ s|at once/)
      }),
    120_000
  )

  // They measure nothing, so they need not wait for each other.
  describe.concurrent("besides", () => {
    it.scopedLive(
      "--serve stays up, prints its address, curl examples and the board of its pools, and ends with Ctrl-C",
      () =>
        Effect.gen(function* () {
          const started = yield* start("--serve")
          const { ended, interrupt, said, says } = started
          yield* says("Ctrl-C")
          const url = /^http:\/\/\S+$/m.exec(said.out)?.[0]
          assert.include(said.out, `curl -i ${url}/payments`)
          const stats = yield* Effect.promise(() => fetch(`${url}/stats`))
          assert.strictEqual(stats.status, 200)
          assert.include(said.out, `the board of its pools: ${url}/pools`)
          const board = yield* Effect.promise(async () => (await fetch(`${url}/pools`)).text())
          assert.include(board, "<title>Payments</title>")
          interrupt()
          assert.strictEqual(yield* ended, 130, said.out + said.err)
          yield* leavesNothing(started)
        })
    )

    common({ known: "are --serve and --help", middle: "✓ normal load" })
  })
})
