import { createPool } from "generic-pool"
import pg from "pg"
import { named } from "./pgPool.js"
import { type PromiseClient, promiseSubject } from "./promises.js"

export const withNames = promiseSubject(({ connections, url }): PromiseClient => {
  const pool = createPool<pg.Client>(
    {
      create: async () => {
        const client = new pg.Client({ connectionString: url })
        await client.connect()
        return client
      },
      destroy: (client) => client.end()
    },
    { max: connections, min: connections }
  )
  const on = <A>(body: (client: pg.Client) => Promise<A>): Promise<A> => pool.use(body)
  return {
    run: (step, args) => on(async (client) => (await client.query(named(step, args))).rows),
    pinned: (body) => on((client) => body(async (step, args) => (await client.query(named(step, args))).rows)),
    transaction: (body) =>
      on(async (client) => {
        await client.query("begin")
        try {
          await body(async (step, args) => (await client.query(named(step, args))).rows)
          await client.query("commit")
        } catch (error) {
          await client.query("rollback")
          throw error
        }
      }),
    close: async () => {
      await pool.drain()
      await pool.clear()
    }
  }
})
