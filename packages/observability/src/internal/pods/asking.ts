/** One question to one process. */
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { Data, Effect, Either, Redacted, Stream } from "effect"
import type { Report } from "../../Report.js"
import * as StatsJson from "../../StatsJson.js"

/** Why there is no report, in a few words. */
export class NoAnswer extends Data.TaggedError("NoAnswer")<{ readonly message: string }> {}

/** Of the innermost error: what `fetch` fails with wraps that of the socket. */
const codeOf = (error: unknown): string | undefined => {
  if (typeof error !== "object" || error === null) return undefined
  const { cause, code } = error as { readonly cause?: unknown; readonly code?: unknown }
  return codeOf(cause) ?? (typeof code === "string" ? code : undefined)
}

const unreachable = (error: HttpClientError.HttpClientError): NoAnswer => {
  const code = codeOf(error)
  return new NoAnswer({ message: code === undefined ? "it cannot be reached" : `it cannot be reached (${code})` })
}

const statusOf = ({ status }: HttpClientResponse.HttpClientResponse): NoAnswer =>
  new NoAnswer({
    message:
      status === 401 || status === 403
        ? `it answers with status ${status}: a token is needed from here`
        : `it answers with status ${status}`
  })

/** Reads no more than a report can have. */
const bodyOf = (response: HttpClientResponse.HttpClientResponse): Effect.Effect<string, NoAnswer> =>
  Effect.suspend(() => {
    const parts: Array<Uint8Array> = []
    let size = 0
    return response.stream.pipe(
      Stream.mapError(unreachable),
      Stream.runForEach((part) => {
        size += part.length
        parts.push(part)
        return size > StatsJson.longest
          ? Effect.fail(new NoAnswer({ message: `no report: it has more than ${StatsJson.longest} bytes` }))
          : Effect.void
      }),
      Effect.map(() => Buffer.concat(parts).toString("utf8"))
    )
  })

/** The connection is given back, or closed, whatever becomes of it. Nobody waits longer than `timeout`. */
export const ask = (
  client: HttpClient.HttpClient,
  url: URL,
  token: Redacted.Redacted | undefined,
  timeout: number
): Effect.Effect<Report, NoAnswer> => {
  const request = HttpClientRequest.get(url, { headers: { accept: "application/json" } })
  const asking = token === undefined ? request : HttpClientRequest.bearerToken(request, Redacted.value(token))
  return Effect.scoped(
    Effect.flatMap(Effect.mapError(client.execute(asking), unreachable), (response) =>
      response.status === 200 ? bodyOf(response) : Effect.fail(statusOf(response))
    )
  ).pipe(
    Effect.flatMap((text) => Either.mapLeft(StatsJson.decode(text), ({ message }) => new NoAnswer({ message }))),
    Effect.timeoutFail({
      duration: timeout,
      onTimeout: () => new NoAnswer({ message: `no answer within ${timeout} ms` })
    })
  )
}
