/** `sluice top`: a live board on a terminal, else one plain report. */
import * as Top from "@sluice/observability/Top"
import * as Verdict from "@sluice/observability/Verdict"
import { Clock, Console, Duration, Effect, Option, Stream } from "effect"
import { hasColours, isScreen } from "./colours.js"
import * as Exit from "./exit.js"
import * as Live from "./live.js"
import { poll } from "./poll.js"

export interface Settings {
  readonly urls: ReadonlyArray<string>
  readonly interval: Duration.Duration
  readonly sort: Top.Sort
  readonly filter: string
  readonly once: boolean
  readonly json: boolean
}

/** After this a live board shows what it has. */
const FIRST = Duration.seconds(1)

/** What is printed where there is no terminal that says how wide it is. */
const WIDTH = 100

export const top = ({ filter, interval, json, once, sort, urls }: Settings) =>
  Effect.gen(function* () {
    const out = process.stdout
    const colour = hasColours(out)
    if (isScreen(out) && !once && !json)
      return yield* Live.run(poll(urls, interval, FIRST), out, colour, { sort, filter })
    const pods = Option.getOrElse(yield* Stream.runHead(poll(urls, interval)), (): ReadonlyArray<Top.Pod> => [])
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
  })

const verdictOf = (pods: ReadonlyArray<Top.Pod>): Verdict.Verdict =>
  Verdict.of(
    pods.flatMap(({ report }) => (report === undefined ? [] : [report])),
    { silent: pods.filter(({ error }) => error !== undefined).map(({ report, url }) => report?.pod ?? url) }
  )
