/** A program that ends while statements run. */
import { Sql } from "@sluice/sql"
import { Effect } from "effect"
import type { Measured, Rig, Scenario } from "../scoreboard/model.js"
import { now, settle, start, times, until } from "./support.js"

/** How long the work may go on, in milliseconds. */
const WITHIN = 2_500

export const drain = (rig: Rig) =>
  Effect.gen(function* () {
    const client = yield* rig.open({ acquireTimeout: 5_000 })
    const ending = yield* start(times(5, () => client.query(rig.sleep(1))))
    const hanging = yield* start(times(5, () => client.query(rig.sleep(30))))
    yield* until(5_000, () =>
      Effect.map(rig.cluster.sessions(rig.name), (all) => all.filter(({ isRunning }) => isRunning).length === 10)
    )
    const began = now()
    let took: Measured = "never"
    let reports: ReadonlyArray<{ readonly cancelled: number; readonly aborted: number }> = []
    const end =
      client.sluice === undefined
        ? client.close
        : Effect.tap(Effect.provide(Sql.drain({ within: WITHIN }), client.sluice), (all) =>
            Effect.sync(() => {
              reports = all
            })
          )
    yield* Effect.forkDaemon(
      Effect.ensuring(
        Effect.ignore(end),
        Effect.sync(() => {
          took = now() - began
        })
      )
    )
    yield* Effect.sleep(50)
    const refused = yield* settle(1_500, [client.query("select 1 as n")])
    const ended = yield* ending.within(1_500)
    yield* until(2 * WITHIN, () => took !== "never")
    const left = yield* until(1_000, () => Effect.map(rig.cluster.sessions(rig.name), (all) => all.length === 0))
    yield* hanging.leave
    return {
      refused: refused.failed === 1 ? refused.slowest : ("never" as const),
      ended: ended.answered,
      took,
      sessions: left ? 0 : (yield* rig.cluster.sessions(rig.name)).length,
      ...(client.sluice === undefined
        ? {}
        : { stopped: reports.reduce((sum, { aborted, cancelled }) => sum + Math.max(aborted, cancelled), 0) })
    }
  })

export const scenarios: ReadonlyArray<Scenario> = [
  {
    id: "F18",
    name: "A drain within 2.5 s with ten at work, of whom five end in 1 s and five hang: newcomers fail at once, five end well, five are stopped, and no session is left.",
    places: ["postgresql", "mysql"],
    patience: 40,
    numbers: {
      refused: { title: "a newcomer is refused after", unit: "ms", atMost: 1 },
      ended: { title: "of 5 that end in time, answered", unit: "count", atLeast: 5 },
      stopped: { title: "of 5 that hang, stopped", unit: "count", atLeast: 5 },
      took: { title: "the drain took", unit: "ms", atMost: WITHIN },
      sessions: { title: "sessions left on the server", unit: "count", atMost: 0 }
    },
    run: drain
  }
]
