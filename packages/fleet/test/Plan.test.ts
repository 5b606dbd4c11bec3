import { readFileSync } from "node:fs"
import { describe, expect, it, vi } from "@effect/vitest"
import { Plan, type PlanInput, type PlanReport } from "@sluice/fleet"
import { Either } from "effect"

const database: PlanInput.Database = { maxConnections: 500 }
const web: PlanInput.Service = { name: "web", pods: 20, processes: 4 }
const careful = { surge: 1, unavailable: 0 } as const

const planOf = (service: PlanInput.Service, ...others: ReadonlyArray<PlanInput.Service>) =>
  Plan.plan({ database, services: [service, ...others] })

const connections = ({ worstCase }: PlanReport.PlanReport) => worstCase.map(({ connections }) => connections)
const codes = ({ reasons }: PlanReport.PlanReport) => reasons.map(({ code, level }) => `${level} ${code}`)
const errorOf = ({ reasons }: PlanReport.PlanReport) => reasons.find(({ level }) => level === "error")?.message

describe("500 connections, 20 pods of 4 processes", () => {
  it("give 4 to each pool at the default rollout", () => {
    const plan = planOf(web)
    expect(plan.recommended).toBe(4)
    expect(plan.verdict).toBe("fits")
    expect(plan.limits).toMatchObject({ open: 497, kept: 15, usable: 485 })
    expect(connections(plan)).toEqual([320, 400, 480])
    expect(Plan.exitCode(plan)).toBe(0)
  })

  it("give 5 if one pod is added at a time and none may be missing", () => {
    expect(planOf({ ...web, ...careful }).recommended).toBe(5)
  })

  it("give 3, or 4 with the careful rollout, if each process also runs a cluster runner that keeps a connection", () => {
    const extras = { "cluster runner": 1 }
    expect(planOf({ ...web, extras }).recommended).toBe(3)
    expect(planOf({ ...web, ...careful, extras }).recommended).toBe(4)
  })

  it("do not give 6, which fits at rest alone", () => {
    const plan = planOf({ ...web, maxSize: 6 })
    expect(connections(plan)).toEqual([480, 600, 720])
    expect(plan.worstCase.map(({ fits }) => fits)).toEqual([true, false, false])
    expect(plan).toMatchObject({ fits: false, verdict: "fails", recommended: 4, headroom: 485 - 720 })
    expect(errorOf(plan)).toBe(
      "6 connections in each of 80 processes (20 pods × 4) are 480 at rest, 600 with surge, 720 while old pods terminate, of 497. At most 4 fit."
    )
    expect(Plan.exitCode(plan)).toBe(2)
  })

  it.each(["pod", "process"] as const)("have no place for a second pool of 10 in each %s", (each) => {
    const plan = planOf({ ...web, maxSize: 4, pools: [{ name: "jobs", maxSize: 10, each }] })
    expect(plan.fits).toBe(false)
    expect(errorOf(plan)).toMatch(/^4 connections \(and jobs 10/)
    expect(plan.worstCase[0]!.fits).toBe(false)
  })

  it("tell what happens if all new pods become ready in the same moment, and plan for it if they are told to", () => {
    const [note] = planOf(web).reasons
    expect(note).toMatchObject({ level: "note", code: "ready-together" })
    expect(note!.message).toContain("35 pods have connections: 560, of 497")
    expect(note!.message).toContain("then 3 fit")
    const plan = planOf({ ...web, terminating: "together" })
    expect(plan.recommended).toBe(3)
    expect(codes(plan)).toEqual([])
  })
})

describe("what is kept from the services", () => {
  it("counts what the server itself reserves: 100 connections, 2 processes, 10 kept give 45", () => {
    const services = [{ name: "app", pods: 2, strategy: "recreate" }] as const
    for (const system of ["postgresql", "mysql"] as const) {
      const plan = Plan.plan({ database: { system, maxConnections: 100, reserve: 10 }, services })
      expect(plan.recommended).toBe(45)
      expect(plan.verdict).toBe("fits")
    }
  })

  it.each([
    [{ maxConnections: 500 }, 15],
    [{ maxConnections: 20 }, 5],
    [{ maxConnections: 20, reserve: "3%" }, 5],
    [{ maxConnections: 20, reserve: 0 }, 3],
    [{ maxConnections: 20, reserve: 4 }, 4],
    [{ maxConnections: 500, superuserReserved: 10, reservedConnections: 20 }, 30],
    [{ maxConnections: 50, reserve: 0, system: "mysql" }, 0]
  ] as const)("is, for %j, %i", (database, kept) => {
    expect(Plan.plan({ database, services: [web] }).limits.kept).toBe(kept)
  })

  it("may be used by a size that is given, with a warning", () => {
    const plan = Plan.plan({
      database: { maxConnections: 100 },
      services: [{ name: "app", pods: 1, strategy: "recreate", maxSize: 96 }]
    })
    expect(codes(plan)).toEqual(["warning reserve-used"])
    expect(plan).toMatchObject({ fits: true, headroom: -1 })
    expect(Plan.exitCode(plan)).toBe(1)
  })
})

describe("services that share a database", () => {
  it("share what is usable by their weight, at the worst moment of all of them", () => {
    const plan = planOf({ ...web, ...careful, weight: 2 }, { name: "jobs", pods: 2, strategy: "recreate" })
    // 485 / (84 × 2 + 2)
    expect(plan.services.map(({ name, recommended }) => [name, recommended])).toEqual([
      ["web", 4],
      ["jobs", 2]
    ])
    expect(connections(plan)).toEqual([324, 340, 356])
  })

  it("leave to the others what a service has whose size is given", () => {
    const plan = planOf({ ...web, ...careful, maxSize: 5 }, { name: "jobs", pods: 2, strategy: "recreate" })
    expect(plan.services.map(({ isGiven, maxSize }) => [maxSize, isGiven])).toEqual([
      [5, true],
      [22, false]
    ])
    expect(plan.verdict).toBe("fits")
  })

  it("say which sizes would fit if theirs do not", () => {
    const plan = planOf({ ...web, maxSize: 6 }, { name: "jobs", pods: 2, strategy: "recreate", maxSize: 1 })
    expect(errorOf(plan)).toBe(
      "the services together open 482 at rest, 602 with surge, 722 while old pods terminate, of 497. What fits: web 3, jobs 1."
    )
  })

  it("have a limit of connections for each role, which the database keeps", () => {
    const plan = planOf(
      { ...web, maxSize: 4, role: "web" },
      { name: "jobs", pods: 1, strategy: "recreate", maxSize: 5, role: "Job's" }
    )
    expect(plan.connectionLimits.map(({ statement }) => statement)).toEqual([
      "ALTER ROLE web CONNECTION LIMIT 480;",
      `ALTER ROLE "Job's" CONNECTION LIMIT 5;`
    ])
    const mysql = Plan.plan({ database: { ...database, system: "mysql" }, services: [{ ...web, role: "Job's" }] })
    expect(mysql.connectionLimits[0]!.statement).toBe("ALTER USER 'Job''s' WITH MAX_USER_CONNECTIONS 480;")
  })
})

describe("a plan warns", () => {
  it("of a pool that is smaller than its load needs", () => {
    const plan = planOf({ ...web, requestsPerSecond: 200, holdMs: 20 })
    expect(plan.services[0]!.need).toBe(6)
    expect(codes(plan)).toContain("warning below-need")
    expect(planOf({ ...web, requestsPerSecond: 100, holdMs: 20 }).verdict).toBe("fits")
  })

  it("of a single connection", () => {
    expect(codes(planOf({ ...web, pods: 80, terminating: "none" }))).toEqual(["warning single"])
  })

  it("of more connections than the cores of the database can work for", () => {
    const at = (cores: number) => Plan.plan({ database: { ...database, cores }, services: [web] }).verdict
    expect(at(80)).toBe("fits")
    expect(at(79)).toBe("warning")
  })

  it("of nothing else if no size fits at all", () => {
    const plan = planOf({ ...web, pods: 200 })
    expect(plan).toMatchObject({ recommended: 0, fits: false, connectionLimits: [] })
    expect(codes(plan)).toEqual(["error no-size-fits"])
  })
})

describe("a plan explains", () => {
  it("every number, in the order of the arithmetic", () => {
    expect(planOf(web).steps.map(({ how, name, value }) => `${name}: ${value} = ${how}`)).toMatchInlineSnapshot(`
      [
        "max_connections: 500 = the server's limit",
        "reserved by the server: 3 = superuser_reserved_connections + reserved_connections",
        "kept: 15 = the larger of 15 (3% of 500, at least 5) and the 3 of the server",
        "open: 497 = 500 − 3 − 0: what the server would give",
        "usable: 485 = 500 − 15 − 0: what the services may have",
        "web: surge: 5 = 25% of 20 pods, rounded up",
        "web: unavailable: 5 = 25% of 20 pods, rounded down",
        "web: pods at worst: 30 = 20 + 5 surge + 5 terminating: those of the first wave (5), or one for each new pod that is ready",
        "web: processes at worst: 120 = 30 pods × 4",
        "web: connections at worst: 480 = 120 × (4 + 0)",
        "recommended maxSize: 4 = ⌊(485 − 0) / 120⌋, for weight 1",
        "connections at worst: 480 = 320 at rest, 400 with surge, 480 while old pods terminate, of 497",
      ]
    `)
  })
})

describe("an input that nobody has checked", () => {
  const problems = (input: unknown) =>
    Either.match(Plan.make(input), { onLeft: (error) => error.problems, onRight: () => [] })

  it("is planned if it is right", () => {
    expect(Either.map(Plan.make({ database, services: [web] }), ({ recommended }) => recommended)).toEqual(
      Either.right(4)
    )
  })

  it.each([
    [{ surge: "101%" }, /^services\[0\]\.surge must be .*"100%", and is "101%"$/],
    [{ unavailable: "130%" }, /^services\[0\]\.unavailable must be/],
    [{ surge: "-5%" }, /^services\[0\]\.surge must be/],
    [{ surge: 0, unavailable: "0%" }, /are both 0: a rollout could not begin$/],
    [{ pods: 0 }, /^services\[0\]\.pods must be a whole number from 1 to 100000, and is 0$/],
    [{ pods: 2.5 }, /and is 2\.5$/],
    [{ pods: Number.NaN }, /and is NaN$/],
    [{ pods: "20" }, /and is "20"$/],
    [{ maxSize: 0 }, /^services\[0\]\.maxSize must be/],
    [{ maxsize: 4 }, /^services\[0\]\.maxsize is no option here: did you mean maxSize\?$/],
    [{ holdMs: 0 }, /^services\[0\]\.holdMs must be a number above 0/],
    [{ strategy: "blue-green" }, /^services\[0\]\.strategy must be one of rolling, recreate, and is "blue-green"$/],
    [{ pools: [{ name: "jobs" }] }, /^services\[0\]\.pools\[0\]\.maxSize is missing$/],
    [{ pools: {} }, /^services\[0\]\.pools must be a list, and is an object$/]
  ])("is refused with %j", (wrong, problem) => {
    const found = problems({ database, services: [{ ...web, ...wrong }] })
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(problem)
  })

  it("is refused with all of its problems at once", () => {
    expect(problems({ services: [web, { ...web, pods: -1 }], databas: 1 })).toEqual([
      "databas is no option here: did you mean database?",
      "database is missing",
      "services[1].pods must be a whole number from 1 to 100000, and is -1"
    ])
    expect(problems({ database, services: [web, web] })).toEqual(['services[1].name is "web", as of another one'])
    expect(problems(4)).toEqual(["the input must be an object, and is 4"])
    expect(problems({ database, services: [] })).toHaveLength(1)
  })
})

describe("the example", () => {
  const example = readFileSync(new URL("examples/plan.ts", import.meta.url), "utf8")

  it("of the doc comment is the file, to the letter", () => {
    const source = readFileSync(new URL("../src/Plan.ts", import.meta.url), "utf8").replaceAll(/^ \*(?: |$)/gm, "")
    expect(/```ts\n([\s\S]*?)```/.exec(source)![1]).toBe(example)
  })

  it("prints what it says", async () => {
    const log = vi.spyOn(console, "log").mockImplementation(() => {})
    await import("./examples/plan.js")
    const printed = log.mock.calls.map((args) => args.join(" "))
    log.mockRestore()
    expect(printed).toEqual([...example.matchAll(/^\/\/ (.*)$/gm)].map(([, line]) => line))
  })
})
