/** Which alerts fire in the process at each moment of a story. */
import { Either } from "effect"
import { Evaluator } from "../../src/internal/alerts/evaluator.js"
import { parseRules } from "../../src/internal/alerts/options.js"
import { AT } from "./reports.js"
import { type Story, told } from "./story.js"

export interface Moment {
  readonly seconds: number
  readonly firing: ReadonlySet<string>
}

export const firings = (story: Story): ReadonlyArray<Moment> => {
  const { alerts, target, thresholds } = Either.getOrThrow(parseRules())
  const evaluator = new Evaluator(alerts, target, thresholds.waitP95Ms)
  const firing = new Map<string, string>()
  return told(story).moments.map(({ reports, seconds }) => {
    for (const { alert, isFiring, place } of evaluator.step(seconds * 1_000, AT + seconds * 1_000, reports)) {
      const key = `${alert.name} ${place.pod}`
      if (isFiring) firing.set(key, alert.name)
      else firing.delete(key)
    }
    return { seconds, firing: new Set(firing.values()) }
  })
}
