/** A pool that has nothing open, or one connection, and is asked for ten at once: how long until all have their answer. */
import { Sql } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { Effect, Redacted } from "effect"
import pg from "pg"
import type { Metrics, Start } from "../harness/subject.js"

export interface ColdSettings {
  readonly url: string
  readonly connections: number
  /** What the server needs for one statement. */
  readonly seconds: number
}

const text = "select pg_sleep($1::float8)"

/** One call makes a pool, asks it for as many statements as it may have connections, and closes it. The statements are timed. */
const subject =
  (burst: (settings: ColdSettings) => Promise<number>): Start<ColdSettings> =>
  (settings) => ({
    run: async (calls): Promise<Metrics> => {
      let millis = 0
      for (let i = 0; i < calls; i++) millis += await burst(settings)
      return { wall: (millis * 1e6) / (calls * settings.connections) }
    }
  })

export const pgPool = subject(async ({ connections, seconds, url }) => {
  const pool = new pg.Pool({ connectionString: url, max: connections })
  const began = performance.now()
  await Promise.all(Array.from({ length: connections }, () => pool.query(text, [seconds])))
  const took = performance.now() - began
  await pool.end()
  return took
})

export const sluice = subject(({ connections, seconds, url }) =>
  Effect.gen(function* () {
    const began = performance.now()
    yield* Effect.all(
      Array.from({ length: connections }, () => Sql.query(text, [seconds])),
      { concurrency: "unbounded", discard: true }
    )
    return performance.now() - began
  }).pipe(
    Effect.provide(
      PgSql.layer({
        url: Redacted.make(url),
        startup: "lazy",
        pool: { maxSize: connections, acquireTimeout: "1 minute" }
      })
    ),
    Effect.runPromise
  )
)
