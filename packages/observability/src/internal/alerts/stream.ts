/** Looks at the reports each second, and tells what has changed. */
import * as Deadline from "@sluice/pool/Deadline"
import { Chunk, Effect, Stream } from "effect"
import type { Transition } from "../../Alert.js"
import type { Reason } from "../../Reason.js"
import type { Report } from "../../Report.js"
import type { Thresholds } from "../../Thresholds.js"
import * as Verdict from "../../Verdict.js"
import { type Change, Evaluator } from "./evaluator.js"
import type { Config } from "./options.js"
import { anchorOf } from "./ruleFile.js"
import { descriptionOf, foundOf, summaryOf } from "./text.js"

/** Transitions that wait for a reader. When there are more, the oldest are given up. */
const BUFFER = 1_000

/** What a board would say of the pool that the alert is about, the worst of it. */
const reasonOf = (
  { isFiring, place }: Change,
  reports: ReadonlyArray<Report>,
  thresholds: Thresholds
): Reason | undefined => {
  if (!isFiring || place.pool === undefined) return undefined
  const { reasons } = Verdict.of(
    reports.filter(({ pod }) => pod === place.pod),
    { thresholds }
  )
  return reasons.find(({ where }) => where === place.pool)
}

const transitionOf = (change: Change, at: number, runbooks: string, reason: Reason | undefined): Transition => {
  const { alert, isFiring, place, since, value } = change
  return {
    state: isFiring ? "fired" : "resolved",
    alert: alert.name,
    severity: alert.severity,
    pod: place.pod,
    database: place.database,
    pool: place.pool,
    endpoint: place.endpoint,
    value,
    threshold: alert.when[0].above,
    unit: alert.unit,
    since,
    at,
    summary: summaryOf(change),
    reason,
    description: reason === undefined ? descriptionOf(alert) : foundOf(reason),
    runbook: `${runbooks}#${anchorOf(alert)}`
  }
}

/** The first look comes after a second. Time between two looks is measured on the monotonic clock. */
export const transitions = <R>(
  { alerts, runbooks, target, thresholds }: Config,
  reports: Effect.Effect<ReadonlyArray<Report>, never, R>
): Stream.Stream<Transition, never, R> =>
  Stream.unwrap(
    Effect.clockWith((clock) =>
      Effect.sync(() => {
        const evaluator = new Evaluator(alerts, target, thresholds.waitP95Ms)
        const now = Deadline.nowOf(clock)
        const look = Effect.map(reports, (reports) => {
          const at = clock.unsafeCurrentTimeMillis()
          const changes = evaluator.step(now(), at, reports)
          return Chunk.fromIterable(
            changes.map((change) => transitionOf(change, at, runbooks, reasonOf(change, reports, thresholds)))
          )
        })
        return Stream.repeatEffectChunk(Effect.zipRight(Effect.sleep("1 second"), look))
      })
    )
    // In a fiber of its own, so that a reader who is slow does not hold up the next look.
  ).pipe(Stream.buffer({ capacity: BUFFER, strategy: "sliding" }))
