/**
 * `pnpm --filter @sluice/observability cost`: what a board of fifty pods costs the process that serves it, and the page that shows it. The
 * page is Chromium's, in processes of its own.
 */
import { Effect } from "effect"
import { serving } from "../support/asking.js"
import { fleet } from "../support/boards.js"
import * as Browser from "../support/browser.js"

const PODS = 50
const SECONDS = 20

const main = Effect.gen(function* () {
  const { port } = yield* serving(
    {},
    Effect.sync(() => ({ reports: fleet(PODS), silent: [] }))
  )
  const idle = yield* measured(Effect.sleep(`${SECONDS} seconds`))
  for (const viewers of [1, 5]) {
    const pages = yield* Effect.forEach(Array.from({ length: viewers }), () => Browser.open())
    yield* Effect.forEach(pages, ({ page }) => Effect.promise(() => page.goto(`http://127.0.0.1:${port}/`)), {
      discard: true
    })
    yield* Effect.sleep("3 seconds")
    const { page } = pages[0]!
    const session = yield* Effect.promise(() => page.context().newCDPSession(page))
    yield* Effect.promise(() => session.send("Performance.enable"))
    const busy = Effect.promise(async () => {
      const { metrics } = await session.send("Performance.getMetrics")
      return metrics.find(({ name }) => name === "TaskDuration")!.value
    })
    const before = yield* busy
    const longest = Effect.promise(() =>
      page.evaluate(
        `new Promise((done) => { let most = 0; new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) most = Math.max(most, duration) }).observe({ type: "longtask" }); setTimeout(() => done(most), ${SECONDS * 1_000}) })`
      )
    )
    const [share, task] = yield* measured(longest)
    const pageShare = ((yield* busy) - before) / SECONDS
    console.log(
      `${PODS} pods, ${viewers} viewer(s): the server uses ${percent(share - idle[0])} of a core; the first page ${percent(pageShare)}, its longest task ${Math.round(Number(task))} ms (0: none above 50 ms)`
    )
  }
}).pipe(Effect.scoped, Effect.provide(Browser.layer))

const percent = (share: number) => `${(share * 100).toFixed(1)} %`

/** The share of a core that this process uses meanwhile. */
const measured = <A>(effect: Effect.Effect<A>): Effect.Effect<readonly [share: number, value: A]> =>
  Effect.gen(function* () {
    const start = process.cpuUsage()
    const at = performance.now()
    const value = yield* effect
    const { system, user } = process.cpuUsage(start)
    return [(user + system) / 1_000 / (performance.now() - at), value] as const
  })

await Effect.runPromise(main)
