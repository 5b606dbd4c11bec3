import pg from "pg"
import { genericPool } from "../sql/genericPool.js"
import { named } from "./pgPool.js"

export const withNames = genericPool<pg.Client>({
  connect: async (url) => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    return client
  },
  end: (client) => client.end(),
  run: (client) => async (step, args) => (await client.query(named(step, args))).rows,
  command: (client, text) => client.query(text)
})
