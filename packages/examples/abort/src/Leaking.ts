/** Before: the middleware of the report. Each request takes a connection, and gives it back when its response is closed. */
import type { RequestHandler } from "express"
import type { Pool } from "pg"

export const middleware =
  (pool: Pool): RequestHandler =>
  async (_request, response, next) => {
    const client = await pool.connect()
    response.locals["client"] = client
    // Too late: a client that left while the connection was awaited has closed the response already, and the event comes only once.
    response.once("close", () => client.release())
    next()
  }
