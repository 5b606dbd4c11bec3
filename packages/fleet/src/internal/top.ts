/** `sluice top`: a live board on a terminal, else one plain report. */
import type * as Pods from "@sluice/observability/Pods"
import * as Top from "@sluice/observability/Top"
import * as Verdict from "@sluice/observability/Verdict"
import { Clock, Console, type Duration, Effect } from "effect"
import { hasColours, isScreen } from "./colours.js"
import * as Exit from "./exit.js"
import * as Live from "./live.js"
import * as Poll from "./poll.js"

export interface Settings {
  readonly urls: ReadonlyArray<string>
  readonly interval: Duration.Duration
  readonly sort: Top.Sort
  readonly filter: string
  readonly once: boolean
  readonly json: boolean
}

/** What is printed where there is no terminal that says how wide it is. */
const WIDTH = 100

export const top = ({ filter, interval, json, once, sort, urls }: Settings) =>
  Effect.gen(function* () {
    const out = process.stdout
    const colour = hasColours(out)
    if (isScreen(out) && !once && !json)
      return yield* Live.run(Poll.live(urls, interval), out, colour, { sort, filter })
    const pods = yield* Poll.once(urls)
    const at = yield* Clock.currentTimeMillis
    if (json) yield* Console.log(JSON.stringify({ at, verdict: verdictOf(pods), pods }))
    else {
      const columns = out.columns ?? WIDTH
      const { lines } = Top.draw({ pods, at, columns, rows: undefined, colour, sort, filter })
      yield* Console.log(lines.join("\n"))
    }
    if (pods.some(({ error }) => error === undefined)) return
    yield* Console.error("sluice top: not one pod has answered")
    return yield* new Exit.Failed({ code: Exit.UNAVAILABLE })
  }).pipe(
    Effect.catchTag("InvalidOptions", ({ message }) =>
      Effect.zipRight(Console.error(`sluice top: ${message}`), new Exit.Failed({ code: Exit.USAGE }))
    )
  )

const verdictOf = (pods: ReadonlyArray<Pods.Pod>): Verdict.Verdict =>
  Verdict.of(
    pods.flatMap(({ report }) => (report === undefined ? [] : [report])),
    { silent: pods.filter(({ error }) => error !== undefined).map(({ report, url }) => report?.pod ?? url) }
  )
