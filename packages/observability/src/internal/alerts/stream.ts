/** Looks at the reports each second, and tells what has changed. */
import * as Deadline from "@sluice/pool/Deadline"
import { Chunk, Effect, Stream } from "effect"
import type { Transition } from "../../Alert.js"
import type { Report } from "../../Report.js"
import { type Change, Evaluator } from "./evaluator.js"
import type { Config } from "./options.js"
import { anchorOf } from "./ruleFile.js"
import { descriptionOf, summaryOf } from "./text.js"

/** Transitions that wait for a reader. When there are more, the oldest are given up. */
const BUFFER = 1_000

const transitionOf = (change: Change, at: number, runbooks: string): Transition => {
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
    description: descriptionOf(alert),
    runbook: `${runbooks}#${anchorOf(alert)}`
  }
}

/** The first look comes after a second. Time between two looks is measured on the monotonic clock. */
export const transitions = <R>(
  { alerts, runbooks, slowMs, target }: Config,
  reports: Effect.Effect<ReadonlyArray<Report>, never, R>
): Stream.Stream<Transition, never, R> =>
  Stream.unwrap(
    Effect.clockWith((clock) =>
      Effect.sync(() => {
        const evaluator = new Evaluator(alerts, target, slowMs)
        const now = Deadline.nowOf(clock)
        const look = Effect.map(reports, (reports) => {
          const at = clock.unsafeCurrentTimeMillis()
          const changes = evaluator.step(now(), at, reports)
          return Chunk.fromIterable(changes.map((change) => transitionOf(change, at, runbooks)))
        })
        return Stream.repeatEffectChunk(Effect.zipRight(Effect.sleep("1 second"), look))
      })
    )
    // In a fiber of its own, so that a reader who is slow does not hold up the next look.
  ).pipe(Stream.buffer({ capacity: BUFFER, strategy: "sliding" }))
