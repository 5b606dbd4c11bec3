/** The application before: a middleware that takes a connection of pg's pool, and a handler that uses it. */
import { Effect, Redacted } from "effect"
import express, { type ErrorRequestHandler, type Request, type RequestHandler } from "express"
import { Pool, type PoolClient } from "pg"

/** Connections of each pool. */
export const maxSize = 10

/** The statement of each request. It takes the server a fiftieth of a second. */
export const work = "select pg_sleep(0.02)"

/** What each request is answered with: its own body. */
export const answer = (request: Request) => ({ got: request.body ?? null })

// Both middlewares give a connection back while a statement runs on it, and pg warns the next one that uses it.
process.noDeprecation = true

/** Without it Express would print the requests that fail when the demo ends. */
const unanswered: ErrorRequestHandler = (_error, _request, response, _next) => void response.destroy()

export const make = (
  url: Redacted.Redacted<string>,
  applicationName: string,
  middleware: (pool: Pool) => RequestHandler
) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const pool = new Pool({
          connectionString: Redacted.value(url),
          application_name: applicationName,
          max: maxSize
        })
        const clients = new Set<PoolClient>()
        pool.on("error", () => {})
        pool.on("connect", (client) => {
          clients.add(client)
          client.on("error", () => {})
        })
        return { pool, clients }
      }),
      // Its own end would wait for the connections that nobody gives back.
      ({ clients }) =>
        Effect.promise(() =>
          Promise.allSettled([...clients].map((client) => (client as unknown as { end: () => Promise<void> }).end()))
        )
    ),
    ({ pool }) => {
      const handler: RequestHandler = async (request, response) => {
        const client: PoolClient = response.locals["client"]
        await client.query(work)
        response.json(answer(request))
      }
      const app = express().use(express.json(), middleware(pool)).all("/", handler).use(unanswered)
      return { app, using: () => pool.totalCount - pool.idleCount }
    }
  )
