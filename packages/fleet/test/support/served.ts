/** A server that answers with reports, as the pods of a program do. */
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import type { Report } from "@sluice/observability"
import { Effect, type Scope } from "effect"

export interface Served {
  /** Where the report is. */
  readonly url: string
  /** What it answers from now on. `undefined`: it does not answer at all. */
  answer: Report.Report | string | undefined
  /** How often it was asked. */
  readonly asked: () => number
}

export const serve = (answer: Served["answer"]): Effect.Effect<Served, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<readonly [Server, Served]>((resume) => {
        let asked = 0
        const server = createServer((_, response) => {
          asked++
          const { answer } = served
          if (answer !== undefined) response.setHeader("content-type", "application/json")
          if (answer !== undefined) response.end(typeof answer === "string" ? answer : JSON.stringify(answer))
        })
        const served: Served = { url: "", answer, asked: () => asked }
        server.listen(0, "127.0.0.1", () => {
          const { port } = server.address() as AddressInfo
          resume(Effect.succeed([server, Object.assign(served, { url: `http://127.0.0.1:${port}` })]))
        })
      }),
      ([server]) =>
        Effect.async<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    ),
    ([, served]) => served
  )

/** Where nobody answers: a port that was free a moment ago. */
export const nowhere: Effect.Effect<string> = Effect.scoped(Effect.map(serve(undefined), ({ url }) => url))
