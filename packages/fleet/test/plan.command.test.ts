/** The command line of `sluice plan`: what it prints, and the code it ends with. */
import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "./support/sluice.js"

const founding = ["plan", "--max-connections", "500", "--pods", "20", "--workers", "4"] as const

describe("sluice plan", () => {
  it.effect.each([
    [[], 0, 4],
    [["--surge", "1", "--unavailable", "0"], 0, 5],
    [["--extra", "cluster runner=1"], 0, 3],
    [["--terminating", "full"], 0, 3],
    [["--strategy", "recreate"], 0, 6],
    [["--max-size", "4"], 0, 4],
    [["--max-size", "6"], 2, 4],
    [["--max-size", "4", "--extra-pool", "jobs=10/pod"], 2, 1],
    [["--extra-pool", "jobs=10"], 2, 0],
    [["--rps", "400", "--hold-ms", "20"], 1, 4],
    [["--cores", "16"], 1, 4],
    [["--reserve", "10%", "--other", "bi=20", "--other", "cron=5"], 0, 3],
    [["--superuser-reserved", "100", "--reserved-connections", "50"], 0, 2],
    [["--system", "mysql", "--reserve", "0"], 0, 4]
  ] as const)("ends, with %j, with %i and recommends %i", ([more, code, recommended]) =>
    Effect.gen(function* () {
      const ran = yield* run(...founding, ...more, "--format", "json")
      expect(JSON.parse(ran.out).recommended).toBe(recommended)
      expect(ran.err).toBe("")
      expect(ran.code).toBe(code)
    })
  )

  it.effect("of two plain processes, with 10 of 100 connections kept, recommends 45", () =>
    Effect.gen(function* () {
      const { code, out } = yield* run("plan", "--max-connections", "100", "--processes", "2", "--reserve", "10")
      expect(out).toContain("maxSize 45 fits: 90 of 97 connections")
      expect(code).toBe(0)
    })
  )

  it.effect("prints tables, the backstop and the reasons as text, and how each number was found if it is asked", () =>
    Effect.gen(function* () {
      const { out } = yield* run(...founding, "--max-size", "6", "--role", "shop")
      expect(out).toMatchInlineSnapshot(`
        "sluice plan: does not fit: 720 of 497 connections at the worst moment of a deploy
        max_connections 500: 3 reserved by the server, 497 open; 485 usable when 15 are kept for operators, migrations and monitoring

        service  pods  at worst  processes  maxSize  recommended  need
        app        20        30        120        6            4  not said

        moment                    pods  processes  connections  of 497
        at rest                     20         80          480  fits
        with surge                  25        100          600  103 too many
        while old pods terminate    30        120          720  223 too many

        headroom: -235 usable connections at the worst moment

        As a backstop, the database can hold each role to its plan:
          ALTER ROLE shop CONNECTION LIMIT 480;

        error: 6 connections in each of 80 processes (20 pods × 4) are 480 at rest, 600 with surge, 720 while old pods terminate, of 497. At most 4 fit."
      `)
      const explained = yield* run(...founding, "--explain")
      expect(explained.out).toContain("app: pods at worst          30  = 20 + 5 surge + 5 terminating")
    })
  )

  it.effect("prints the plan as JSON: what is recommended, whether it fits, the table and the reasons", () =>
    Effect.gen(function* () {
      const plan = JSON.parse((yield* run(...founding, "--max-size", "6", "--format", "json")).out)
      expect(plan).toMatchObject({
        version: 1,
        recommended: 4,
        fits: false,
        verdict: "fails",
        worstCase: [
          { moment: "at rest", connections: 480, fits: true },
          { moment: "with surge", connections: 600, fits: false },
          { moment: "while old pods terminate", connections: 720, fits: false }
        ],
        reasons: [{ level: "error", code: "overcommitted" }]
      })
    })
  )

  it.effect("prints results for code scanning, whose rules are all described", () =>
    Effect.gen(function* () {
      const { runs, version } = JSON.parse((yield* run(...founding, "--max-size", "6", "--format", "sarif")).out)
      const [{ results, tool }] = runs
      expect(version).toBe("2.1.0")
      expect(results).toMatchObject([
        { ruleId: "overcommitted", level: "error", message: { text: expect.stringContaining("of 497") } }
      ])
      for (const { ruleId, ruleIndex } of results) expect(tool.driver.rules[ruleIndex].id).toBe(ruleId)
    })
  )

  it.effect("prints annotations in which nothing of a message can be a command", () =>
    Effect.gen(function* () {
      const { out } = yield* run(...founding, "--max-size", "6", "--extra", "a\n::error::b=1", "--format", "github")
      expect(out.split("\n")).toHaveLength(2)
      expect(out).toContain("(and a%0A::error::b 1)")
    })
  )

  it.effect("prints Markdown in which nothing of a name is markup", () =>
    Effect.gen(function* () {
      const { out } = yield* run(
        ...founding,
        "--max-size",
        "6",
        "--extra",
        "a|b<c>=1",
        "--format",
        "markdown",
        "--explain"
      )
      expect(out).toContain("(and a|b\\<c\\> 1)")
      expect(out).toContain("| a\\|b\\<c\\> 1 |")
    })
  )

  it.effect("fills in a checklist: what the plan has found true is ticked", () =>
    Effect.gen(function* () {
      const { code, out } = yield* run(...founding, "--max-size", "5", "--document", "checklist")
      expect(out).toContain("- [x] At rest: 400 of 497.")
      expect(out).toContain("- [ ] With surge: 500 of 497.")
      expect(out).toContain("- [ ] While old pods terminate: 600 of 497.")
      expect(out).toContain("- [ ] The configured maxSize of each service is the planned one: app 5.")
      expect(code).toBe(2)
      const loaded = yield* run(...founding, "--rps", "100", "--hold-ms", "20", "--document", "checklist")
      expect(loaded.out).toContain("- [x] Each pool has what its load needs: app 3 of 4.")
      expect(loaded.out).toContain("- [ ] It fits also if all new pods become ready in the same moment.")
    })
  )

  it.effect("fills in a decision about background jobs", () =>
    Effect.gen(function* () {
      const { out } = yield* run(...founding, "--document", "adr")
      expect(out).toContain("there would be 640 at rest, 800 with surge, 960 while old pods terminate, of 497.")
      expect(out).toContain("80 processes run at rest, 120 at the worst moment of a deploy")
      expect(out).toContain("5 usable connections are left")
    })
  )

  it.effect.each([
    ["nothing to plan", ["plan", "--max-connections", "500"], /there is nothing to plan/],
    ["no limit", ["plan", "--pods", "20"], /--max-connections is missing/],
    ["a percentage above 100", [...founding, "--surge", "130%"], /--surge must be .* and is "130%"/],
    ["a percentage below 0", [...founding, "--unavailable", "-5%"], /--unavailable must be/],
    ["a reserve that is a word", [...founding, "--reserve", "some"], /--reserve must be/],
    ["a rollout that could not begin", [...founding, "--surge", "0", "--unavailable", "0%"], /are both 0/],
    ["no pods", ["plan", "--max-connections", "500", "--pods", "0"], /--pods must be a whole number from 1/],
    [
      "too many processes",
      ["plan", "--max-connections", "500", "--pods", "1", "--workers", "2000"],
      /--workers must be/
    ],
    ["a size of 0", [...founding, "--max-size", "0"], /--max-size must be a whole number from 1 to 10000, and is 0/],
    ["a negative load", [...founding, "--rps", "-1"], /--rps must be a number above 0/],
    ["an extra without a number", [...founding, "--extra", "listen"], /--extra listen: it is written NAME=NUMBER/],
    ["pods and processes", [...founding, "--processes", "2"], /--processes and --pods contradict each other/],
    ["a name that no service has", [...founding, "--ignore", "web"], /--ignore web: no service has this name/],
    ["an option that does not exist", [...founding, "--maxsize", "4"], /--maxsize is no option/],
    ["two problems", [...founding, "--surge", "a", "--max-size", "0"], /--surge.*\n.*--max-size/]
  ] as const)("ends with 64 for %s, says why on stderr, and prints no plan", ([, args, problem]) =>
    Effect.gen(function* () {
      const { code, err, out } = yield* run(...args)
      expect(err).toMatch(problem)
      expect(out).toBe("")
      expect(code).toBe(64)
    })
  )

  it.effect("does what the README shows", () =>
    Effect.gen(function* () {
      const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8")
      const [, args, shown] = /```console\n\$ sluice (.*)\n([\s\S]*?)\n```/.exec(readme)!
      expect((yield* run(...args!.split(" "))).out).toBe(shown)
    })
  )

  it.effect("documents every exit code in its help", () =>
    Effect.gen(function* () {
      const { code, out } = yield* run("plan", "--help")
      for (const exit of [0, 1, 2, 64, 65, 66, 70, 78]) expect(out).toMatch(new RegExp(`^.*\\b${exit} {3}`, "m"))
      expect(code).toBe(0)
    })
  )
})
