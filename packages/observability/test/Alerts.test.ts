import { assert, describe, it } from "@effect/vitest"
import { Alerts } from "@sluice/observability"
import { Either } from "effect"
import { Evaluator } from "../src/internal/alerts/evaluator.js"
import { parseRules } from "../src/internal/alerts/options.js"
import { firings } from "./support/firings.js"
import { metricsIn } from "./support/metricsIn.js"
import { database, of, pool, report } from "./support/reports.js"
import { stories } from "./support/stories.js"

const evaluator = () => {
  const { alerts, target, thresholds } = Either.getOrThrow(parseRules())
  return new Evaluator(alerts, target, thresholds.waitP95Ms)
}

const busy = { using: 9, available: 1, size: 10 }

const HOUR = 3_600_000

describe("Alerts in the process", () => {
  describe("are raised, and end, when the story says", () => {
    for (const [name, story] of Object.entries(stories)) {
      it(name, () => {
        const spans: Record<string, Array<Array<number>>> = {}
        for (const { firing, seconds } of firings(story)) {
          for (const alert of new Set([...firing, ...Object.keys(spans)])) {
            const last = spans[alert]?.at(-1)
            const isOn = last !== undefined && last.length === 1
            if (firing.has(alert) && !isOn) spans[alert] = [...(spans[alert] ?? []), [seconds]]
            if (!firing.has(alert) && isOn) last.push(seconds)
          }
        }
        assert.deepEqual<unknown>(spans, story.raises)
      })
    }
  })

  it("every alert has a story in which it is raised", () => {
    const told = new Set(Object.values(stories).flatMap(({ raises }) => Object.keys(raises)))
    const all = Either.getOrThrow(parseRules()).alerts.map(({ name }) => name)
    assert.sameMembers([...told], all)
    assert.strictEqual(new Set(all).size, all.length)
  })

  it("a time in which nobody has looked counts for a minute at most", () => {
    const alerts = evaluator()
    const step = (now: number) => alerts.step(now, now, [of(busy)])
    assert.isEmpty([step(0), step(HOUR), step(2 * HOUR), step(3 * HOUR), step(4 * HOUR)].flat())
    assert.lengthOf(step(5 * HOUR), 1)
  })

  it("two pools of one name in a process are two: one that is busy does not speak for the other", () => {
    const alerts = evaluator()
    const both = report([database([pool({ id: 1 }), pool({ ...busy, id: 2 })])])
    const changes = Array.from({ length: 10 }, (_, minute) => alerts.step(minute * 60_000, 0, [both])).flat()
    assert.lengthOf(changes, 1)
  })
})

describe("Alerts.rules", () => {
  it("refuses thresholds and options that cannot work, and tells every problem", () => {
    const refused = (...options: Parameters<typeof Alerts.rules>) => {
      const answer = Alerts.rules(...options)
      return Either.isLeft(answer) ? answer.left : assert.fail("nothing was wrong")
    }
    assert.strictEqual(refused({ utilization: { warning: 2 } })._tag, "InvalidThresholds")
    assert.strictEqual(refused({ waitP95: 1 } as object)._tag, "InvalidThresholds")
    const { _tag, problems } = refused({ waitP95Ms: 80 }, {
      capacity: 1.5,
      runbooks: "ftp://wiki",
      scrapeInterval: 10,
      processLabels: ["a b"],
      scrapeIntervall: 15
    } as object)
    assert.strictEqual(_tag, "InvalidAlerts")
    assert.lengthOf(problems, 6)
    assert.include(problems.join(), "did you mean scrapeInterval?")
    assert.include(problems.join(), "(1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000)")
    assert.lengthOf(refused({}, { processLabels: [] }).problems, 1)
  })

  it("asks for nothing but metrics and labels of the catalogue", () => {
    const [{ rules }] = JSON.parse(Either.getOrThrow(Alerts.rules())).groups
    for (const { expr } of rules) {
      const { impossible, metrics, unknown } = metricsIn(expr)
      assert.isNotEmpty(metrics, expr)
      assert.deepStrictEqual({ unknown, impossible }, { unknown: [], impossible: [] }, expr)
    }
  })

  it("takes the thresholds, the capacity and the interval of the program", () => {
    const text = Either.getOrThrow(
      Alerts.rules(
        { waitP95Ms: 1_000, objective: 0.99 },
        { capacity: 400, scrapeInterval: "1 minute", processLabels: ["task"], runbooks: "https://wiki/pools" }
      )
    )
    const [{ interval, rules }] = JSON.parse(text).groups
    const of = (name: string) => rules.find(({ alert }: { alert: string }) => alert === name)
    assert.strictEqual(interval, "1m")
    assert.match(
      of("SluiceFleetOvercommitted").expr,
      /^sum without \(task, db_client_connection_pool_name\) .* \/ 400 > 1$/
    )
    assert.include(of("SluicePoolWaitsLong").expr, "[4m]")
    assert.include(of("SluiceWaitBudgetBurnsFast").expr, 'le=~"1(\\\\.0)?"')
    assert.include(of("SluiceWaitBudgetBurnsFast").expr, "> 0.144)")
    assert.strictEqual(of("SluiceLeak").annotations.runbook_url, "https://wiki/pools#sluiceleak")
  })
})
