/** A real server that takes alerts, does not answer, or answers that it cannot. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Alerts } from "@sluice/observability"
import { Effect, Logger, Redacted, Schedule } from "effect"
import { endpointLabel } from "../src/internal/alerts/signals.js"

const transition: Alerts.Transition = {
  state: "fired",
  alert: "SluicePoolFull",
  severity: "critical",
  pod: "pod-1",
  database: "pay",
  pool: "orders",
  endpoint: "db-1:5432/pay",
  value: 1,
  threshold: 0.95,
  unit: "share",
  since: Date.UTC(2026, 10, 28, 12),
  at: Date.UTC(2026, 10, 28, 12, 2),
  summary: "Pool orders is full.",
  reason: undefined,
  description: "Look at it.",
  runbook: "https://wiki/x#sluicepoolfull"
}

interface Request {
  readonly method: string | undefined
  readonly headers: IncomingMessage["headers"]
  readonly body: any
}

/** What the server does with one request after the other; with later ones as with the last. */
type Answer = number | "hangs" | "hangsUp"

/** A server on loopback, what it was sent, and what was logged. */
const receiving = (...answers: ReadonlyArray<Answer>) =>
  Effect.gen(function* () {
    const requests: Array<Request> = []
    const answer = (request: Request, response: ServerResponse) => {
      const as = answers[Math.min(requests.length, answers.length - 1)]!
      requests.push(request)
      if (as === "hangsUp") response.destroy()
      else if (as !== "hangs") response.writeHead(as).end("thanks")
    }
    const server = createServer((incoming, response) => {
      let text = ""
      incoming.on("data", (part) => {
        text += part
      })
      incoming.on("end", () => {
        const { headers, method } = incoming
        answer({ method, headers, body: JSON.parse(text) }, response)
      })
    })
    yield* Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void)))
    yield* Effect.addFinalizer(() =>
      Effect.async<void>((resume) => {
        server.closeAllConnections()
        server.close(() => resume(Effect.void))
      })
    )
    const logs: Array<string> = []
    const logger = Logger.make(
      ({ logLevel, message }) => void logs.push(`${logLevel._tag} ${[message].flat().join(" ")}`)
    )
    const { port } = server.address() as AddressInfo
    return { requests, logs, logger, host: `127.0.0.1:${port}`, url: `http://127.0.0.1:${port}/hooks/s3cret` }
  })

/** Soon again, four times. */
const soon = Schedule.intersect(Schedule.spaced("5 millis"), Schedule.recurs(4))

const sending = (
  receiver: Effect.Effect.Success<ReturnType<typeof receiving>>,
  options: Alerts.WebhookOptions = {},
  times = 1
) =>
  Alerts.webhook(Redacted.make(receiver.url), { retry: soon, ...options }).pipe(
    Effect.flatMap((send) => Effect.repeatN(send(transition), times - 1)),
    Effect.provide(NodeHttpClient.layer),
    Effect.provide(Logger.replace(Logger.defaultLogger, receiver.logger))
  )

describe("Alerts.webhook", () => {
  it.scopedLive("posts an alert in the form in which Alertmanager does, with the program's headers", () =>
    Effect.gen(function* () {
      const receiver = yield* receiving(200)
      yield* sending(receiver, { headers: { authorization: Redacted.make("Bearer t0ken") } })
      assert.lengthOf(receiver.requests, 1)
      const { body, headers, method } = receiver.requests[0]!
      assert.strictEqual(method, "POST")
      assert.strictEqual(headers.authorization, "Bearer t0ken")
      assert.match(headers["content-type"]!, /^application\/json/)
      assert.deepInclude(body, { version: "4", status: "firing", truncatedAlerts: 0 })
      assert.deepStrictEqual(body.alerts[0].labels, {
        alertname: "SluicePoolFull",
        severity: "critical",
        database: "pay",
        db_client_connection_pool_name: "orders",
        [endpointLabel]: "db-1:5432/pay",
        pod: "pod-1"
      })
      assert.deepInclude(body.alerts[0], {
        startsAt: "2026-11-28T12:00:00.000Z",
        endsAt: "0001-01-01T00:00:00Z",
        annotations: {
          summary: "Pool orders is full.",
          description: "Look at it.",
          runbook_url: "https://wiki/x#sluicepoolfull"
        }
      })
      assert.isEmpty(receiver.logs)
    })
  )

  it.scopedLive("says when an alert has ended", () =>
    Effect.gen(function* () {
      const receiver = yield* receiving(204)
      const send = yield* Effect.provide(Alerts.webhook(receiver.url), NodeHttpClient.layer)
      yield* send({ ...transition, state: "resolved", pod: undefined })
      const { body } = receiver.requests[0]!
      assert.strictEqual(body.status, "resolved")
      assert.strictEqual(body.alerts[0].endsAt, "2026-11-28T12:02:00.000Z")
      assert.notProperty(body.alerts[0].labels, "pod")
    })
  )

  it.scopedLive("tries again while the receiver does not answer, hangs up or answers 503, and logs it once", () =>
    Effect.gen(function* () {
      const receiver = yield* receiving("hangs", "hangsUp", 503, 429, 200)
      // As often as it takes: on a busy machine an answer may come too late.
      yield* sending(receiver, { timeout: "1 second", retry: Schedule.spaced("5 millis") })
      assert.isAtLeast(receiver.requests.length, 5)
      assert.deepStrictEqual(receiver.logs, [
        `Warning alerts: the receiver at ${receiver.host} takes no alerts: it does not answer within 1000 ms.`,
        `Info alerts: the receiver at ${receiver.host} takes alerts again; none was lost.`
      ])
    })
  )

  it.scopedLive("gives an alert up in the end, and says later how many were lost", () =>
    Effect.gen(function* () {
      const receiver = yield* receiving(...Array(10).fill(500), 200)
      yield* sending(receiver, {}, 3)
      assert.lengthOf(receiver.requests, 11)
      assert.deepStrictEqual(receiver.logs, [
        `Warning alerts: the receiver at ${receiver.host} takes no alerts: it answers with status 500.`,
        `Info alerts: the receiver at ${receiver.host} takes alerts again; 2 were lost.`
      ])
    })
  )

  it.scopedLive("does not repeat what the receiver will never take", () =>
    Effect.gen(function* () {
      const receiver = yield* receiving(404)
      yield* sending(receiver, {}, 2)
      assert.lengthOf(receiver.requests, 2)
      assert.lengthOf(receiver.logs, 1)
    })
  )

  it.scopedLive("logs neither the path of the address nor a header, whatever fails", () =>
    Effect.gen(function* () {
      const receiver = yield* receiving("hangsUp")
      yield* sending(receiver, { headers: { "x-key": "t0ken" } })
      const nobody = { ...receiver, url: "http://127.0.0.1:1/hooks/s3cret", host: "127.0.0.1:1" }
      yield* sending(nobody, { headers: { "x-key": "t0ken" } })
      assert.lengthOf(receiver.logs, 2)
      for (const line of receiver.logs) assert.notMatch(line, /s3cret|t0ken/)
    })
  )

  it.effect("refuses an address and options that cannot work, without showing the address", () =>
    Effect.gen(function* () {
      const wrong = { timeout: 0, retry: "often", headers: { a: 1 }, retries: 3 } as object
      const { problems } = yield* Effect.flip(Alerts.webhook("hooks.example/s3cret", wrong))
      assert.lengthOf(problems, 5)
      assert.notInclude(problems.join(), "s3cret")
    }).pipe(Effect.provide(NodeHttpClient.layer))
  )
})
