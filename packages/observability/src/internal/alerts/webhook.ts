/** Sends alerts to a receiver over HTTP, in the form in which Alertmanager sends them: so receivers exist. */
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { Data, Duration, Effect, Redacted, Schedule } from "effect"
import type { Receiver, Transition, WebhookOptions } from "../../Alert.js"
import { poolLabel } from "../promql.js"
import { endpointLabel } from "./signals.js"

/** What one request has come to, if not to an answer that says that the alert was taken. */
class Refused extends Data.TaggedError("Refused")<{ readonly why: string; readonly isFinal: boolean }> {}

/** Alertmanager's word for an alert that has not ended. */
const NOT_ENDED = "0001-01-01T00:00:00Z"

const iso = (millis: number): string => new Date(millis).toISOString()

/** The body of version 4, with one alert in it. */
const bodyOf = (transition: Transition): unknown => {
  const { alert, at, database, description, endpoint, pod, pool, runbook, severity, since, summary } = transition
  const status = transition.state === "fired" ? "firing" : "resolved"
  const labels = {
    alertname: alert,
    severity,
    ...(pod === undefined ? {} : { pod }),
    ...(database === undefined ? {} : { database }),
    ...(pool === undefined ? {} : { [poolLabel]: pool }),
    ...(endpoint === undefined ? {} : { [endpointLabel]: endpoint })
  }
  const annotations = { summary, description, runbook_url: runbook }
  const key = JSON.stringify([alert, pod, database, pool, endpoint])
  return {
    version: "4",
    groupKey: key,
    truncatedAlerts: 0,
    status,
    receiver: "sluice",
    groupLabels: { alertname: alert },
    commonLabels: labels,
    commonAnnotations: annotations,
    externalURL: "",
    alerts: [
      {
        status,
        labels,
        annotations,
        startsAt: iso(since),
        endsAt: status === "firing" ? NOT_ENDED : iso(at),
        generatorURL: "",
        fingerprint: key
      }
    ]
  }
}

/** After half a second, then twice as long each time, but no longer than half a minute. */
const patience = Schedule.exponential("500 millis").pipe(
  Schedule.union(Schedule.spaced("30 seconds")),
  Schedule.jittered,
  Schedule.intersect(Schedule.recurs(20))
)

/** Statuses after which the same request may be taken later. */
const isPassing = (status: number): boolean => status >= 500 || status === 408 || status === 429

const answerOf = (status: number): Effect.Effect<void, Refused> =>
  status >= 200 && status < 300
    ? Effect.void
    : Effect.fail(new Refused({ why: `it answers with status ${status}`, isFinal: !isPassing(status) }))

const plain = (headers: WebhookOptions["headers"] = {}): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Redacted.isRedacted(value) ? Redacted.value(value) : value])
  )

/** The address and the options are valid. */
export const make = (address: string, options: WebhookOptions): Effect.Effect<Receiver, never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (client) => {
    const { retry = patience, timeout = "10 seconds" } = options
    const request = HttpClientRequest.post(address).pipe(HttpClientRequest.setHeaders(plain(options.headers)))
    // The rest of the address may be a secret, as with most services that take webhooks.
    const host = new URL(address).host
    let isDown = false
    let lost = 0

    /** One request. Its connection is given back when the status is known, whatever else the receiver sends. */
    const once = (transition: Transition): Effect.Effect<void, Refused> =>
      HttpClient.withScope(client)
        .execute(HttpClientRequest.bodyUnsafeJson(request, bodyOf(transition)))
        .pipe(
          Effect.mapError(() => new Refused({ why: "it cannot be reached", isFinal: false })),
          Effect.flatMap(({ status }) => answerOf(status)),
          Effect.scoped,
          Effect.timeoutFail({
            duration: timeout,
            onTimeout: () =>
              new Refused({ why: `it does not answer within ${Duration.toMillis(timeout)} ms`, isFinal: false })
          })
        )

    const down = ({ why }: Refused): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (isDown) return Effect.void
        isDown = true
        return Effect.logWarning(`alerts: the receiver at ${host} takes no alerts: ${why}.`)
      })

    const up = Effect.suspend(() => {
      if (!isDown) return Effect.void
      const missing = lost === 0 ? "none was lost" : `${lost} ${lost === 1 ? "was" : "were"} lost`
      isDown = false
      lost = 0
      return Effect.logInfo(`alerts: the receiver at ${host} takes alerts again; ${missing}.`)
    })

    return (transition) =>
      once(transition).pipe(
        Effect.tapError(down),
        Effect.retry({ schedule: retry, while: ({ isFinal }) => !isFinal }),
        Effect.zipRight(up),
        Effect.catchAll(() => Effect.sync(() => void lost++))
      )
  })
