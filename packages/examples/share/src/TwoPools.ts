/** Before: the requests have a pool, and the background job, which somebody added later, has made one of its own. */
import pg from "pg"

/** Connections of each pool. */
export const max = 5

export interface Process {
  readonly query: (sql: string) => Promise<unknown>
  /** Runs one round of the job: so many statements, and gives how many were executed. */
  readonly round: (sql: string, statements: number) => Promise<number>
  readonly end: () => Promise<unknown>
}

export const start = (connectionString: string): Process => {
  const requests = new pg.Pool({ connectionString, max })
  const job = new pg.Pool({ connectionString, max })
  for (const pool of [requests, job]) pool.on("error", () => {}) // else a lost idle connection ends the process
  return {
    query: (sql) => requests.query(sql),
    round: async (sql, statements) => {
      const results = await Promise.allSettled(Array.from({ length: statements }, () => job.query(sql)))
      return results.filter(({ status }) => status === "fulfilled").length
    },
    end: () => Promise.all([requests.end(), job.end()])
  }
}
