/**
 * Every example of the README and of the doc comments is a file in `examples`, to the letter: so the compiler checks it,
 * and it is run here.
 */
import { readdirSync, readFileSync } from "node:fs"
import { assert, describe, it, vi } from "@effect/vitest"

const root = new URL("..", import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), "utf8")

const blocks = (text: string): ReadonlyArray<string> =>
  Array.from(text.matchAll(/```ts\n([\s\S]*?)```/g), (match) => match[1]!)
const uncommented = (text: string) => text.replaceAll(/^ \*(?: |$)/gm, "")

const shown = [
  ...blocks(read("README.md")),
  ...readdirSync(new URL("src", root))
    .filter((name) => name.endsWith(".ts"))
    .flatMap((name) => blocks(uncommented(read(`src/${name}`))))
]
const examples = Object.fromEntries(
  readdirSync(new URL("test/examples", root)).map((name) => [name, read(`test/examples/${name}`)])
)

/** What each example prints. */
const prints: Readonly<Record<string, ReadonlyArray<string>>> = {
  "readme.ts": ["hello Ada\nhello Grace\nhello Edsger\nhello whoever is up\n0 leased, 0 waiting"],
  "make.ts": ["hello world"],
  "layer.ts": ["printed a page"],
  "hooks.ts": ["speaks de", "closed: drain"],
  "jittered.ts": ["a connection after 4 attempts"],
  "withPriority.ts": ["syncing"],
  "watch.ts": ["orders is open", "orders is closed"]
}

describe("examples", () => {
  it("of the README and the doc comments are the files in `examples`, each of them", () => {
    assert.sameMembers([...shown], Object.values(examples))
    assert.sameMembers(Object.keys(prints), Object.keys(examples))
  })

  for (const [name, lines] of Object.entries(prints)) {
    it(`${name} runs and prints what it should`, async () => {
      const printed: Array<string> = []
      const log = vi.spyOn(console, "log").mockImplementation((...args) => void printed.push(args.join(" ")))
      try {
        await import(`./examples/${name.replace(".ts", "")}.ts`)
        await vi.waitFor(() => assert.isAtLeast(printed.length, lines.length))
      } finally {
        log.mockRestore()
      }
      assert.strictEqual(printed.length, lines.length)
      for (const [i, line] of lines.entries()) assert.include(printed[i], line)
    })
  }
})
