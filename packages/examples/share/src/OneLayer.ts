/** After: requests and job share one Layer, and with it one pool. */
import { Job, Sql } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { Effect, type Redacted, Schedule } from "effect"

/** Connections of the pool, for requests and job together. */
export const maxSize = 5

/** The connections of a process. */
export const layer = (url: Redacted.Redacted<string>) =>
  PgSql.layer({
    url,
    pool: { maxSize },
    // Only because this demo has four programs in one process, which would be told so.
    duplicates: "allow"
  })

/** Runs one statement of a request. */
export const query = (sql: string) => Sql.query(sql)

/** The job. Its Layer stands on the one above, so it has the same connections, behind the requests. */
export const job = (sql: string, statements: number, done: Effect.Effect<void>) =>
  Job.layer(
    { name: "sync", schedule: Schedule.spaced("250 millis") },
    Effect.forEach(Array.from({ length: statements }), () => Effect.zipRight(Sql.query(sql), done), {
      concurrency: maxSize,
      discard: true
    })
  )
