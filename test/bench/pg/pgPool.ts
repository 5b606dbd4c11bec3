import pg from "pg"
import { bracketed, type PromiseClient, promiseSubject } from "../sql/promises.js"

/** What `pg` is told to run. With a name it prepares the statement once for each connection. */
type ToQuery = (step: { name: string; text: string }, values: Array<unknown>) => pg.QueryConfig

export const named: ToQuery = ({ name, text }, values) => ({ name, text, values })
const unnamed: ToQuery = ({ text }, values) => ({ text, values })

const subject = (toQuery: ToQuery) =>
  promiseSubject(({ connections, url }): PromiseClient => {
    // Idle ones are kept, here as in all others: rounds of other subjects lie between two rounds.
    const pool = new pg.Pool({ connectionString: url, max: connections, idleTimeoutMillis: 0 })
    return {
      run: async (step, args) => (await pool.query(toQuery(step, args))).rows,
      pinned: async (body) => {
        const client = await pool.connect()
        try {
          await body(async (step, args) => (await client.query(toQuery(step, args))).rows)
        } finally {
          client.release()
        }
      },
      transaction: async (body) => {
        const client = await pool.connect()
        try {
          await bracketed(
            (text) => client.query(text),
            () => body(async (step, args) => (await client.query(toQuery(step, args))).rows)
          )
        } finally {
          client.release()
        }
      },
      close: () => pool.end()
    }
  })

export const withNames = subject(named)
export const withoutNames = subject(unnamed)
