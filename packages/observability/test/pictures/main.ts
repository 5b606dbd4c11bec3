/**
 * `pnpm --filter @sluice/observability pictures`: the web board during five incidents, as a person sees it, into `docs`. It takes four
 * minutes. With `pngquant` the pictures are a third as large.
 */
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { type Pods, Recorder, type Report } from "@sluice/observability"
import { PgSql, type Sql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Effect, Layer, Logger, LogLevel, Redacted } from "effect"
import * as Board from "../../src/internal/board/board.js"
import { serve } from "../../src/internal/board/serve.js"
import * as Thresholds from "../../src/Thresholds.js"
import { signedIn } from "../support/asking.js"
import * as Browser from "../support/browser.js"
import { calm, type Incident, incidents } from "./incidents.js"

const docs = join(import.meta.dirname, "../../docs")
const TOKEN = "the-token-of-the-pictures"
const PHONE = { width: 375, dark: true, height: 1_900 }
const DESKTOP = { width: 1_280, dark: false, height: 1_500 }
const PODS = 50

const only = process.argv.slice(2)

/** A page that is open while it happens, so that its curves show how it came. */
const opened = (port: number, size: typeof PHONE) =>
  Effect.gen(function* () {
    const { page } = yield* Browser.open(size)
    const [name, value] = (yield* signedIn(port, TOKEN)).split("=") as [string, string]
    yield* Effect.promise(() => page.context().addCookies([{ name, value, url: `http://127.0.0.1:${port}` }]))
    yield* Effect.promise(() => page.goto(`http://127.0.0.1:${port}/`))
    yield* Effect.promise(() => page.waitForSelector("#board[aria-busy=false]"))
    return (file: string) =>
      Effect.promise(async () => {
        const path = join(docs, `${file}.png`)
        await page.screenshot({ path, clip: { x: 0, y: 0, width: size.width, height: size.height }, fullPage: true })
        spawnSync("pngquant", ["--force", "--skip-if-larger", "--ext", ".png", "128", path])
        console.log(path)
      })
  })

const boardOf = (report: Effect.Effect<Report.Report>, fleet: Effect.Effect<Pods.Fleet>) =>
  Effect.gen(function* () {
    const settings = {
      title: "Connection Pool Health",
      tokens: { read: Redacted.make(TOKEN) },
      authorize: undefined,
      hosts: [],
      maxViewers: 10,
      thresholds: Thresholds.standard
    }
    const { app } = yield* Board.make(settings, { report, fleet, act: () => Effect.die("nobody acts here") })
    return Number(new URL(yield* serve(app, { port: 0, host: "127.0.0.1" })).port)
  })

/** The same process fifty times: each eighth as it is now, the others as they were while all was calm. */
const manyOf = (now: Report.Report, then: Report.Report): ReadonlyArray<Report.Report> =>
  Array.from({ length: PODS }, (_, i) => ({
    ...(i % 8 === 3 ? now : { ...then, at: now.at }),
    pod: `shop-6f7c9-${(i * 7_919 + 1_296).toString(36).slice(-3)}`
  }))

const picture = ({
  after,
  happen,
  name
}: Incident): Effect.Effect<void, unknown, Browser.Chromium | PgCluster.PgCluster | Sql.Sql> =>
  Effect.gen(function* () {
    const recorder = yield* Recorder.make({ pod: "shop-6f7c9-x2v" })
    const report = recorder.report({ texts: true })
    let before: Report.Report | undefined
    const alone = yield* boardOf(
      report,
      Effect.map(report, (report) => ({ reports: [report], silent: [] }))
    )
    const fifty = yield* boardOf(
      report,
      Effect.map(report, (now) => ({ reports: manyOf(now, before ?? now), silent: [] }))
    )
    yield* calm
    yield* Effect.sleep("3 seconds")
    const shoot: Array<Effect.Effect<void>> = [
      (yield* opened(alone, DESKTOP))(`${name}-desktop`),
      (yield* opened(alone, PHONE))(`${name}-phone`)
    ]
    if (name === "idle-in-transaction") {
      shoot.push((yield* opened(fifty, { ...DESKTOP, height: 2_300 }))("fifty-pods-desktop"))
      shoot.push((yield* opened(fifty, { ...PHONE, height: 1_900 }))("fifty-pods-phone"))
    }
    yield* Effect.sleep("22 seconds")
    before = yield* report
    yield* happen
    yield* Effect.sleep(after)
    yield* Effect.all(shoot)
  }).pipe(Effect.scoped)

const main = Effect.gen(function* () {
  const { primary } = yield* PgCluster.PgCluster
  yield* primary.query("create table orders (id int, state text, total int, year int)")
  yield* primary.query("insert into orders select i, 'new', i, 2026 from generate_series(1, 100) i")
  for (const incident of incidents) {
    if (only.length > 0 && !only.includes(incident.name)) continue
    const sql = PgSql.layer({ url: primary.url, applicationName: "shop", pool: { name: "orders", maxSize: 10 } })
    yield* Effect.provide(picture(incident), sql)
  }
}).pipe(Effect.provide(Layer.merge(Browser.layer, PgCluster.layer())), Logger.withMinimumLogLevel(LogLevel.Error))

await Effect.runPromise(main)
