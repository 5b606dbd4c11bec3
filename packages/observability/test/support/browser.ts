/** A real Chromium without a window. Pages of different tests share the program, and nothing else. */
import { Context, Effect, Layer, type Scope } from "effect"
import { type Browser, chromium, type Page } from "playwright-core"
import { chromiumPath } from "../../../../test/support/chromium.js"

export interface PageOptions {
  readonly width?: number | undefined
  readonly dark?: boolean | undefined
  /** Signs in before. */
  readonly token?: string | undefined
}

export interface Opened {
  readonly page: Page
  /** What the page has logged or thrown. */
  readonly problems: Array<string>
  /** Every address that it has asked for. */
  readonly requests: Array<string>
}

export class Chromium extends Context.Tag("test/Chromium")<Chromium, Browser>() {}

export const layer: Layer.Layer<Chromium> = Layer.scoped(
  Chromium,
  Effect.acquireRelease(
    Effect.promise(() => {
      const executablePath = chromiumPath()
      if (executablePath === undefined) throw new Error("Chromium is not installed")
      // Its sandbox refuses root, and a container has little shared memory.
      return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] })
    }),
    (browser) => Effect.promise(() => browser.close())
  )
)

/** A page of its own, with cookies of its own. */
export const open = (options: PageOptions = {}): Effect.Effect<Opened, never, Chromium | Scope.Scope> =>
  Effect.gen(function* () {
    const browser = yield* Chromium
    const { dark = false, width = 1_280 } = options
    const context = yield* Effect.acquireRelease(
      Effect.promise(() =>
        browser.newContext({ viewport: { width, height: 800 }, colorScheme: dark ? "dark" : "light" })
      ),
      (context) => Effect.promise(() => context.close())
    )
    const page = yield* Effect.promise(() => context.newPage())
    // The machine of a test may be busy: only the limit of the test itself counts.
    page.setDefaultTimeout(0)
    const problems: Array<string> = []
    const requests: Array<string> = []
    page.on("console", (line) => {
      if (["error", "warning"].includes(line.type())) problems.push(line.text())
    })
    page.on("pageerror", (error) => problems.push(error.message))
    page.on("request", (request) => requests.push(request.url()))
    return { page, problems, requests }
  })

export interface AccessibleNode {
  readonly role: string
  readonly name: string
  /** Whether changes of it are said. */
  readonly live: string | undefined
}

/** What a screen reader is given. */
export const accessibility = (page: Page): Effect.Effect<ReadonlyArray<AccessibleNode>> =>
  Effect.promise(async () => {
    const session = await page.context().newCDPSession(page)
    const { nodes } = await session.send("Accessibility.getFullAXTree")
    return nodes
      .filter(({ ignored }) => !ignored)
      .map(({ name, properties, role }) => ({
        role: String(role?.value),
        name: String(name?.value ?? ""),
        live: properties?.find(({ name }) => name === "live")?.value.value as string | undefined
      }))
  })
