import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Example from "../../../../test/support/example.js"

const { common, holds, leavesNothing, start } = Example.make(import.meta.url, "npx pnpm demo:watch")

/** On a machine that is busy with other tests connects fail as well, and boards and alerts tell of that first. */
const timed = /the board names|the alert names/

describe.sequential("npx pnpm demo:watch", () => {
  it.scopedLive(
    "four pools are used up, and error, board and alert say why each of them is; it ends with exit code 0",
    () =>
      Effect.gen(function* () {
        const started = yield* start()
        yield* holds(started, 20, timed)
        const { out } = started.said
        for (const cause of ["slowStatements", "idleInTransaction", "forgotten", "tooManyRequests"]) {
          assert.match(out, new RegExp(`✓ \\d+\\. \\w+: the error names the cause, ${cause}\\n`))
        }
        assert.match(out, /✓ 20\. connections left open: 0\n +0 of 20; 0 sessions/)
      }),
    150_000
  )

  it.scopedLive(
    "--serve prints the address of the board, goes on, and ends with Ctrl-C",
    () =>
      Effect.gen(function* () {
        const started = yield* start("--serve")
        yield* started.says("reports: slowStatements")
        const [, url] = /on (http:\/\/127\.0\.0\.1:\d+)/.exec(started.said.out)!
        const page = yield* Effect.promise(async () => (await fetch(url!)).text())
        assert.include(page, "Connection Pool Health")
        started.interrupt()
        assert.strictEqual(yield* started.ended, 130)
        yield* leavesNothing(started)
      }),
    150_000
  )

  common({ known: "are --serve and --help", middle: /each is used up/ })
})
