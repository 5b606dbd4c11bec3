import { readFileSync } from "node:fs"
import { assert, describe, expect, it } from "@effect/vitest"
import { Alerts, Catalog, Grafana, Panels } from "@sluice/observability"
import { Either } from "effect"
import { fits } from "./support/grafanaTypes.js"
import { metricsIn } from "./support/metricsIn.js"
import { page } from "./support/page.js"

const dashboard = Either.getOrThrow(Grafana.dashboard())

const queriesOf = (panel: Grafana.Dashboard["panels"][number]) => (panel.type === "text" ? [] : panel.targets)

describe("Grafana.dashboard", () => {
  it("has the panels of every board, with their words and in their order", () => {
    assert.deepStrictEqual(
      dashboard.panels.map(({ description, title }) => ({ title, description })),
      Panels.all.map(({ description, title }) => ({ title, description }))
    )
  })

  it("asks for nothing but metrics and labels of the catalogue", () => {
    for (const panel of dashboard.panels) {
      for (const { expr } of queriesOf(panel)) {
        const { impossible, metrics, unknown } = metricsIn(expr)
        assert.isNotEmpty(metrics, expr)
        assert.deepStrictEqual({ unknown, impossible }, { unknown: [], impossible: [] }, expr)
      }
    }
    for (const { query } of dashboard.templating.list) {
      if (typeof query !== "object") continue
      const [, metric] = /^label_values\((.*), \w+\)$/.exec(query.query) ?? []
      assert.lengthOf(metricsIn(metric!).metrics, 1)
    }
  })

  it("filters every query by the pools and pods that the reader has chosen", () => {
    const { panels, templating } = Either.getOrThrow(Grafana.dashboard({}, { podLabel: "pod" }))
    for (const { expr } of panels.flatMap(queriesOf)) {
      const selectors = metricsIn(expr).metrics.length
      assert.lengthOf(expr.match(/db_client_connection_pool_name=~"\$pool",pod=~"\$pod"/g) ?? [], selectors, expr)
    }
    assert.deepStrictEqual(
      templating.list.map(({ name }) => name),
      ["datasource", "pool", "pod"]
    )
  })

  it("fills the grid without gaps between rows and without panels on top of each other", () => {
    const places = dashboard.panels.map(({ gridPos }) => gridPos)
    for (const [i, a] of places.entries()) {
      assert.isAtMost(a.x + a.w, 24)
      for (const b of places.slice(i + 1)) {
        const isApart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y
        assert.isTrue(isApart, JSON.stringify([a, b]))
      }
    }
    assert.strictEqual(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
  })

  it("names each query of a panel by a letter of its own, which is what units and colours hang on", () => {
    for (const panel of dashboard.panels) {
      const letters = queriesOf(panel).map(({ refId }) => refId)
      assert.strictEqual(new Set(letters).size, letters.length)
      for (const letter of letters) assert.match(letter, /^[A-Z]$/)
      if (panel.type === "text") continue
      for (const { matcher } of panel.fieldConfig.overrides) {
        if (matcher.id === "byFrameRefID") assert.include(letters, matcher.options)
      }
    }
  })

  it("has no name and no value that Grafana's own types do not know", () => {
    assert.isTrue(fits.every((one) => one))
  })

  it("refuses options and thresholds that cannot work", () => {
    const refused = (...options: Parameters<typeof Grafana.dashboard>) =>
      Either.match(Grafana.dashboard(...options), { onLeft: ({ _tag }) => _tag, onRight: () => "taken" })
    assert.strictEqual(refused({}, { podLabel: "a-b" }), "InvalidDashboard")
    assert.strictEqual(refused({}, { uid: "" }), "InvalidDashboard")
    assert.strictEqual(refused({}, { pod: "x" } as object), "InvalidDashboard")
    assert.strictEqual(refused({ retries: -1 }), "InvalidThresholds")
    assert.strictEqual(refused({ waitP95Ms: 80 }), "InvalidAlerts")
  })
})

/** `vitest -u` writes the pages anew. */
describe("the pages of this package", () => {
  it("have the dashboard as it is", async () => {
    await expect(`${JSON.stringify(dashboard, undefined, 2)}\n`).toMatchFileSnapshot("../docs/dashboard.json")
  })

  it("say of every alert what it means and what to do, where its runbook leads", async () => {
    const text = page()
    for (const { annotations } of JSON.parse(Either.getOrThrow(Alerts.rules())).groups[0].rules) {
      const [address, anchor] = annotations.runbook_url.split("#")
      assert.match(address, /\/packages\/observability\/docs\/alerts\.md$/)
      assert.isTrue(text.split("\n").some((line) => line.startsWith("## ") && line.slice(3).toLowerCase() === anchor))
    }
    await expect(text).toMatchFileSnapshot("../docs/alerts.md")
  })

  it("compare others with metrics and alerts that there are", () => {
    const text = readFileSync(new URL("../docs/comparison.md", import.meta.url), "utf8")
    const names = new Set<string>(Catalog.all.map(({ name }) => name))
    // What is ours stands in the last column.
    const ours = text.split("\n").filter((line) => line.startsWith("| `"))
    const found = ours.flatMap(
      (line) =>
        line
          .split(" | ")
          .at(-1)!
          .match(/`(?:db\.client|sluice)\.[\w.]+`/g) ?? []
    )
    assert.isNotEmpty(found)
    assert.deepStrictEqual(
      found.filter((name) => !names.has(name.slice(1, -1))),
      []
    )
    const anchors = [...text.matchAll(/alerts\.md#(\w+)/g)].map(([, anchor]) => anchor)
    for (const anchor of anchors) assert.match(page(), new RegExp(`^## ${anchor}$`, "im"))
  })

  it("have the rules as they are", async () => {
    await expect(Either.getOrThrow(Alerts.rules())).toMatchFileSnapshot("../docs/rules.yml")
  })
})
