/** What `sluice plan` makes of deployment files, and how it refuses those that it cannot plan. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import type { PlanReport } from "@sluice/fleet"
import { Effect } from "effect"
import { run } from "./support/sluice.js"

const fixture = (name: string): string => join(import.meta.dirname, "fixtures", name)

const home = mkdtempSync(join(tmpdir(), "sluice-plan-"))
afterAll(() => rmSync(home, { recursive: true, force: true }))

let files = 0
/** A file with this text. */
const written = (text: string, name = `${files++}.yaml`): string => {
  const path = join(home, name)
  writeFileSync(path, text)
  return path
}

const planned = (...args: ReadonlyArray<string>) =>
  Effect.map(run("plan", ...args, "--format", "json"), ({ err, out }): PlanReport.PlanReport => {
    expect(err).toBe("")
    return JSON.parse(out)
  })

const services = ({ services }: PlanReport.PlanReport) =>
  services.map(
    ({ name, pods, processesPerPod }) => `${name}: ${pods.atRest}, at worst ${pods.worst}, × ${processesPerPod}`
  )

const notes = ({ reasons }: PlanReport.PlanReport) =>
  reasons.filter(({ code }) => code === "not-counted").map(({ message }) => message.split(":")[0])

const deployment = (spec: string, kind = "Deployment"): string =>
  `apiVersion: apps/v1\nkind: ${kind}\nmetadata:\n  name: web\nspec:\n${spec.replaceAll(/^/gm, "  ")}\n`

const hpa = (spec: string): string =>
  `apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: { name: web }\nspec:\n  scaleTargetRef: { kind: Deployment, name: web }\n${spec.replaceAll(/^/gm, "  ")}\n`

const atMost500 = ["--max-connections", "500"] as const

describe("Kubernetes manifests", () => {
  it.effect("of a rendered chart give the same 4 as the flags, and say what was left out", () =>
    Effect.gen(function* () {
      const plan = yield* planned(fixture("chart.yaml"), ...atMost500)
      expect(plan.recommended).toBe(4)
      expect(services(plan)).toEqual(["shop: 20, at worst 30, × 4"])
      expect(plan.services[0]!.source).toEqual({ file: fixture("chart.yaml"), line: 38 })
      expect(notes(plan)).toEqual(['CronJob "shop-nightly" is not counted', "live-redis-master is not counted"])
      const judged = yield* run("plan", fixture("chart.yaml"), ...atMost500, "--max-size", "6")
      expect(judged.code).toBe(2)
      expect(judged.out).toContain("480 at rest, 600 with surge, 720 while old pods terminate, of 497. At most 4 fit.")
    })
  )

  it.effect("are counted by their autoscaler, strategy and annotations", () =>
    Effect.gen(function* () {
      const plan = yield* planned(fixture("workers.yaml"), ...atMost500)
      expect(services(plan)).toEqual([
        "mailer: 12, at worst 14, × 2",
        "ledger: 3, at worst 3, × 1",
        "exports: 2, at worst 2, × 3"
      ])
      expect(plan.services.map(({ isGiven }) => isGiven)).toEqual([true, false, false])
    })
  )

  it.effect("may have their autoscaler in another file", () =>
    Effect.gen(function* () {
      const files = [written(hpa("maxReplicas: 40")), written(deployment("replicas: 20"))]
      expect(services(yield* planned(...files, ...atMost500))).toEqual(["web: 40, at worst 60, × 1"])
    })
  )

  it.effect.each([
    ["say nothing of it", "{}", 30],
    ["write the default of the grace period", "terminationGracePeriodSeconds: 30", 30],
    ["take longer to end than new ones to be ready", "terminationGracePeriodSeconds: 60", 40],
    [
      "end before new ones are ready",
      "terminationGracePeriodSeconds: 60\ncontainers:\n  - readinessProbe: { initialDelaySeconds: 90 }",
      30
    ]
  ] as const)("whose pods %s are planned so", ([, pod, worst]) =>
    Effect.gen(function* () {
      const spec = `replicas: 20\ntemplate:\n  spec:\n${pod.replaceAll(/^/gm, "    ")}`
      expect((yield* planned(written(deployment(spec)), ...atMost500)).services[0]!.pods.worst).toBe(worst)
    })
  )

  it.effect("of one name in two namespaces are two services", () =>
    Effect.gen(function* () {
      const file = written(
        ["eu", "us"]
          .map((region) => deployment("replicas: 4").replace("name: web", `name: web\n  namespace: ${region}`))
          .join("---\n")
      )
      expect(services(yield* planned(file, ...atMost500))).toEqual([
        "web: 4, at worst 6, × 1",
        "us/web: 4, at worst 6, × 1"
      ])
    })
  )
})

describe("a sluice.yaml", () => {
  it.effect("adds to deployment files what they do not say, takes services out, and has its own", () =>
    Effect.gen(function* () {
      const plan = yield* planned(fixture("chart.yaml"), fixture("workers.yaml"), fixture("sluice.yaml"))
      expect(plan.services.map(({ maxSize, name, need, weight }) => [name, weight, maxSize, need])).toEqual([
        ["shop", 1, 2, 2],
        ["mailer", 2, 3, undefined],
        ["ledger", 1, 2, undefined],
        ["backoffice", 1, 2, undefined]
      ])
      expect(plan.limits).toMatchObject({ kept: 25, others: 20, open: 477, usable: 455 })
      expect(plan.connectionLimits.map(({ limit, role }) => [role, limit])).toEqual([
        ["shop", 240],
        ["mailer", 84],
        [undefined, 6],
        ["backoffice", 12]
      ])
    })
  )

  it.effect("of the README is one", () =>
    Effect.gen(function* () {
      const readme = readFileSync(join(import.meta.dirname, "../README.md"), "utf8")
      const [, shown] = /```yaml\n(# sluice\.yaml\n[\s\S]*?)```/.exec(readme)!
      const deployed = join(import.meta.dirname, "../examples/deploy/shop.yaml")
      const plan = yield* planned(deployed, written(shown!, "sluice.yaml"))
      expect(services(plan)).toEqual(["shop: 20, at worst 30, × 4"])
      expect(plan).toMatchObject({ recommended: 2, verdict: "warning", limits: { others: 20 } })
    })
  )

  it.effect("is overridden by flags, which hold for every service", () =>
    Effect.gen(function* () {
      const plan = yield* planned(
        fixture("workers.yaml"),
        fixture("sluice.yaml"),
        "--ignore",
        "backoffice",
        "--ignore",
        "shop",
        "--workers",
        "1",
        "--max-connections",
        "300"
      )
      expect(services(plan)).toEqual(["mailer: 12, at worst 14, × 1", "ledger: 3, at worst 3, × 1"])
      expect(plan.limits.maxConnections).toBe(300)
    })
  )

  it.effect("that names a service says that it uses the database, whatever its image is", () =>
    Effect.gen(function* () {
      const named = written("services: { cache: { pods: 3, strategy: recreate } }", "sluice.yaml")
      const plan = yield* planned(fixture("compose.yaml"), named, "--max-connections", "200")
      expect(services(plan)).toContain("cache: 3, at worst 3, × 1")
    })
  )
})

describe("Compose files", () => {
  it.effect("are counted by their replicas and by the order of their updates; later ones override earlier ones", () =>
    Effect.gen(function* () {
      const plan = yield* planned(fixture("compose.yaml"), fixture("compose.override.yaml"), "--max-connections", "200")
      expect(services(plan)).toEqual([
        "web: 6, at worst 9, × 2",
        "worker: 2, at worst 2, × 3",
        "scheduler: 1, at worst 1, × 2"
      ])
      expect(plan.services.map(({ isGiven, maxSize }) => isGiven && maxSize)).toEqual([false, 3, false])
      expect(notes(plan)).toEqual(["db is not counted", "cache is not counted"])
    })
  )
})

describe("PM2 ecosystem files", () => {
  it.effect("are run if they are programs; in cluster mode two instances at once are reloaded", () =>
    Effect.gen(function* () {
      const plan = yield* planned(fixture("ecosystem.config.cjs"), "--max-connections", "200")
      expect(services(plan)).toEqual([
        "api: 8, at worst 10, × 1",
        "jobs: 1, at worst 1, × 1",
        "socket: 2, at worst 4, × 1"
      ])
    })
  )

  it.effect("whose instances depend on the machine are planned if somebody says how many there are", () =>
    Effect.gen(function* () {
      const counted = written("services: { api: { pods: 16 } }", "sluice.yml")
      const plan = yield* planned(fixture("ecosystem.json"), counted, "--max-connections", "200")
      expect(services(plan)).toEqual(["api: 16, at worst 18, × 1"])
    })
  )
})

/** A list of ten, of ten lists of ten, and so on. */
const explosive = [
  "a0: &a0 [x, x, x, x, x, x, x, x, x, x]",
  ...Array.from({ length: 8 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(10).fill(`*a${i}`).join(", ")}]`)
].join("\n")

describe("a file that cannot be planned", () => {
  it.effect.each([
    [
      "replicas that are a percentage",
      deployment("replicas: 150%"),
      6,
      /spec\.replicas must be a whole number .* and is "150%"/
    ],
    [
      "a surge above 100 %",
      deployment("strategy:\n  rollingUpdate:\n    maxSurge: 150%"),
      8,
      /maxSurge must be .*"100%", and is "150%"/
    ],
    [
      "pods of which more may be missing than there are",
      deployment("strategy:\n  rollingUpdate:\n    maxUnavailable: 101%"),
      8,
      /maxUnavailable must be/
    ],
    [
      "a rollout that could not begin",
      deployment("strategy:\n  rollingUpdate: { maxSurge: 0, maxUnavailable: 0% }"),
      7,
      /are both 0/
    ],
    [
      "a strategy that does not exist",
      deployment("strategy:\n  type: BlueGreen"),
      7,
      /strategy\.type must be RollingUpdate or Recreate, and is "BlueGreen"/
    ],
    [
      "an autoscaler below the replicas",
      `${deployment("replicas: 20")}---\n${hpa("maxReplicas: 10")}`,
      13,
      /maxReplicas 10 is below the 20 replicas of Deployment "web" \(.*:6\)/
    ],
    [
      "an autoscaler below itself",
      `${deployment("paused: false")}---\n${hpa("minReplicas: 5\nmaxReplicas: 3")}`,
      14,
      /maxReplicas 3 is below minReplicas 5/
    ],
    [
      "an autoscaler without an upper bound",
      `${deployment("paused: false")}---\n${hpa("minReplicas: 5")}`,
      11,
      /maxReplicas is missing/
    ],
    [
      "an annotation that is no number",
      deployment("replicas: 2").replace("name: web", "name: web\n  annotations: { sluice/processes: many }"),
      5,
      /sluice\/processes must be .* and is "many"/
    ],
    [
      "a manifest of another kind",
      "# nothing here\napiVersion: v1\nkind: Service\nmetadata: { name: web }",
      2,
      /there is no Deployment.* but Service/
    ],
    [
      "the same object twice",
      `${deployment("replicas: 2")}---\n${deployment("replicas: 3")}`,
      11,
      /Deployment "web" is there already: .*:4/
    ],
    ["a file that is something else", "name: app\nversion: 1", 1, /neither a Kubernetes manifest/],
    ["an empty file", "", 1, /the file is empty/],
    ["a file without a value", "---\n# later\n---\n", 1, /the file is empty/],
    ["a syntax error", "a: 1\nb: [1, 2\nc: 3", 3, /flow/i],
    ["a template", "apiVersion: v1\nkind: {{ .Values.kind }}\nmetadata: {{- include }}", 3, /render it first/],
    ["a key twice", "a: 1\nb: 2\na: 3", 3, /unique/],
    ["an alias to what it is in", "a: 1\nb: &b [*b]", 2, /the alias \*b stands for nothing/],
    ["an alias to nothing", "a: 1\nb: *a", 2, /the alias \*a stands for nothing that ends before it/],
    ["aliases that explode", explosive, 5, /with the alias \*a3 all aliases stand for more than 100000 values/],
    ["values that are nested too deep", `a: 1\nb: ${"[".repeat(5000)}`, 2, /nested too deep/],
    ["values that are nested deep, and closed", `a: 1\nb: ${"[".repeat(600)}${"]".repeat(600)}`, 2, /nested too deep/],
    [
      "a Compose service with no number of replicas",
      'services:\n  web:\n    deploy:\n      replicas: "many"',
      4,
      /services\.web\.deploy\.replicas must be/
    ],
    [
      "a Compose service with an open number",
      `services:\n  web:\n    deploy:\n      replicas: "\${N:-3}"`,
      2,
      /fill it in first/
    ],
    ["a global Compose service", "services:\n  web: { deploy: { mode: global } }", 2, /as many as machines/],
    ["a Compose file without services", "services: []", 1, /services must be an object/]
  ] as const)("is refused, with its line: %s", ([, text, line, problem]) =>
    Effect.gen(function* () {
      const file = written(text)
      const { code, err, out } = yield* run("plan", file, ...atMost500)
      expect(err).toMatch(problem)
      expect(err).toMatch(new RegExp(`^sluice plan: .*/\\d+\\.yaml:${line}: `))
      expect(out).toBe("")
      expect(code).toBe(65)
    })
  )

  it.effect("is refused before it is parsed if it is too large", () =>
    Effect.gen(function* () {
      const file = written("- a\n".repeat(13_000_000))
      const { code, err } = yield* run("plan", file, ...atMost500)
      expect(err).toMatch(/:524289: the file is larger than 2 MB/)
      expect(code).toBe(65)
    })
  )

  it.effect("is refused if it is a program that fails", () =>
    Effect.gen(function* () {
      const file = written("throw new Error('no machine')", "ecosystem.config.mjs")
      const { code, err } = yield* run("plan", file, ...atMost500)
      expect(err).toContain("ecosystem.config.mjs:1: the file cannot be run: no machine")
      expect(code).toBe(65)
    })
  )

  it.effect("is marked at its line in the format of GitHub", () =>
    Effect.gen(function* () {
      const file = written(deployment("replicas: many"))
      const { code, out } = yield* run("plan", file, ...atMost500, "--format", "github")
      expect(out).toMatch(/^::error file=.*\.yaml,line=6,title=sluice plan%3A bad-file::spec.replicas must be/)
      expect(code).toBe(65)
    })
  )

  it.effect.each([
    ["does not exist", "nope.yaml"],
    ["is a directory", "."]
  ] as const)("ends with 66 if it %s", ([, name]) =>
    Effect.gen(function* () {
      const { code, err } = yield* run("plan", join(home, name), ...atMost500)
      expect(err).toContain("the file cannot be read")
      expect(code).toBe(66)
    })
  )
})

describe("files that do not go together", () => {
  it.effect("are refused if two of different kinds have a service of one name", () =>
    Effect.gen(function* () {
      const files = [written(deployment("replicas: 2")), written("services:\n  web: {}")]
      const { code, err } = yield* run("plan", ...files, ...atMost500)
      expect(err).toMatch(/:2: a service "web" is there already: .*:4$/)
      expect(code).toBe(65)
    })
  )

  it.effect("are refused with --pods if they have several services, because it says the pods of one", () =>
    Effect.gen(function* () {
      const { code, err } = yield* run("plan", fixture("workers.yaml"), ...atMost500, "--pods", "4")
      expect(err).toContain("say how many pods one service has, and there are 3")
      expect(code).toBe(64)
    })
  )

  it.effect("are nothing to plan if none of their services uses the database", () =>
    Effect.gen(function* () {
      const { code, err } = yield* run("plan", fixture("chart.yaml"), ...atMost500, "--ignore", "shop")
      expect(err).toContain("there is nothing to plan")
      expect(code).toBe(64)
    })
  )

  it.effect("leave out a service that has no pods now, and say so", () =>
    Effect.gen(function* () {
      const files = [written(deployment("replicas: 0")), fixture("workers.yaml")]
      const plan = yield* planned(...files, ...atMost500)
      expect(plan.services.map(({ name }) => name)).toEqual(["mailer", "ledger", "exports"])
      expect(plan.reasons.map(({ message }) => message)).toContain("web is not counted: it has 0 pods")
    })
  )
})

describe("a sluice.yaml that cannot be planned", () => {
  it.effect.each([
    [
      "an unknown name",
      "database:\n  maxConections: 500",
      2,
      /database\.maxConections is no option here: did you mean maxConnections\?/
    ],
    [
      "a number out of its range",
      "database: { maxConnections: 500 }\nservices:\n  web:\n    pods: 0",
      4,
      /services\.web\.pods must be/
    ],
    [
      "a rollout that could not begin",
      "services:\n  web:\n    surge: 0\n    unavailable: 0",
      2,
      /surge 0 and unavailable 0/
    ],
    ["a service that is nothing", "services:\n  web:", 2, /services\.web must be an object, and is null/],
    ["a syntax error", "services: {", 1, /flow/i],
    ["nothing", "# later", 1, /empty/]
  ] as const)("ends with 78, and its line is named: %s", ([, text, line, problem]) =>
    Effect.gen(function* () {
      const { code, err } = yield* run("plan", written(text, "sluice.yaml"), ...atMost500)
      expect(err).toMatch(problem)
      expect(err).toContain(`sluice.yaml:${line}: `)
      expect(code).toBe(78)
    })
  )
})
