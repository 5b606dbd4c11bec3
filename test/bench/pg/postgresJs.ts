import postgres from "postgres"
import { type PromiseClient, promiseSubject } from "../sql/promises.js"

/** Sends up to a hundred statements ahead on each connection, as it does by default. */
export const query = promiseSubject(async ({ connections, url }): Promise<PromiseClient> => {
  const sql = postgres(url, { max: connections, max_lifetime: null, fetch_types: false })
  // Connections of `reserve` are lost when several are asked for while none is open.
  await Promise.all(Array.from({ length: connections }, () => sql`select 1`))
  return {
    run: (step, args) => step.tagged(sql, args),
    pinned: async (body) => {
      const reserved = await sql.reserve()
      try {
        await body((step, args) => step.tagged(reserved, args))
      } finally {
        reserved.release()
      }
    },
    transaction: (body) => sql.begin((transaction) => body((step, args) => step.tagged(transaction, args))),
    close: () => sql.end()
  }
})
