/** The flood: a job with thousands of statements in line, in one process with one pool, while requests come. */
import { Job, Sql } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { Chunk, Clock, Console, Effect, Fiber, Layer, type Redacted, Schedule } from "effect"
import * as Load from "./Load.js"

export const statements = 5_000

/** What each statement of the flood does, and each request. */
const work = "select pg_sleep(0.005)"

/** Milliseconds between two requests. */
const pace = 10

export interface Seen {
  /** How the requests fared. Their waits are as long as those of the flood before them, if both are of one class. */
  readonly requests: ReadonlyArray<Load.Answer>
  /** Statements of the flood that were executed. */
  readonly done: number
  /** Most callers that waited at once. */
  readonly waiting: number
  /** Milliseconds: how long a connection was held, on average. */
  readonly hold: number
  readonly elapsed: number
}

export interface Evidence {
  /** Requests without a flood. */
  readonly idle: ReadonlyArray<Load.Answer>
  /** The flood in the class of the requests, and in that of a job. */
  readonly before: Seen
  readonly after: Seen
  /** What a second pool on the same database, in the same process, comes to. `undefined`: it was made. */
  readonly second: string | undefined
  readonly opened: number
  readonly closed: number
}

/** All statements at once. Nobody waits for them, so they may wait long for a connection. */
const flood = Effect.forEach(Chunk.range(1, statements), () => Sql.query(work), {
  concurrency: "unbounded",
  discard: true
})

const job = (name: string, priority: "normal" | "background") =>
  Job.layer({ name, priority, acquireTimeout: "1 minute", schedule: Schedule.spaced("1 hour") }, flood)

export const run = (url: Redacted.Redacted<string>) =>
  Effect.gen(function* () {
    const holds = { count: 0, sum: 0 }
    const SqlLive = PgSql.layer({
      url,
      hooks: {
        afterRelease: (heldMs) =>
          Effect.sync(() => {
            holds.count++
            holds.sum += heldMs
          })
      }
    })
    const program = Effect.gen(function* () {
      const request = () => Sql.query(work)
      yield* Console.log("  requests alone …")
      const quiet = yield* Load.start(request, pace)
      yield* Effect.sleep("2 seconds")
      yield* quiet.stop

      const under = (name: string) =>
        Effect.gen(function* () {
          const began = yield* Clock.currentTimeMillis
          holds.count = 0
          holds.sum = 0
          let waiting = 0
          const look = Effect.map(Sql.stats, ({ write }) => {
            waiting = Math.max(waiting, write.waiting)
          })
          yield* Load.watch(look, 10)
          const running = yield* Effect.fork(Job.runNow(name))
          // From the moment at which the flood is in line.
          yield* Effect.repeat(look, {
            until: () => waiting >= statements / 2 || running.unsafePoll() !== null,
            schedule: Schedule.spaced(2)
          })
          const load = yield* Load.start(request, pace)
          const { outcome } = yield* Fiber.join(running)
          yield* load.stop
          const elapsed = (yield* Clock.currentTimeMillis) - began
          return {
            requests: load.answers,
            done: outcome === "succeeded" ? statements : 0,
            waiting,
            hold: holds.sum / holds.count,
            elapsed
          } satisfies Seen
        }).pipe(Effect.scoped)

      yield* Console.log(`  requests, and ${statements} statements of a job in the same class …`)
      const before = yield* under("same class")
      yield* Console.log(`  requests, and ${statements} statements of a job in class background …`)
      const after = yield* under("background")
      const second = yield* PgSql.make({ url, duplicates: "error" }).pipe(
        Effect.scoped,
        Effect.match({ onFailure: ({ message }) => message, onSuccess: () => undefined })
      )
      return { idle: quiet.answers, before, after, second, sql: yield* Sql.Sql }
    })
    const jobs = Layer.merge(job("same class", "normal"), job("background", "background"))
    const { sql, ...seen } = yield* program.pipe(Effect.scoped, Effect.provide(Layer.provideMerge(jobs, SqlLive)))
    const { closed, connects } = (yield* sql.stats).write
    return { ...seen, opened: connects, closed: Object.values(closed).reduce((a, b) => a + b, 0) } satisfies Evidence
  })
