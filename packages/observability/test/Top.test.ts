import { Panels, type Pods, type Report, Top } from "@sluice/observability"
import stringWidth from "string-width"
import { describe, expect, it } from "vitest"
import * as text from "../src/internal/top/text.js"
import { asked, reports } from "./support/incident.js"
import { AT, database, holder, of, pool, report } from "./support/reports.js"

const screen = (changes: Partial<Top.Screen> = {}): Top.Screen => ({
  pods: asked,
  at: AT,
  columns: 80,
  rows: 24,
  colour: false,
  ...changes
})

const lines = (changes: Partial<Top.Screen> = {}): ReadonlyArray<string> => Top.draw(screen(changes)).lines

const whole = (changes: Partial<Top.Screen> = {}): ReadonlyArray<string> => lines({ rows: undefined, ...changes })

const answered = (report: Report.Report): Pods.Pod => ({
  url: `http://${report.pod}:9470`,
  report,
  ageMs: 100,
  error: undefined
})

/** The same reports with another text in the place of each. */
const withTexts = <A>(value: A, change: (text: string) => string): A => {
  if (typeof value === "string") return change(value) as A
  if (Array.isArray(value)) return value.map((one) => withTexts(one, change)) as A
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [change(name), withTexts(one, change)])) as A
}

/** Names that the reports are free to choose. The others are words of ours, which no code of ours would look up under another name. */
const chosen = ["pod", "name", "endpoint", "span", "activity", "message", "error", "url"]

const withNames = (pods: ReadonlyArray<Pods.Pod>, change: (text: string) => string): ReadonlyArray<Pods.Pod> => {
  const inside = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(inside)
    if (typeof value !== "object" || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([name, one]) => [
        name,
        name === "errors" || name === "acquireFailures"
          ? withTexts(one, change)
          : chosen.includes(name) && typeof one === "string"
            ? change(one)
            : inside(one)
      ])
    )
  }
  return inside(pods) as ReadonlyArray<Pods.Pod>
}

describe("a screen", () => {
  it("has the panels of every board, with their titles and in their order, and begins with the verdict", () => {
    const drawn = whole({ columns: 120 })
    expect(drawn[0]).toMatch(/^Connection Pool Health {2}3 of 4 pods answer +12:00:00 UTC$/)
    expect(drawn[1]).toMatch(/^CRITICAL Slow statements/)
    const titles = Panels.all.filter(({ id }) => id !== "verdict").map(({ title }) => title)
    const places = titles.map((title) => drawn.findIndex((line) => line.startsWith(`${title}   `)))
    expect(places).not.toContain(-1)
    expect(places).toEqual([...places].sort((a, b) => a - b))
  })

  it("of 80 by 24 says what is wrong, what helps, who waits, who holds the connections, and which pods are worst", () => {
    const drawn = lines()
    expect(drawn).toHaveLength(24)
    expect(drawn.slice(1, 6).join(" ")).toMatch(/12 callers wait, .* → Find the statements among the longest leases/)
    expect(drawn.join("\n")).toContain("size 63 of max 90")
    expect(drawn.join("\n")).toContain("█ using 57   ▒ available 6   ░ not open 27   waiting 17 ▲")
    expect(drawn.join("\n")).toContain("oldest wait 2.3 s ▲   p50 12 ms   p95 340 ms   p99 1.9 s")
    expect(drawn.join("\n")).toMatch(/4\.2 s {2}shop-7d9f-a1 orders #1 {2}in span checkout/)
    expect(drawn.join("\n")).toMatch(/shop-7d9f-d4:9470 {2}does not answer ▲ {2}it cannot be reached/)
    expect(drawn.join("\n")).toMatch(/shop-7d9f-a1 +█+▒+░+ +22 of 30 using {2}12 waiting ▲/)
    expect(drawn.join("\n")).toContain("with 28 nobody would have waited (now 20)")
  })

  it("shows more when it is larger", () => {
    const small = lines()
    const large = lines({ columns: 120, rows: 60 })
    expect(large.join("\n")).toMatch(/replica {2}db-2:5432\/pay {2}too far behind ▲ {2}12 s behind/)
    expect(small.join("\n")).not.toContain("db-2:5432/pay")
    // What is left out is said.
    expect(small.join("\n")).toMatch(/Servers .* 2 more/)
    expect(large.filter((line) => line.includes(" in span ")).length).toBeGreaterThan(
      small.filter((line) => line.includes(" in span ")).length
    )
  })

  it("is never larger than the terminal, whatever its size, and whatever is written in the reports", () => {
    const wide = withNames(asked, (name) => `注文-👩‍👩‍👧-${name}-Ünïcode-${"é".repeat(3)}`)
    for (const pods of [asked, wide, []]) {
      for (const columns of [1, 20, 40, 60, 80, 300]) {
        for (const rows of pods === wide ? [24] : [1, 2, 5, 13, 24, 200]) {
          const drawn = lines({ pods, columns, rows, footer: "q quit", status: "paused" })
          expect(drawn.length).toBeLessThanOrEqual(rows)
          for (const line of drawn) expect(stringWidth(line)).toBeLessThanOrEqual(Math.max(20, columns))
        }
      }
    }
  })

  it("is usable on 40 columns: bars, numbers and marks are there, and the ends of the names, which tell pods apart", () => {
    const drawn = lines({ columns: 40 })
    expect(drawn.find((line) => line.includes("22/30  +12 ▲"))).toMatch(/a1 {2}█+▒+░+ {2}22\/30 {2}\+12 ▲$/)
    const long = withNames(asked, (name) => name.replace("shop", "shop-of-the-whole-world"))
    expect(lines({ pods: long, columns: 40 }).join("\n")).toMatch(/^ {2}shop…\S*-b2 {2}█/m)
  })

  it("keeps its footer in the last line", () => {
    const calm = [answered(of())]
    expect(lines({ footer: "q quit" }).at(-1)).toBe("q quit")
    const drawn = lines({ pods: calm, rows: 50, footer: "q quit" })
    expect(drawn).toHaveLength(50)
    expect(drawn.at(-1)).toBe("q quit")
    expect(drawn[1]).toMatch(/^OK All is well/)
  })

  it("says what it does not know", () => {
    expect(whole({ pods: [] }).join("\n")).toMatch(/no pool is known/)
    const drawn = whole({ pods: [answered(of({ holders: [] }))] }).join("\n")
    expect(drawn).toContain("Longest leases   nothing is leased")
    expect(drawn).toContain("Connections of the server   nobody has asked it")
    expect(drawn).toContain("Another maxSize   too little was recorded")
    expect(drawn).toContain("Errors   none in the last minute")
  })

  it("of one pod and one pool names neither of them in each line", () => {
    const drawn = whole({ pods: [answered(of({ holders: [holder("forgotten", 70_000)] }, "pod-9"))] })
    expect(drawn.join("\n")).toMatch(/70 s {2}orders #1 {2}nothing is done with it/)
    expect(drawn.filter((line) => line.includes("pod-9"))).toHaveLength(1)
  })
})

describe("colours", () => {
  it("are not there without being asked for", () => {
    expect(whole().join("")).not.toContain("\u001b")
  })

  it("tell nothing that the text does not tell", () => {
    const coloured = whole({ colour: true })
    expect(coloured.join("")).toContain("\u001b[1;31m")
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what is left out is the codes of colours.
    expect(coloured.map((line) => line.replaceAll(/\u001b\[[\d;]*m/g, "").trimEnd())).toEqual(whole())
  })
})

describe("texts of other machines", () => {
  const attacks = {
    "clears the screen": "\u001b[2J\u001b[H",
    "writes to the clipboard": "\u001b]52;c;ZXZpbA==\u0007",
    "sets the title and asks for it": "\u001b]0;evil\u0007\u001b[21t",
    "uses the short forms of the codes": "\u009b2J\u009d0;evil\u009c",
    "moves the cursor": "a\rb\bc\nd\u000be\u000cf\u0085g\u2028h",
    "shows its text in another order": "\u202egnp.exe\u2066",
    "hides its text": "a\u200bb\u00adc\ufeffd\u{e0001}e",
    "is half of a character": "\ud83d"
  }

  for (const [what, attack] of Object.entries(attacks)) {
    it(`cannot do anything to the terminal: a name that ${what}`, () => {
      const pods = withNames(asked, (name) => `${name.slice(0, 3)}${attack}${name.slice(3)}`)
      const clean = whole()
      for (const drawn of [whole({ pods }), whole({ pods, columns: 400 }), lines({ pods, filter: attack })]) {
        expect(drawn.join("")).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u)
      }
      // The names are still there.
      expect(whole({ pods, columns: 400 }).join("\n")).toMatch(/sho.*p-7d9f-a1/)
      expect(clean.join("")).not.toContain("�")
    })
  }

  it("have no code in them when there are colours, either", () => {
    const pods = withNames(asked, (name) => `${name}\u001b[31m\u001b]0;evil\u0007`)
    for (const line of whole({ pods, colour: true })) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the codes of the colours are ours.
      expect(line.replaceAll(/\u001b\[(?:0|1|2|7|32|33|1;31)m/g, "")).not.toMatch(/\p{Cc}/u)
    }
  })
})

describe("the pods", () => {
  const rowsOf = (drawn: ReadonlyArray<string>): ReadonlyArray<string> =>
    drawn.flatMap((line) => /^ {2}(shop-\S+) .*(?: of \d+ using|answer)/.exec(line)?.[1] ?? [])

  const pods = [...asked].reverse()

  it("that do not answer come first, the others by what is asked for", () => {
    const silent = "shop-7d9f-d4:9470"
    const [a, b, c] = reports.map(({ pod }) => pod)
    expect(rowsOf(whole({ pods }))).toEqual([silent, a, b, c])
    expect(rowsOf(whole({ pods, sort: "waiting" }))).toEqual([silent, a, b, c])
    expect(rowsOf(whole({ pods, sort: "p95" }))).toEqual([silent, a, b, c])
    const renamed = withNames(pods, (name) => name.replace("-a1", "-z1"))
    expect(rowsOf(whole({ pods: renamed, sort: "name" }))).toEqual([silent, b, c, "shop-7d9f-z1"])
    expect(rowsOf(whole({ pods: renamed }))).toEqual([silent, "shop-7d9f-z1", b, c])
  })

  it("that have answered before are shown as they were, with the age of their last report", () => {
    const [first] = reports
    const pods = [{ url: "http://10.0.0.1:9470", report: first, ageMs: 75_000, error: "timeout" }]
    const drawn = whole({ pods, columns: 120 }).join("\n")
    expect(drawn).toMatch(/shop-7d9f-a1 {2}does not answer ▲ {2}\(last report 75 s ago\) {2}timeout/)
    expect(drawn).toMatch(/0 of 1 pods answer/)
    expect(drawn).toMatch(/22 of 30 using/)
  })

  it("can be filtered by their names, and pools by theirs", () => {
    expect(rowsOf(whole({ filter: "-B2" }))).toEqual(["shop-7d9f-b2"])
    expect(whole({ filter: "-B2" })[0]).toContain("filter: -B2")
    const drawn = whole({ filter: "read 1" })
    expect(drawn.join("\n")).toContain("size 12 of max 30")
    expect(whole({ filter: "no such name" }).join("\n")).toContain("no pool is known")
  })

  it("do not tell their addresses before they have answered, except the host", () => {
    const pods = [
      { url: "http://me:secret@pod-1:9470/stats.json?token=secret", report: undefined, ageMs: 0, error: "no" }
    ]
    expect(whole({ pods }).join("\n")).not.toContain("secret")
    expect(whole({ pods }).join("\n")).toContain("  pod-1:9470  does not answer")
  })
})

describe("a screen that is scrolled", () => {
  it("shows every line of the whole board in turn, and ends at the last one", () => {
    const rows = 15
    const all = whole({ columns: 100 })
    const { scrollMax } = Top.draw(screen({ columns: 100, rows }))
    expect(scrollMax).toBe(all.length - rows)
    const seen = Array.from({ length: scrollMax }, (_, i) => lines({ columns: 100, rows, scroll: i + 1 }))
    expect([all[0], all[1], ...seen.map((window) => window[1]), ...seen.at(-1)!.slice(2)]).toEqual(all)
    expect(lines({ columns: 100, rows, scroll: 10_000 })).toEqual(seen.at(-1))
  })

  it("that shows everything cannot be scrolled", () => {
    const drawn = Top.draw(screen({ rows: 300, scroll: 5 }))
    expect(drawn.scrollMax).toBe(0)
    expect(drawn.lines).toEqual(whole())
  })
})

describe("the servers", () => {
  it("are one line each, whoever speaks of them, with the greatest lag and the worst state", () => {
    const other = (changes: Partial<Report.PoolReport>, pod: string) =>
      answered(
        report([database([pool(), pool({ name: "r", endpoint: "db-2:5432/pay", role: "replica", ...changes })])], {
          pod
        })
      )
    const drawn = whole({ pods: [other({ lagMs: 10 }, "a"), other({ lagMs: 2_000, isUp: false }, "b")], columns: 100 })
    expect(drawn.filter((line) => line.includes("db-2:5432/pay  "))).toEqual([
      "  replica  db-2:5432/pay  down ▲  2 s behind"
    ])
    expect(drawn.join("\n")).toContain("Servers   1 primary, 1 replica, 1 down ▲")
  })

  it("say how many connections they have beside ours", () => {
    expect(whole({ columns: 120 }).join("\n")).toContain(
      "Connections of the server   ours 51 of 71   71 % of 100   at work 50   idle in transaction 3"
    )
  })
})

describe("a bar", () => {
  const drawn = (used: number, idle: number, whole: number, columns: number): string =>
    text
      .bar(
        [
          { size: used, char: "#", style: "plain" },
          { size: idle, char: "-", style: "plain" },
          { size: Math.max(0, whole - used - idle), char: ".", style: "plain" }
        ],
        whole,
        columns
      )
      .map((piece) => piece.text)
      .join("")

  it("has a column for each connection where there is room", () => {
    expect(drawn(2, 1, 5, 40)).toBe("##-..")
    expect(drawn(0, 0, 3, 40)).toBe("...")
    expect(drawn(5, 0, 5, 40)).toBe("#####")
  })

  it("shows everything that is not 0, and nothing as full that is not", () => {
    for (const whole of [1, 2, 3, 7, 10, 99, 100, 1_000]) {
      for (const columns of [3, 4, 10, 40]) {
        for (let used = 0; used <= whole; used += Math.ceil(whole / 20)) {
          for (const idle of [0, 1, whole - used].filter((n) => n <= whole - used)) {
            const bar = drawn(used, idle, whole, columns)
            expect(bar).toHaveLength(Math.min(whole, columns))
            expect(bar.includes("#"), `${used} ${idle} ${whole} ${columns}: ${bar}`).toBe(used > 0)
            expect(bar.includes("-"), `${used} ${idle} ${whole} ${columns}: ${bar}`).toBe(idle > 0)
            expect(bar.includes("."), `${used} ${idle} ${whole} ${columns}: ${bar}`).toBe(used + idle < whole)
          }
        }
      }
    }
  })

  it("of more than there may be is full", () => {
    expect(drawn(12, 0, 10, 5)).toBe("#####")
    expect(drawn(0, 0, 0, 5)).toBe("")
  })
})
