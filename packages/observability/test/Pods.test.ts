/** Many processes are asked: real ones over HTTP, and, for time, ones that a test answers for. */
import { createServer, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Pods, StatsJson } from "@sluice/observability"
import { Effect, Either, Redacted, Scope } from "effect"
import { VirtualClock } from "../../pool/test/support/VirtualClock.js"
import { statsUrl } from "../src/internal/pods/addresses.js"
import * as Running from "../src/internal/pods/pods.js"
import { of } from "./support/reports.js"

/** Processes that the test answers for. `answers` says how: with the text, with a status, or never. */
const fleet = (answers: (host: string) => string | number | "never") => {
  let open = 0
  let most = 0
  let asked = 0
  const perHost = new Map<string, number>()
  const client = HttpClient.make((request, url) =>
    Effect.suspend(() => {
      asked++
      open++
      most = Math.max(most, open)
      perHost.set(url.host, (perHost.get(url.host) ?? 0) + 1)
      const answer = answers(url.host)
      if (answer === "never") return Effect.never
      const response = typeof answer === "number" ? new Response("", { status: answer }) : new Response(answer)
      return Effect.succeed(HttpClientResponse.fromWeb(request, response))
    }).pipe(Effect.ensuring(Effect.sync(() => open--)))
  )
  return { client, counts: () => ({ open, most, asked, perHost }) }
}

const settings = (urls: ReadonlyArray<string>): Running.Settings => ({
  urls: urls.map((url) => statsUrl(url)!),
  token: undefined,
  every: 1_000,
  timeout: 2_000
})

const alone = (host: string) => Effect.succeed([host])

/** A test on a clock of its own, whose scope is closed at the end. */
const onClock = (body: (clock: VirtualClock) => Effect.Effect<void, any, Scope.Scope>) => {
  const clock = new VirtualClock()
  return Effect.gen(function* () {
    const scope = yield* Scope.make()
    const exit = yield* Effect.exit(Scope.extend(body(clock), scope))
    yield* Scope.close(scope, exit)
    assert.strictEqual(clock.sleeping, 0)
    return yield* exit
  }).pipe(Effect.withClock(clock))
}

describe("Pods", () => {
  it.effect(
    "fifty processes, half of which never answer: one question at a time to each, and the others are asked once a second",
    () =>
      onClock((clock) =>
        Effect.gen(function* () {
          const isDead = (host: string) => Number(/\d+/.exec(host)![0]) % 2 === 1
          const { client, counts } = fleet((host) => (isDead(host) ? "never" : StatsJson.encode(of({}, host))))
          const urls = Array.from({ length: 50 }, (_, i) => `pod-${i}:9400`)
          const pods = yield* Running.make(settings(urls), client, alone)
          for (let second = 0; second < 8; second++) {
            pods()
            yield* clock.pass(1_000)
            assert.isAtMost(counts().open, 25)
          }
          const { most, perHost } = counts()
          assert.isAtMost(most, 50)
          assert.approximately(perHost.get("pod-0:9400")!, 8, 1)
          assert.approximately(perHost.get("pod-1:9400")!, 4, 1)
          const all = pods()
          assert.strictEqual(all.filter(({ report }) => report !== undefined).length, 25)
          assert.deepStrictEqual(
            [...new Set(all.filter(({ report }) => report === undefined).map(({ error }) => error))],
            ["no answer within 2000 ms"]
          )
        })
      )
  )

  it.effect("nobody is asked while nobody looks, and everybody soon after somebody does", () =>
    onClock((clock) =>
      Effect.gen(function* () {
        const { client, counts } = fleet((host) => StatsJson.encode(of({}, host)))
        const pods = yield* Running.make(settings(["pod-1"]), client, alone)
        yield* clock.pass(60_000)
        const { asked } = counts()
        assert.isAtMost(asked, 12)
        yield* clock.pass(600_000)
        assert.strictEqual(counts().asked, asked)
        assert.isAbove(pods()[0]!.ageMs, 600_000)
        yield* clock.pass(2_000)
        assert.isAtMost(pods()[0]!.ageMs, 1_000)
      })
    )
  )

  it.effect("the last report and its age are kept of a process that answers no more", () =>
    onClock((clock) =>
      Effect.gen(function* () {
        let answer: string | number = StatsJson.encode(of({}, "orders-1"))
        const pods = yield* Running.make(settings(["pod-1"]), fleet(() => answer).client, alone)
        yield* clock.pass(500)
        assert.deepInclude(pods()[0], { error: undefined, ageMs: 500 })
        for (const [wrong, error] of [
          [503, "it answers with status 503"],
          [403, "it answers with status 403: a token is needed from here"],
          ["<html>", "no report: it is no JSON"],
          ["x".repeat(StatsJson.longest + 1), `no report: it has more than ${StatsJson.longest} bytes`]
        ] as const) {
          answer = wrong
          yield* clock.pass(1_000)
          assert.deepInclude(pods()[0], { error, url: "http://pod-1/stats.json" })
        }
        assert.strictEqual(pods()[0]!.report!.pod, "orders-1")
        assert.strictEqual(pods()[0]!.ageMs, 4_500)
      })
    )
  )

  it.effect("a name with several addresses stands for one process at each, and they are looked up again", () =>
    onClock((clock) =>
      Effect.gen(function* () {
        let addresses: ReadonlyArray<string> = ["10.0.0.1", "10.0.0.2", "fd00::1"]
        const { client, counts } = fleet((host) => StatsJson.encode(of({}, host)))
        const pods = yield* Running.make(settings(["http://orders:9400/sluice"]), client, () =>
          Effect.succeed(addresses)
        )
        const urls = () => pods().map(({ url }) => url)
        yield* clock.pass(1_500)
        assert.deepStrictEqual(urls(), [
          "http://10.0.0.1:9400/sluice/stats.json",
          "http://10.0.0.2:9400/sluice/stats.json",
          "http://[fd00::1]:9400/sluice/stats.json"
        ])
        addresses = ["10.0.0.2", "10.0.0.3"]
        yield* clock.pass(10_000)
        assert.deepStrictEqual(
          pods().map(({ url, report }) => [url, report?.pod]),
          [
            ["http://10.0.0.2:9400/sluice/stats.json", "10.0.0.2:9400"],
            ["http://10.0.0.3:9400/sluice/stats.json", "10.0.0.3:9400"]
          ]
        )
        const before = counts().perHost.get("10.0.0.1:9400")
        pods()
        yield* clock.pass(5_000)
        assert.strictEqual(counts().perHost.get("10.0.0.1:9400"), before)
      })
    )
  )

  it.live("real processes: one that answers, one that refuses, one that hangs, one that is not there", () =>
    Effect.gen(function* () {
      const open = (handler: (response: ServerResponse, token: string | undefined) => void) =>
        Effect.acquireRelease(
          Effect.async<Server>((resume) => {
            const server = createServer((request, response) => handler(response, request.headers.authorization))
            server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
          }),
          (server) =>
            Effect.async<void>((resume) => {
              server.close(() => resume(Effect.void))
              server.closeAllConnections()
            })
        )
      const urlOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/board`
      const answers = yield* open((response, token) => {
        response.statusCode = token === "Bearer let-me-in-please" ? 200 : 401
        response.end(StatsJson.encode(of({}, "orders-1")))
      })
      const refuses = yield* open((response) => response.writeHead(403).end())
      const hangs = yield* open((response) => void response.writeHead(200).write("{"))
      const gone = yield* Effect.scoped(
        Effect.map(
          open(() => {}),
          urlOf
        )
      )
      const pods = yield* Pods.make({
        urls: [urlOf(answers), urlOf(refuses), urlOf(hangs), gone],
        token: Redacted.make("let-me-in-please"),
        every: "100 millis",
        timeout: "300 millis"
      })
      let fleet = yield* pods.fleet
      while (fleet.reports.length !== 1 || fleet.silent.length !== 3) {
        yield* Effect.sleep("20 millis")
        fleet = yield* pods.fleet
      }
      assert.deepStrictEqual(fleet.reports[0]!.pod, "orders-1")
      const errors = Object.fromEntries(
        (yield* pods.all).map(({ error, url }) => [url.replace("/stats.json", ""), error])
      )
      assert.deepStrictEqual(errors, {
        [urlOf(answers)]: undefined,
        [urlOf(refuses)]: "it answers with status 403: a token is needed from here",
        [urlOf(hangs)]: "no answer within 300 ms",
        [gone]: "it cannot be reached (ECONNREFUSED)"
      })
    }).pipe(Effect.provide(NodeHttpClient.layer), Effect.scoped)
  )

  it.effect("refuses addresses and times that have no meaning, all at once", () =>
    Effect.gen(function* () {
      const refused = yield* Effect.either(
        Effect.scoped(Pods.make({ urls: ["ftp://pod-1", "pod 1"], every: "1 milli", timeout: "2 minutes" }))
      ).pipe(Effect.provideService(HttpClient.HttpClient, fleet(() => 200).client))
      assert.lengthOf(Either.match(refused, { onLeft: ({ problems }) => problems, onRight: () => [] }), 4)
    })
  )
})
