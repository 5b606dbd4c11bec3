/**
 * The clients: patient ones that pay and look up payments, and impatient ones that hang up. All use real sockets, so
 * that the server sees them hang up.
 */
import { randomUUID } from "node:crypto"
import * as Http from "node:http"
import { Clock, Data, Duration, Effect, Fiber, Random, type Scope } from "effect"
import type { Meter } from "./Meter.js"

export class NoAnswer extends Data.TaggedError("NoAnswer")<{ readonly reason: string }> {}

export interface Answer {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly body: any
}

/** Sends one request and waits for the answer. An interruption hangs up. */
export const send = (
  url: string,
  options: { readonly method?: string; readonly json?: unknown; readonly agent?: Http.Agent } = {}
): Effect.Effect<Answer, NoAnswer> =>
  Effect.async((resume, signal) => {
    const fail = (error: NodeJS.ErrnoException) => resume(new NoAnswer({ reason: error.code ?? error.message }))
    const { agent = false, json, method = "GET" } = options
    const request = Http.request(url, { agent, method, signal, headers: { "content-type": "application/json" } })
    request.on("error", fail)
    request.on("response", (response) => {
      const parts: Array<Buffer> = []
      response.on("error", fail)
      response.on("data", (part) => parts.push(part))
      response.on("end", () => {
        const text = Buffer.concat(parts).toString()
        const { headers, statusCode: status = 0 } = response
        resume(
          Effect.try({
            try: (): Answer => ({ status, headers, body: text === "" ? undefined : JSON.parse(text) }),
            catch: () => new NoAnswer({ reason: "not JSON" })
          })
        )
      })
    })
    request.end(json === undefined ? undefined : JSON.stringify(json))
  })

const newPayment = Effect.map(Random.nextIntBetween(100, 100_000), (amount) => ({
  id: randomUUID() as string,
  amount,
  currency: "EUR"
}))

/** The pause of a client before its next round: 100 to 200 ms. */
const think = Effect.flatMap(Random.nextIntBetween(100, 200), (ms) => Effect.sleep(ms))

export interface Clients {
  /** Number of clients that pay, look their payment up twice, and pause. */
  readonly payers: number
  /** Number of clients that look up some payment, and pause. */
  readonly readers: number
}

/** Starts clients that run until `stop`. `stop` waits until each has ended its round. */
export const clients = (
  url: string,
  { payers, readers }: Clients,
  meter: Meter
): Effect.Effect<{ readonly stop: Effect.Effect<void> }, never, Scope.Scope> =>
  Effect.gen(function* () {
    const agent = yield* Effect.acquireRelease(
      Effect.sync(() => new Http.Agent({ keepAlive: true })),
      (agent) => Effect.sync(() => agent.destroy())
    )
    let going = true

    /** Sends one request and notes how it ended. */
    const ask = (path: string, json?: { readonly id: string }) => {
      const write = json !== undefined
      return send(`${url}${path}`, { agent, json, method: write ? "POST" : "GET" }).pipe(
        Effect.map(({ body, status }) => (status < 300 ? undefined : String(body?.error ?? `status ${status}`))),
        Effect.catchAll(({ reason }) => Effect.succeed(reason)),
        Effect.tap((failure) => meter.answered({ write, failure, paid: failure === undefined ? json?.id : undefined }))
      )
    }
    const pay = Effect.gen(function* () {
      const payment = yield* newPayment
      const failure = yield* ask("/payments", payment)
      if (failure === undefined) yield* Effect.repeatN(ask(`/payments/${payment.id}`), 1)
    })
    const read = Effect.gen(function* () {
      const known = meter.acknowledged
      const id = known[yield* Random.nextIntBetween(0, Math.max(1, known.length))]
      if (id !== undefined) yield* ask(`/payments/${id}`)
    })

    const rounds = [...Array.from({ length: payers }, () => pay), ...Array.from({ length: readers }, () => read)]
    const running = yield* Effect.forEach(
      rounds,
      // Each pauses first, so that the clients do not come all at once.
      (round) => Effect.repeat(Effect.zipRight(think, round), { while: () => going }),
      { concurrency: "unbounded", discard: true }
    ).pipe(Effect.forkScoped)
    return {
      stop: Effect.zipRight(
        Effect.sync(() => {
          going = false
        }),
        Fiber.join(running)
      )
    }
  })

/**
 * Sends a payment and hangs up one millisecond after the last byte has left. By then the request waits for a
 * connection, has one, or is in its transaction. With `half` the client hangs up in the middle of the body. Ends when
 * the server has closed its side too. Without that, clients would fill the operating system's queue of connections
 * faster than any server can accept them.
 */
const hangUp = (url: string, half: boolean) =>
  Effect.flatMap(newPayment, (payment) =>
    Effect.async<void>((resume) => {
      const body = JSON.stringify(payment)
      const headers = { "content-type": "application/json", "content-length": body.length }
      const request = Http.request(`${url}/payments`, { method: "POST", agent: false, headers })
      request.on("error", () => {}) // there will be no answer
      request.on("response", (response) => response.resume())
      request.on("close", () => resume(Effect.void))
      const leave = () => setTimeout(() => request.socket?.end(), 1)
      if (half) request.write(body.slice(0, body.length / 2), leave)
      else request.end(body, leave)
      return Effect.sync(() => request.destroy())
    })
  )

/**
 * Runs up to `total` clients that hang up, 20 at a time, and starts no more of them after `time`. Every tenth hangs up
 * in the middle of its request. Runs `onEach` after each client.
 */
export const impatient = (url: string, total: number, time: Duration.DurationInput, onEach: Effect.Effect<void>) =>
  Effect.gen(function* () {
    const end = (yield* Clock.currentTimeMillis) + Duration.toMillis(time)
    const one = (n: number) => Effect.zipRight(hangUp(url, n % 10 === 9), onEach)
    yield* Effect.forEach(
      Array.from({ length: total }),
      (_, n) => Effect.flatMap(Clock.currentTimeMillis, (now) => (now < end ? one(n) : Effect.void)),
      { concurrency: 20, discard: true }
    )
  })
