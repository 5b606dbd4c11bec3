/** Asks pods for their reports, again and again. */
import { lookup } from "node:dns/promises"
import { isIP } from "node:net"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type { Report } from "@sluice/observability/Report"
import type * as Top from "@sluice/observability/Top"
import { Clock, Deferred, Duration, Effect, Schedule, type Scope, Stream } from "effect"

/** How long an answer may take. A pod that does not run keeps nobody waiting for longer, and the other pods not at all. */
const PATIENCE = Duration.seconds(5)

/** The name of the variable with the token for boards that want one. */
const TOKEN = "SLUICE_TOKEN"

/** The address of a report, from what people write. */
const addressOf = (text: string): URL => {
  const url = new URL(/^https?:\/\//.test(text) ? text : `http://${text}`)
  if (!url.pathname.endsWith("/stats.json")) url.pathname = `${url.pathname.replace(/\/$/, "")}/stats.json`
  return url
}

export const isAddress = (text: string): boolean => {
  try {
    return addressOf(text).hostname !== ""
  } catch {
    return false
  }
}

/**
 * One address for each pod behind a name, as a headless service of Kubernetes has them. What is encrypted, is a number or is this
 * machine stays one: a certificate is for a name, and `localhost` has two addresses and one pod.
 */
const podsBehind = (url: URL): Effect.Effect<ReadonlyArray<URL>, Error> => {
  if (url.protocol !== "http:" || url.hostname === "localhost" || isIP(url.hostname.replace(/^\[|\]$/g, "")) !== 0)
    return Effect.succeed([url])
  return Effect.tryPromise({ try: () => lookup(url.hostname, { all: true }), catch: (error) => error as Error }).pipe(
    Effect.map((found) => {
      // A pod may have an address of each kind.
      const kind = found.some(({ family }) => family === 4) ? 4 : 6
      const addresses = found.filter(({ family }) => family === kind).map(({ address }) => address)
      if (addresses.length < 2) return [url]
      return addresses.sort().map((address) => {
        const pod = new URL(url)
        pod.hostname = kind === 6 ? `[${address}]` : address
        return pod
      })
    })
  )
}

const isReport = (json: unknown): json is Report =>
  typeof json === "object" &&
  json !== null &&
  (json as Report).version === 1 &&
  typeof (json as Report).pod === "string" &&
  Array.isArray((json as Report).databases)

/** The innermost error says what happened, such as `connect ECONNREFUSED`. */
const messageOf = (error: unknown): string => {
  let found = error
  while (typeof found === "object" && found !== null && "cause" in found && found.cause instanceof Error) {
    found = found.cause
  }
  if (found instanceof AggregateError && found.errors[0] instanceof Error) return found.errors[0].message
  return found instanceof Error ? found.message : String(found)
}

const ask = (url: URL): Effect.Effect<Report, Error, HttpClient.HttpClient> => {
  const token = process.env[TOKEN]
  const request = HttpClientRequest.get(url, { acceptJson: true })
  return HttpClient.execute(token === undefined ? request : HttpClientRequest.bearerToken(request, token)).pipe(
    Effect.flatMap((response) =>
      response.status === 200
        ? response.json
        : Effect.fail(
            new Error(
              response.status === 401 || response.status === 403
                ? `it wants a token: set ${TOKEN} (status ${response.status})`
                : `it answers with status ${response.status}`
            )
          )
    ),
    Effect.filterOrFail(isReport, () => new Error("what it answers is no report of version 1")),
    Effect.timeoutFail({
      duration: PATIENCE,
      onTimeout: () => new Error(`no answer within ${Duration.toSeconds(PATIENCE)} s`)
    }),
    Effect.mapError((error) => new Error(messageOf(error)))
  )
}

interface Known {
  readonly report: Report | undefined
  readonly at: number
  readonly error: string | undefined
}

/**
 * What is known of all pods, every `interval`. The first time it is told when each has answered or failed, or after `patience`.
 * Each pod is asked in a fiber of its own: one that hangs holds up no other.
 */
export const poll = (
  texts: ReadonlyArray<string>,
  interval: Duration.Duration,
  patience: Duration.Duration = Duration.infinity
): Stream.Stream<ReadonlyArray<Top.Pod>, never, HttpClient.HttpClient> => {
  const start: Effect.Effect<
    Effect.Effect<ReadonlyArray<Top.Pod>>,
    never,
    HttpClient.HttpClient | Scope.Scope
  > = Effect.gen(function* () {
    /** By what was written, and then by the address of each pod behind it. */
    const known = texts.map(() => new Map<string, Known>())
    const firsts = yield* Effect.forEach(texts, () => Deferred.make<void>())
    const note = (pods: Map<string, Known>, url: string, answer: Report | Error) =>
      Effect.map(Clock.currentTimeMillis, (at) => {
        const before = pods.get(url)
        pods.set(
          url,
          answer instanceof Error
            ? { report: before?.report, at: before?.at ?? at, error: answer.message }
            : { report: answer, at, error: undefined }
        )
      })
    const round = (text: string, pods: Map<string, Known>) =>
      podsBehind(addressOf(text)).pipe(
        Effect.flatMap((urls) => {
          // Pods that are gone from the name are gone from the board.
          for (const url of pods.keys()) if (!urls.some(({ href }) => href === url)) pods.delete(url)
          return Effect.forEach(
            urls,
            (url) => Effect.flatMap(Effect.merge(ask(url)), (answer) => note(pods, url.href, answer)),
            { concurrency: "unbounded", discard: true }
          )
        }),
        Effect.catchAll((error) => note(pods, addressOf(text).href, error))
      )
    yield* Effect.forEach(
      texts,
      (text, i) =>
        Effect.forkScoped(
          Effect.repeat(
            Effect.zipRight(round(text, known[i]!), Deferred.succeed(firsts[i]!, undefined)),
            Schedule.spaced(interval)
          )
        ),
      { discard: true }
    )
    yield* Effect.timeoutOption(Effect.forEach(firsts, Deferred.await, { discard: true }), patience)
    return Effect.map(Clock.currentTimeMillis, (now) =>
      texts.flatMap((text, i): ReadonlyArray<Top.Pod> => {
        const pods = [...known[i]!]
        if (pods.length === 0)
          return [{ url: addressOf(text).href, report: undefined, ageMs: 0, error: "no answer yet" }]
        return pods.map(([url, { at, error, report }]) => ({ url, report, ageMs: now - at, error }))
      })
    )
  })
  return Stream.unwrapScoped(
    Effect.map(start, (look) => Stream.repeatEffectWithSchedule(look, Schedule.spaced(interval)))
  )
}
