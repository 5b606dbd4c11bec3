import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Top } from "@sluice/observability"
import { describe, expect, it } from "vitest"
import { asked } from "../../observability/test/support/incident.js"
import { AT } from "../../observability/test/support/reports.js"
import * as Keys from "../src/internal/keys.js"

const extent: Keys.Extent = { scrollMax: 30, page: 20 }

const key = (name: string, text = name.length === 1 ? name : ""): Keys.Pressed => ({ name, text, ctrl: false })

/** The view after some keys. */
const after = (...keys: ReadonlyArray<Keys.Pressed | string>): Keys.View | undefined =>
  keys.reduce<Keys.View | undefined>(
    (view, one) => (view === undefined ? view : Keys.press(view, typeof one === "string" ? key(one) : one, extent)),
    Keys.initial
  )

describe("the keys of sluice top", () => {
  it("q, Ctrl-C and Ctrl-D end it, the last two also while a filter is typed", () => {
    expect(after("q")).toBeUndefined()
    for (const name of ["c", "d"]) {
      expect(after({ name, text: "", ctrl: true })).toBeUndefined()
      expect(after(key("", "/"), { name, text: "", ctrl: true })).toBeUndefined()
    }
  })

  it("s goes through all orders, and comes back to the first one", () => {
    const orders = Top.sorts.map((_, i) => after(...Top.sorts.slice(0, i).map(() => "s"))!.sort)
    expect(orders).toEqual(Top.sorts)
    expect(after(...Top.sorts.map(() => "s"))!.sort).toBe(Top.sorts[0])
  })

  it("the arrows and the page keys scroll, and not past an end", () => {
    expect(after("up")!.scroll).toBe(0)
    expect(after("down", "down", "up")!.scroll).toBe(1)
    expect(after("pagedown")!.scroll).toBe(20)
    expect(after("pagedown", "pagedown")!.scroll).toBe(30)
    expect(after("end", "pageup")!.scroll).toBe(10)
    expect(after("end", "home")!.scroll).toBe(0)
  })

  it("a filter is typed after /, letters that are keys included, and corrected, kept or left", () => {
    const typed = after(key("", "/"), "q", "s", key("", "é"), key("", "注"))!
    expect([typed.filter, typed.isTyping]).toEqual(["qsé注", true])
    expect(Keys.press(typed, key("backspace"), extent)!.filter).toBe("qsé")
    const kept = Keys.press(typed, key("return"), extent)!
    expect([kept.filter, kept.isTyping]).toEqual(["qsé注", false])
    expect(Keys.press(kept, key("escape"), extent)!.filter).toBe("")
    expect(Keys.press(typed, key("escape"), extent)).toEqual(Keys.initial)
  })

  it("what is pasted while a filter is typed cannot do anything to the terminal, and has an end", () => {
    expect(after(key("", "/"), key("", "\u001b[2J"))!.filter).toBe("")
    const many = Array.from({ length: 1_000 }, () => key("x"))
    expect(after(key("", "/"), ...many)!.filter.length).toBeLessThan(100)
  })

  it("others do nothing", () => {
    for (const name of ["x", "tab", "f5", "left"]) expect(after(name)).toEqual(Keys.initial)
  })
})

describe("the README", () => {
  it("shows the screen of 80 by 24 as it is drawn", () => {
    const readme = readFileSync(join(import.meta.dirname, "../README.md"), "utf8")
    const picture = /<!-- the screen of an incident -->\n+```text\n([\s\S]*?)\n```/.exec(readme)?.[1]
    const { lines } = Top.draw({
      pods: asked,
      at: AT,
      columns: 80,
      rows: 24,
      colour: false,
      footer: Keys.footer(Keys.initial)
    })
    expect(picture).toBe(lines.join("\n"))
  })
})
