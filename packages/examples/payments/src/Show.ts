/** The demo under load and faults, which judges itself, and the same program to send requests to. */
import { HttpServer } from "@effect/platform"
import { bounded, verdict } from "@sluice/example-program/work"
import { PgCluster } from "@sluice/testkit"
import { Effect, Logger } from "effect"
import * as Board from "./Board.js"
import * as Claims from "./Claims.js"
import * as Demo from "./Demo.js"
import * as Live from "./Live.js"

export const demo = Effect.gen(function* () {
  const evidence = yield* bounded(Demo.run, "90 seconds")
  const screen = yield* Board.terminal
  const claims = Claims.judge(evidence)
  const lines = Claims.render(claims, screen.columns - 2).map(
    ({ held, text }) => `  ${Board.paint(screen, held ? "green" : "red", text.slice(0, 1))}${text.slice(1)}\n`
  )
  yield* Board.print(`\n${lines.join("")}\n`)
  const { code, text } = verdict(claims)
  yield* Board.print(`  ${text}\n`)
  return code
})

export const serve = Effect.gen(function* () {
  yield* Board.print("starting a primary and a replica …\n")
  const cluster = yield* PgCluster.make({ replicas: 1 })
  const running = HttpServer.addressFormattedWith((url) =>
    Board.print(`
${url}

  curl -i ${url}/payments -H 'content-type: application/json' \\
    -d '{"id":"${crypto.randomUUID()}","amount":1250,"currency":"EUR"}'
  curl -i ${url}/payments/<id>
  curl -s ${url}/stats

the board of its pools: ${url}/pools

Ctrl-C ends it.
`)
  )
  return yield* Effect.zipRight(running, Effect.never).pipe(
    Effect.provide(Live.layer(cluster, { port: 0, board: true }))
  )
}).pipe(
  Effect.scoped,
  // Logs go to stderr, so that stdout has only the address and the examples.
  Effect.provide(Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger)))
)
