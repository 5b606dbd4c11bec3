/** A flood of clients that leave at once, and clients beside it that wait for their answers. */
import { spawn } from "node:child_process"
import { createServer, type RequestListener } from "node:http"
import type { AddressInfo } from "node:net"
import { Clock, Data, Effect, Fiber, Option, Schedule, type Scope } from "effect"

/** How long a healthy client waits. */
export const patience = 2_000

export class NoCurl extends Data.TaggedError("NoCurl")<{}> {
  override get message() {
    return "it needs curl. Install it and run it again:\n  Debian, Ubuntu:  sudo apt-get install -y curl\n  macOS:           brew install curl"
  }
}

/** What came of the healthy clients of one kind. */
export interface Kind {
  readonly answered: number
  readonly dropped: number
}

/** What one server has lived through. Times are milliseconds. */
export interface Ran {
  /** Requests that curl has made, and those that came to the server before curl had gone. */
  readonly sent: number
  readonly arrived: number
  readonly gets: Kind
  readonly posts: Kind
  /**
   * Connections that are taken and statements that run on the server, so long `after` the last request of the flood: as soon as both are 0,
   * else when patience ends.
   */
  readonly using: number
  readonly statements: number
  readonly after: number
  /** When the next POST was answered; `undefined`: not in time. */
  readonly next: number | undefined
}

/** One server, and what is seen of it from outside. */
export interface Subject {
  readonly app: RequestListener
  readonly using: Effect.Effect<number>
  readonly statements: Effect.Effect<number>
}

const listen = (app: RequestListener): Effect.Effect<string, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<ReturnType<typeof createServer>>((resume) => {
        const server = createServer(app)
        // Twice as many as by default may wait, so that fewer requests are lost before the server sees them.
        server.listen(0, "127.0.0.1", 1_024, () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.async<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    ),
    (server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  )

/** A process of curl that makes so many requests, one after the other, and leaves each of them after a millisecond. */
const curl = (url: string, count: number, isPost: boolean): Effect.Effect<void, NoCurl> =>
  Effect.async((resume) => {
    const body = isPost ? ["-H", "content-type: application/json", "-d", '{"from":"curl"}'] : []
    const child = spawn("curl", ["-s", "-o", "/dev/null", "--max-time", "0.001", ...body, `${url}?n=[1-${count}]`], {
      stdio: "ignore"
    })
    child.once("close", () => resume(Effect.void))
    child.once("error", () => resume(Effect.fail(new NoCurl())))
    return Effect.sync(() => void child.kill())
  })

/** A client that waits; succeeds with the time that its answer took, if one came that is right. */
const ask = (url: string, body: string | undefined): Effect.Effect<Option.Option<number>> =>
  Effect.gen(function* () {
    const began = yield* Clock.currentTimeMillis
    const answer = yield* Effect.tryPromise(async (signal) => {
      const headers = { "content-type": "application/json" }
      const response = await fetch(url, body === undefined ? { signal } : { method: "POST", headers, body, signal })
      return { status: response.status, text: await response.text() }
    })
    const isRight = answer.status === 200 && answer.text === `{"got":${body ?? "null"}}`
    return isRight ? Option.some((yield* Clock.currentTimeMillis) - began) : Option.none()
  }).pipe(
    Effect.timeout(patience),
    Effect.orElseSucceed(() => Option.none())
  )

/** Healthy clients, one after the other, until `isOver`, and two at least. */
const healthy = (url: string, body: string | undefined, isOver: () => boolean): Effect.Effect<Kind> =>
  Effect.suspend(() => {
    let answered = 0
    let dropped = 0
    return ask(url, body).pipe(
      Effect.tap((answer) => Effect.sync(() => void (Option.isSome(answer) ? answered++ : dropped++))),
      Effect.zipRight(Effect.sleep("10 millis")),
      Effect.repeat({ until: () => isOver() && answered + dropped >= 2 }),
      Effect.map(() => ({ answered, dropped }))
    )
  })

const withOne = ({ answered, dropped }: Kind, answer: Option.Option<number>): Kind =>
  Option.isSome(answer) ? { answered: answered + 1, dropped } : { answered, dropped: dropped + 1 }

/** Floods a server with so many requests, half of them POSTs with a body, and looks at what is left of it. */
export const run = (
  { app, statements, using }: Subject,
  sent: number,
  progress: (arrived: number) => Effect.Effect<void>
): Effect.Effect<Ran, NoCurl> =>
  Effect.gen(function* () {
    let ofCurl = 0
    let lastAt = 0
    let isOver = false
    const url = yield* listen((request, response) => {
      if (request.url !== "/") {
        ofCurl++
        // Some arrive after curl has ended, because a busy server accepts its connections late.
        lastAt = performance.now()
      }
      app(request, response)
    })
    let told = 0
    yield* Effect.suspend(() => {
      if (told === ofCurl) return Effect.void
      told = ofCurl
      return progress(ofCurl)
    }).pipe(Effect.schedule(Schedule.spaced("2 seconds")), Effect.forkScoped)
    const waiting = yield* Effect.fork(
      Effect.all([healthy(url, undefined, () => isOver), healthy(url, '{"healthy":true}', () => isOver)], {
        concurrency: "unbounded"
      })
    )
    yield* Effect.forEach([false, true, false, true], (isPost) => curl(url, sent / 4, isPost), {
      concurrency: "unbounded",
      discard: true
    })
    isOver = true
    const [gets, posts] = yield* Fiber.join(waiting)
    const look = Effect.all({ using, statements, after: Effect.sync(() => Math.round(performance.now() - lastAt)) })
    const left = yield* Effect.repeat(look, {
      // A little silence, because the next request may be on its way.
      until: ({ after, statements, using }) => after >= patience || (after >= 50 && using === 0 && statements === 0),
      schedule: Schedule.spaced("10 millis")
    }).pipe(Effect.zipRight(look))
    // A GET beside it, when all is calm: a server that answers this one is not too busy for the other.
    const [next, get] = yield* Effect.all([ask(url, '{"next":true}'), ask(url, undefined)], {
      concurrency: "unbounded"
    })
    return { sent, arrived: ofCurl, gets: withOne(gets, get), posts, ...left, next: Option.getOrUndefined(next) }
  }).pipe(Effect.scoped)
