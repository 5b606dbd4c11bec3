/** The rules as the real Prometheus understands them. */
import { assert, describe, it } from "@effect/vitest"
import { Alerts, Grafana } from "@sluice/observability"
import { Array, Either, Record } from "effect"
import { firings } from "./support/firings.js"
import { promtool } from "./support/promtool.js"
import { stories } from "./support/stories.js"
import { STEP, told } from "./support/story.js"

const rules = Either.getOrThrow(Alerts.rules())

describe("Alerts.rules", () => {
  it("is a rule file in which promtool finds nothing wrong", () => {
    const count: number = JSON.parse(rules).groups[0].rules.length
    const { isOk, output } = promtool(["check", "rules", "rules.yml"], { "rules.yml": rules })
    assert.isTrue(isOk, output)
    assert.include(output, `SUCCESS: ${count} rules found`)
  })

  it("fires in Prometheus at the same moments of each story as in the process", () => {
    // promtool looks at all stories of a file equally often.
    const bySteps = Record.values(Array.groupBy(Object.entries(stories), ([, { step = STEP }]) => String(step)))
    for (const some of bySteps) {
      const { step = STEP } = some[0][1]
      const tests = some.map(([name, story]) => ({
        name,
        interval: `${step}s`,
        input_series: told(story).series,
        promql_expr_test: firings(story).map(({ firing, seconds }) => ({
          expr: 'count by (alertname) (ALERTS{alertstate="firing"})',
          eval_time: `${seconds}s`,
          exp_samples: [...firing].map((alert) => ({ labels: `{alertname="${alert}"}`, value: 1 }))
        }))
      }))
      const file = { rule_files: ["rules.yml"], evaluation_interval: `${step}s`, tests }
      const { isOk, output } = promtool(["test", "rules", "stories.yml"], {
        "rules.yml": rules,
        "stories.yml": JSON.stringify(file)
      })
      assert.isTrue(isOk, output.slice(0, 5_000))
    }
  })
})

describe("Grafana.dashboard", () => {
  it("asks nothing that promtool cannot read", () => {
    const { panels } = Either.getOrThrow(Grafana.dashboard())
    const queries = panels.flatMap((panel) => (panel.type === "text" ? [] : panel.targets))
    const named = queries.map(({ expr }, index) => ({
      record: `query:${index}`,
      expr: expr.replaceAll("$__rate_interval", "1m")
    }))
    const { isOk, output } = promtool(["check", "rules", "queries.yml"], {
      "queries.yml": JSON.stringify({ groups: [{ name: "queries", rules: named }] })
    })
    assert.isTrue(isOk, output)
    assert.include(output, `SUCCESS: ${queries.length} rules found`)
  })
})
