/** Requests over HTTP whose clients leave, and health checks beside those that wait. */
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Health, RequestConnection } from "@sluice/http"
import { Sql } from "@sluice/sql"
import { Effect } from "effect"
import { flood } from "../../../packages/http/test/support/curl.js"
import { get, serving } from "../../../packages/http/test/support/serving.js"
import type { Rig, Scenario } from "../scoreboard/model.js"
import { now, settle, start, statsOf, times, until } from "./support.js"

const NO_SERVER = "it has no part in a server of HTTP"

/** A server with a route that is slow, one that is fast and takes a body, and the health checks. */
const served = (rig: Rig, acquireTimeout: number) =>
  Effect.gen(function* () {
    const client = yield* rig.open({ acquireTimeout })
    const arrivals = { count: 0 }
    if (client.sluice === undefined) return yield* Effect.dieMessage(NO_SERVER)
    const withConnection = yield* Effect.provide(RequestConnection.make(), client.sluice)
    const echo = Effect.gen(function* () {
      const { text } = yield* HttpServerRequest.HttpServerRequest
      const body = yield* text
      yield* Sql.query("select 1 as n")
      return HttpServerResponse.text(body)
    })
    const slow = Effect.as(Sql.query(rig.sleep(30)), HttpServerResponse.empty())
    const app = HttpRouter.empty.pipe(
      HttpRouter.all("/slow", slow),
      HttpRouter.post("/echo", echo),
      HttpRouter.use(withConnection),
      HttpRouter.use((app) =>
        Effect.suspend(() => {
          arrivals.count++
          return app
        })
      ),
      HttpRouter.mount("/health", Health.router)
    )
    return { client, arrivals, url: yield* Effect.provide(serving(app), client.sluice) }
  })

const BODY = "x".repeat(1_000)

/** What a flood of requests leaves behind. */
export const aborted = (rig: Rig) =>
  Effect.gen(function* () {
    const { arrivals, client, url } = yield* served(rig, 60_000)
    let dropped = 0
    const healthy = Effect.map(get(`${url}/echo`, { method: "POST", body: BODY }), ({ status, text }) => {
      if (status !== 200 || text !== BODY) dropped++
    })
    const flooded = yield* start([flood(`${url}/slow`, 2_000)])
    yield* Effect.raceFirst(Effect.forever(healthy), flooded.within(60_000))
    // The last ones wait in the socket of the server for longer than their clients do.
    let before = -1
    while (before !== arrivals.count) {
      before = arrivals.count
      yield* Effect.sleep(100)
    }
    const began = now()
    const { status } = yield* get(`${url}/health/ready`)
    const took = now() - began
    yield* Effect.sleep(1_000)
    const running = (yield* rig.cluster.sessions(rig.name)).filter(({ isRunning }) => isRunning).length
    const stats = yield* statsOf(client)
    const next = yield* settle(1_000, [get(`${url}/echo`, { method: "POST", body: BODY })])
    return {
      health: status === 200 ? took : ("never" as const),
      using: stats?.using ?? 0,
      running,
      dropped,
      next: next.slowest
    }
  })

const WAITING = 245

/** How long health checks take while every connection is in use, for longer than a byte says that the server works. */
export const saturated = (rig: Rig) =>
  Effect.gen(function* () {
    const { client, url } = yield* served(rig, 600_000)
    const busy = yield* start(times(10 + WAITING, () => client.query(rig.sleep(30))))
    const isFull = yield* until(10_000, () => Effect.map(statsOf(client), (stats) => stats?.waiting === WAITING))
    yield* Effect.sleep(1_500)
    let slowest = 0
    let failed = 0
    for (let i = 0; i < 20; i++) {
      const began = now()
      const { status } = yield* get(`${url}/health/${i % 2 === 0 ? "ready" : "live"}`)
      slowest = Math.max(slowest, now() - began)
      if (status !== 200) failed++
      yield* Effect.sleep(100)
    }
    const waiting = isFull ? ((yield* statsOf(client))?.waiting ?? 0) : 0
    yield* busy.leave
    return { slowest, failed, waiting }
  })

export const scenarios: ReadonlyArray<Scenario> = [
  {
    id: "F11",
    name: "2,000 requests of curl with a limit of 1 ms, GET and POST with a body: the health check is answered at once, nothing of them is left a second later, the next request is served, and no healthy request beside them was dropped.",
    places: ["postgresql", "mysql"],
    notRun: { peers: NO_SERVER },
    patience: 60,
    numbers: {
      health: { title: "health check after", unit: "ms", atMost: 100 },
      using: { title: "connections in use 1 s later", unit: "count", atMost: 0 },
      running: { title: "statements running 1 s later", unit: "count", atMost: 0 },
      dropped: { title: "healthy requests dropped", unit: "count", atMost: 0 },
      next: { title: "next request after", unit: "ms", atMost: 100 }
    },
    run: aborted
  },
  {
    id: "F21",
    name: "10 connections are at work for long and 245 callers wait: 20 health checks over 2 s are answered within 100 ms each.",
    places: ["postgresql", "mysql"],
    notRun: { peers: NO_SERVER },
    patience: 60,
    numbers: {
      slowest: { title: "the slowest check", unit: "ms", atMost: 100 },
      failed: { title: "of 20, not well", unit: "count", atMost: 0 },
      waiting: { title: "callers that wait meanwhile", unit: "count", atLeast: WAITING }
    },
    run: saturated
  }
]
