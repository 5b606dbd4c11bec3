import mysql from "mysql2"
import { bracketed, promiseSubject, type Run } from "../sql/promises.js"
import type { Rows } from "../sql/workload.js"

type Verb = "query" | "execute"

type Pool = ReturnType<typeof mysql.createPool>

/**
 * With callbacks, for which it is made, and one promise around each: its own promises make an error with a stack for each
 * call, which costs more than they do.
 */
export const on =
  (client: Pool | mysql.Connection, verb: Verb): Run =>
  (step, args) =>
    new Promise((resolve, reject) => {
      const answered = (error: unknown, rows: unknown) => {
        if (error) reject(error)
        else resolve(Array.isArray(rows) ? (rows as Rows) : [])
      }
      if (verb === "query") client.query(step.text, args, answered)
      else client.execute(step.text, args as Array<any>, answered)
    })

export const command = (client: mysql.Connection, text: string): Promise<void> =>
  new Promise((resolve, reject) => client.query(text, (error) => (error ? reject(error) : resolve())))

const subject = (verb: Verb) =>
  promiseSubject(({ connections, url }) => {
    // Idle connections stay: as many as there may be.
    const pool = mysql.createPool({ uri: url, connectionLimit: connections })
    const connected = (): Promise<mysql.PoolConnection> =>
      new Promise((resolve, reject) =>
        pool.getConnection((error, connection) => (error ? reject(error) : resolve(connection)))
      )
    return {
      run: on(pool, verb),
      pinned: async (body) => {
        const connection = await connected()
        try {
          await body(on(connection, verb))
        } finally {
          connection.release()
        }
      },
      transaction: async (body) => {
        const connection = await connected()
        try {
          await bracketed(
            (text) => command(connection, text),
            () => body(on(connection, verb))
          )
        } finally {
          connection.release()
        }
      },
      close: () => new Promise<void>((resolve) => pool.end(() => resolve()))
    }
  })

export const query = subject("query")
export const execute = subject("execute")
