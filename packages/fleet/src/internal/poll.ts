/** Asks pods for their reports, again and again. */
import { HttpClient } from "@effect/platform"
import type { Report, Top } from "@sluice/observability"
import { Clock, Duration, Effect, Schedule, Stream } from "effect"

const addressOf = (url: string): string => {
  const whole = /^https?:\/\//.test(url) ? url : `http://${url}`
  return whole.endsWith("/stats.json") ? whole : `${whole.replace(/\/$/, "")}/stats.json`
}

/** What each pod has answered, once at once and then every `interval`. */
export const poll = (
  urls: ReadonlyArray<string>,
  interval: Duration.Duration
): Stream.Stream<ReadonlyArray<Top.Pod>, never, HttpClient.HttpClient> =>
  Stream.suspend(() => {
    const last = new Map<string, { readonly report: Report.Report; readonly at: number }>()
    const ask = (url: string) =>
      HttpClient.get(addressOf(url)).pipe(
        Effect.flatMap((response) =>
          response.status === 200 ? response.json : Effect.fail(new Error(`it answers with status ${response.status}`))
        ),
        Effect.timeout(Duration.max(interval, Duration.seconds(2))),
        Effect.map((json) => json as Report.Report),
        Effect.either,
        Effect.zipWith(Clock.currentTimeMillis, (answer, now): Top.Pod => {
          if (answer._tag === "Right") last.set(url, { report: answer.right, at: now })
          const known = last.get(url)
          return {
            url,
            report: known?.report,
            ageMs: known === undefined ? 0 : now - known.at,
            error: answer._tag === "Left" ? answer.left.message : undefined
          }
        })
      )
    const all = Effect.forEach(urls, ask, { concurrency: "unbounded" })
    return Stream.repeatEffectWithSchedule(all, Schedule.spaced(interval))
  })
