/** The page in a real Chromium: what a person with a mouse, a keyboard, a screen reader or a telephone has of it. */
import { assert, layer } from "@effect/vitest"
import { Panels, type Pods, type Report } from "@sluice/observability"
import { Effect, Layer, Logger } from "effect"
import type { Page } from "playwright-core"
import { ADMIN, serving, signedIn } from "./support/asking.js"
import * as Boards from "./support/boards.js"
import * as Browser from "./support/browser.js"
import * as Reports from "./support/reports.js"

// Of the page, whose types this program does not have.
declare const document: any
declare const getComputedStyle: any

/** Opens the board, and waits until it has drawn something. Everything that goes wrong on the page is in `problems`. */
const opened = (port: number, options: Browser.PageOptions & { readonly query?: string } = {}) =>
  Effect.gen(function* () {
    const { page, problems, requests } = yield* Browser.open(options)
    if (options.token !== undefined) {
      const [name, value] = (yield* signedIn(port, options.token)).split("=") as [string, string]
      yield* run(() => page.context().addCookies([{ name, value, url: `http://127.0.0.1:${port}` }]))
    }
    yield* Effect.promise(() => page.goto(`http://127.0.0.1:${port}/${options.query ?? ""}`))
    yield* drawn(page)
    return { page, problems, requests }
  })

const drawn = (page: Page) => Effect.promise(() => page.waitForSelector("#board[aria-busy=false]"))

const run = <A>(f: () => Promise<A>) => Effect.promise(f)

const fleet = (reports: ReadonlyArray<Report.Report>): Effect.Effect<Pods.Fleet> =>
  Effect.succeed({ reports, silent: [] })

const quiet = Logger.remove(Logger.defaultLogger)

layer(Layer.merge(Browser.layer, quiet), { excludeTestServices: true })("The page of a board", (it) => {
  it.scoped("shows the verdict and the panels in their order, asks nobody else for anything, and logs nothing", () =>
    Effect.gen(function* () {
      const { port } = yield* serving()
      const { page, problems, requests } = yield* opened(port)
      const titles = yield* run(() => page.locator("#board h2").allTextContents())
      assert.deepStrictEqual(
        titles,
        Panels.all.map(({ title }) => title)
      )
      const sentence = yield* run(() => page.locator(".sentence").textContent())
      assert.match(
        sentence!,
        /^Transactions in which nothing is done hold the connections of "orders": 17 callers wait/
      )
      assert.deepStrictEqual(problems, [])
      const hosts = requests.filter((url) => !url.startsWith("data:")).map((url) => new URL(url).host)
      assert.deepStrictEqual([...new Set(hosts)], [`127.0.0.1:${port}`])
    })
  )

  it.scoped("writes names that are HTML as text", () =>
    Effect.gen(function* () {
      const name = `<img src=x onerror="document.title='broken'">\n"quoted" & <b>bold</b>`
      const holder = { ...Reports.holder("busy", 5_000), span: name, activity: name }
      const pool = Boards.stuck({ name, endpoint: name, holders: [holder], acquireFailures: { [name]: 1 } })
      const { port } = yield* serving({}, fleet([Reports.report([Reports.database([pool], { name })], { pod: name })]))
      const { page, problems } = yield* opened(port, { token: ADMIN })
      assert.strictEqual(yield* run(() => page.locator(".pool h3").textContent()), name)
      assert.strictEqual(yield* run(() => page.locator("td.text code").textContent()), name)
      assert.strictEqual(yield* run(() => page.locator("img, b b, .pool b > b").count()), 0)
      assert.strictEqual(yield* run(() => page.title()), "Pools")
      assert.deepStrictEqual(problems, [])
    })
  )

  it.scoped("keeps its filters in the address, over a reload and back", () =>
    Effect.gen(function* () {
      const { port } = yield* serving({}, fleet(Boards.fleet(3)))
      const { page } = yield* opened(port, { query: "?role=replica" })
      const pools = () => page.locator(".pool .badge:first-of-type").allTextContents()
      assert.deepStrictEqual(yield* run(pools), ["replica"])
      yield* run(() => page.selectOption("#filter-pod", "pay-1"))
      assert.strictEqual(new URL(page.url()).search, "?role=replica&pod=pay-1")
      yield* run(() => page.reload())
      yield* drawn(page)
      assert.strictEqual(yield* run(() => page.inputValue("#filter-pod")), "pay-1")
      assert.strictEqual(yield* run(() => page.locator(".pods li").count()), 1)
      yield* run(() => page.goBack())
      yield* run(() => page.waitForFunction(() => document.querySelectorAll(".pods li").length === 3))
      assert.strictEqual(yield* run(() => page.inputValue("#filter-pod")), "")
    })
  )

  it.scoped("fits a telephone, in the dark too, with one pod and with fifty", () =>
    Effect.gen(function* () {
      for (const pods of [1, 50]) {
        const { port } = yield* serving({}, fleet(Boards.fleet(pods)))
        const { page, problems } = yield* opened(port, { width: 375, dark: true, token: ADMIN })
        const wide = yield* run(() =>
          page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth])
        )
        assert.deepStrictEqual(wide, [375, 375], `${pods} pods`)
        const cut = yield* run(() =>
          page.evaluate(() =>
            [...document.querySelectorAll("#board section > *")]
              .filter((part: any) => part.getBoundingClientRect().right > 375)
              .map((part: any) => part.className)
          )
        )
        assert.deepStrictEqual(cut, [])
        assert.notInclude(yield* run(() => page.evaluate(() => getComputedStyle(document.body).backgroundColor)), "245")
        assert.deepStrictEqual(problems, [])
      }
    })
  )

  it.scoped("tells a screen reader its landmarks, tables, curves and buttons by name", () =>
    Effect.gen(function* () {
      const { port } = yield* serving()
      const { page } = yield* opened(port, { token: ADMIN })
      const nodes = yield* Browser.accessibility(page)
      const named = (role: string) => nodes.filter((node) => node.role === role).map(({ name }) => name)
      assert.includeMembers(
        named("region"),
        Panels.all.map(({ title }) => title)
      )
      assert.deepStrictEqual(named("search"), ["Filters"])
      assert.strictEqual(named("main").length, 1)
      assert.includeMembers(named("table"), [
        "The leases that were granted longest ago, the oldest first",
        "Failures by reason"
      ])
      const images = named("image")
      assert.isTrue(
        images.some((name) =>
          /^10 using, 0 in transit, 0 available, 0 not open; 17 callers wait at the gate$/.test(name)
        )
      )
      assert.isTrue(
        images.some((name) =>
          /^Wait for a connection, the last \d+ seconds\. p50: now 900 ms, highest 900 ms; p95/.test(name)
        )
      )
      assert.includeMembers(named("button"), [
        "Reset",
        "Suspend",
        "Drain",
        "Cancel the statement on connection 10 of pool orders"
      ])
      for (const role of ["button", "combobox", "textbox", "link", "table", "image", "region"]) {
        assert.notInclude(named(role), "", `a ${role} without a name`)
      }
      assert.isTrue(nodes.some(({ live, name }) => live === "polite" && name !== undefined))
    })
  )

  it.scoped("can be worked with the keyboard alone, and the focus stays where it is while the page is drawn anew", () =>
    Effect.gen(function* () {
      const { done, port } = yield* serving()
      const { page } = yield* opened(port, { token: ADMIN })
      const focused = () =>
        page.evaluate(
          () => document.activeElement!.id || document.activeElement!.textContent || document.activeElement!.tagName
        )
      const order: Array<string> = []
      for (let i = 0; i < 7; i++) {
        yield* run(() => page.keyboard.press("Tab"))
        order.push(yield* run(focused))
      }
      assert.deepStrictEqual(order, [
        "Skip to the verdict",
        "theme",
        "Sign out",
        "filter-pool",
        "filter-pod",
        "filter-role",
        "Reset"
      ])
      const events = () => page.evaluate(() => document.querySelector(".curve")!.getAttribute("aria-label"))
      const before = yield* run(events)
      yield* run(() =>
        page.waitForFunction(
          (before) => document.querySelector(".curve")!.getAttribute("aria-label") !== before,
          before
        )
      )
      assert.strictEqual(yield* run(focused), "Reset")
      yield* run(() => page.keyboard.press("Enter"))
      assert.strictEqual(yield* run(() => page.locator("dialog[open] h2").textContent()), "Reset pool orders?")
      // The first button does nothing.
      assert.strictEqual(yield* run(focused), "Leave it")
      yield* run(() => page.keyboard.press("Tab"))
      yield* run(() => page.keyboard.press("Enter"))
      yield* run(() => page.waitForSelector("dialog[open] p:has-text('It is done.')"))
      assert.deepStrictEqual(done, [{ _tag: "reset", pool: 1 }])
      yield* run(() => page.keyboard.press("Escape"))
      assert.strictEqual(yield* run(focused), "Reset")
    })
  )

  it.scoped("says that the numbers are old when no news come, and goes on when they come again", () =>
    Effect.gen(function* () {
      const news = yield* Effect.makeLatch(true)
      const { port } = yield* serving({}, Effect.zipRight(news.await, fleet(Boards.fleet(1))))
      const { page } = yield* opened(port)
      yield* run(() => page.waitForSelector(".live.on"))
      yield* news.close
      yield* run(() => page.waitForSelector(".live.off"))
      const text = yield* run(() => page.locator("#live-text").textContent())
      assert.strictEqual(text, "No news, so the numbers are old. Connecting again …")
      assert.strictEqual(yield* run(() => page.locator(".stale #board").count()), 1)
      yield* news.open
      yield* run(() => page.waitForSelector(".live.on"))
      assert.strictEqual(yield* run(() => page.locator(".stale #board").count()), 0)
    })
  )

  it.scoped("signs somebody in by its form, and out again", () =>
    Effect.gen(function* () {
      const { port } = yield* serving()
      const { page } = yield* opened(port)
      assert.strictEqual(yield* run(() => page.locator("td.text").count()), 0)
      yield* run(() => page.click("summary"))
      yield* run(() => page.fill("#token", ADMIN))
      yield* run(() => page.keyboard.press("Enter"))
      yield* run(() => page.waitForSelector("td.text code"))
      assert.include(yield* run(() => page.locator("#foot").textContent()), "You are the admin")
      yield* run(() => page.click("text=Sign out"))
      yield* run(() => page.waitForSelector("summary"))
    })
  )
})
