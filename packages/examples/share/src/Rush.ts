/**
 * The rush hour: four processes against one server. First a few requests; then the job begins in every process; then the requests of the
 * day come.
 */
import type { PgCluster } from "@sluice/testkit"
import { Clock, Console, Effect, Either, type Scope } from "effect"
import * as Load from "./Load.js"

export const processes = 4

/** Places of the server, and what it keeps of them for its administrators. */
export const maxConnections = 30
export const places = maxConnections - 3

/** What a request does: 40 milliseconds of the server's time. */
export const request = "select pg_sleep(0.04)"

/** What the job does, again and again, and how often in a round. */
export const work = "select pg_sleep(0.05)"
export const round = 20

/** One way to set up the four processes. */
export interface Side {
  /** Runs one request in the process of this number. */
  readonly request: (process: number) => Effect.Effect<unknown, unknown>
  /** From now on the job runs in every process. */
  readonly beginJobs: Effect.Effect<unknown, unknown, Scope.Scope>
  /** Statements that the jobs have executed until now. */
  readonly done: Effect.Effect<number>
}

export interface Seen {
  readonly answers: ReadonlyArray<Load.Answer>
  /** Most sessions that the server had at once for the program. */
  readonly peak: number
  readonly done: number
}

export const run = (side: Side, primary: PgCluster.PgNode, user: string): Effect.Effect<Seen, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const began = yield* Clock.currentTimeMillis
    let turn = 0
    let sessions = 0
    let peak = 0
    const look = Effect.gen(function* () {
      const activity = yield* Effect.either(primary.activity)
      if (Either.isLeft(activity)) return
      sessions = activity.right.filter((session) => session.user === user).length
      peak = Math.max(peak, sessions)
    })
    yield* Load.watch(look, 200)
    // Each request comes to the next process, as a load balancer sends it.
    const load = yield* Load.start(() => side.request(turn++ % processes), 100)
    let seen = 0
    let what = "a few requests"
    const line = Effect.gen(function* () {
      const lately = load.answers.slice(seen)
      seen = load.answers.length
      const failed = lately.filter(({ failure }) => failure !== undefined).length
      const second = String(Math.round(((yield* Clock.currentTimeMillis) - began) / 1_000)).padStart(3)
      yield* Console.log(
        `  ${second} s  ${what.padEnd(34)} served ${String(lately.length - failed).padStart(4)}  failed ${String(failed).padStart(4)}  connections ${String(sessions).padStart(2)} of ${places}`
      )
    })
    yield* Load.watch(Effect.delay(line, "900 millis"), 100)
    yield* Effect.sleep("1 second")
    what = "and the job begins"
    yield* side.beginJobs
    yield* Effect.sleep("1500 millis")
    what = "and the requests of the day come"
    yield* load.pace(3)
    yield* Effect.sleep("3 seconds")
    yield* load.stop
    return { answers: load.answers, peak, done: yield* side.done }
  })
