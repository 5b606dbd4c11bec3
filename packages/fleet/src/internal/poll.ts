/** Asks pods for their reports, again and again. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Pods from "@sluice/observability/Pods"
import { Duration, Effect, Redacted, Schedule, type Scope, Stream } from "effect"

/** The variable with the token for boards that want one. */
const TOKEN = "SLUICE_TOKEN"

/** A live board looks at least so often, so that what it says of the age of a report is right. */
const LOOK = Duration.seconds(1)

/** Who asks only once can wait longer. */
const PATIENCE = Duration.seconds(10)

const make = (
  urls: ReadonlyArray<string>,
  options: { readonly every?: Duration.Duration; readonly timeout?: Duration.Duration }
): Effect.Effect<Pods.Service, Pods.InvalidOptions, HttpClient.HttpClient | Scope.Scope> => {
  const token = process.env[TOKEN]
  return Pods.make({ urls, token: token === undefined ? undefined : Redacted.make(token), ...options })
}

const isAnswered = ({ error, report }: Pods.Pod): boolean => report !== undefined || error !== undefined

/** As soon as each of them has answered or failed. */
const complete = ({ all }: Pods.Service): Effect.Effect<ReadonlyArray<Pods.Pod>> =>
  Effect.repeat(all, {
    // Until names are looked up there is none.
    until: (pods) => pods.length > 0 && pods.every(isAnswered),
    schedule: Schedule.spaced("20 millis")
  }).pipe(Effect.zipRight(all))

/** What is known of all pods, for as long as somebody reads. */
export const live = (
  urls: ReadonlyArray<string>,
  every: Duration.Duration
): Stream.Stream<ReadonlyArray<Pods.Pod>, Pods.InvalidOptions, HttpClient.HttpClient> =>
  Stream.unwrapScoped(
    Effect.map(make(urls, { every }), (pods) =>
      Stream.concat(
        Stream.fromEffect(Effect.zipRight(Effect.timeoutOption(complete(pods), LOOK), pods.all)),
        Stream.repeatEffectWithSchedule(pods.all, Schedule.spaced(Duration.min(every, LOOK)))
      )
    )
  )

/** The same when each of them has answered or failed. */
export const once = (
  urls: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<Pods.Pod>, Pods.InvalidOptions, HttpClient.HttpClient> =>
  Effect.scoped(Effect.flatMap(make(urls, { every: Duration.hours(1), timeout: PATIENCE }), complete))
