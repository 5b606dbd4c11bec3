/** The server, in the measuring process. The clients are a process of their own, so that they do not use its time. */
import { fork } from "node:child_process"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { RequestConnection } from "@sluice/http"
import { Sql } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { Effect, Exit, Layer, Redacted, Scope } from "effect"
import type { Start } from "../harness/subject.js"
import type { Counts } from "./load.js"
import { capacity, deadlineMillis, type Settings, settings, workMillis } from "./settings.js"

/** Time on the processor. */
const work = Effect.sync(() => {
  const end = performance.now() + workMillis
  while (performance.now() < end);
})

const handler = work.pipe(
  Effect.zipRight(Sql.query(`select pg_sleep(${settings.statementMillis / 1_000})`)),
  Effect.as(HttpServerResponse.text("useful"))
)

const poolOf = ({ shedding, url }: Settings) =>
  PgSql.layer({
    url: Redacted.make(url),
    duplicates: "allow",
    pool: {
      maxSize: settings.connections,
      minIdle: settings.connections,
      shedding: { mode: shedding ? "on" : "off" }
    }
  })

const served = (given: Settings) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(poolOf(given))
    const middleware = yield* RequestConnection.make({ admission: given.admission, deadline: deadlineMillis }).pipe(
      Effect.provide(context)
    )
    const app = HttpRouter.empty.pipe(HttpRouter.get("/", handler), HttpRouter.use(middleware))
    const server = createServer()
    const http = yield* NodeHttpServer.make(() => server, { host: "127.0.0.1", port: 0 })
    yield* HttpServer.serveEffect(app).pipe(Effect.provideService(HttpServer.HttpServer, http))
    yield* Effect.addFinalizer(() => Effect.sync(() => server.closeAllConnections()))
    return (server.address() as AddressInfo).port
  })

export const start: Start<Settings> = async (settings) => {
  const scope = Effect.runSync(Scope.make())
  const port = await Effect.runPromise(Scope.extend(served(settings), scope))
  const load = fork(fileURLToPath(new URL("./load.ts", import.meta.url)), [
    String(port),
    String(settings.load * capacity)
  ])
  const ended = new Promise<never>((_, reject) => {
    load.once("exit", () => reject(new Error("the clients have ended")))
  })
  // They end at the close as well, when nobody waits for it.
  ended.catch(() => {})
  const spell = () =>
    Promise.race([
      ended,
      new Promise<Counts>((resolve) => {
        load.once("message", (counts: Counts) => resolve(counts))
        load.send("begin")
      })
    ])
  return {
    run: async (calls) => {
      let useful = 0
      let refused = 0
      let useless = 0
      let millis = 0
      const took: Array<number> = []
      for (let i = 0; i < calls; i++) {
        const counts = await spell()
        useful += counts.took.length
        refused += counts.refused
        useless += counts.useless
        millis += counts.millis
        took.push(...counts.took)
      }
      took.sort((a, b) => a - b)
      return {
        // Nanoseconds for one useful request.
        nanos: (millis * 1e6) / Math.max(1, useful),
        refused: (refused * 1_000) / millis,
        useless: (useless * 1_000) / millis,
        p99: took[Math.floor(took.length * 0.99)] ?? 0
      }
    },
    close: async () => {
      load.kill()
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }
  }
}
