import { Effect, Exit, type Layer, ManagedRuntime, Runtime } from "effect"
import type { Start } from "../harness/subject.js"
import { Round } from "./callers.js"
import { expectRows, nextKey, type Rows, type SqlSettings, type Step, workloadOf } from "./workload.js"

type Within<R> = <A, E>(body: Effect.Effect<A, E, R>) => Effect.Effect<A, unknown, R>

/** A client whose statements are effects. */
export interface FiberClient<R> {
  readonly layer: Layer.Layer<R, unknown>
  readonly run: (step: Step, args: Array<unknown>) => Effect.Effect<Rows, unknown, R>
  /** Runs `body` on one connection. */
  readonly pinned?: Within<R>
  /** The same between BEGIN and COMMIT. */
  readonly transaction?: Within<R>
}

/** Callers that are fibers, each with one operation after another. */
export const fiberSubject =
  <R>(open: (settings: SqlSettings) => FiberClient<R>): Start<SqlSettings> =>
  async (settings) => {
    const { shape, slow, slowEvery, steps } = workloadOf(settings)
    const client = open(settings)
    const managed = ManagedRuntime.make(client.layer)
    const runtime = await managed.runtime()
    const [first] = steps

    const one = (round: Round, caller: number): Effect.Effect<void, unknown, R> => {
      let step = first
      let args: Array<unknown> = []
      let startedAt = 0
      return Effect.whileLoop({
        while: () => round.take(),
        body: () => {
          const isSlow = slowEvery > 0 && round.number % slowEvery === 0
          step = isSlow ? slow : first
          args = step.args(nextKey())
          startedAt = isSlow ? Number.NaN : performance.now()
          return client.run(step, args)
        },
        step: (rows) => {
          expectRows(step, args, rows)
          round.finish(caller, startedAt)
        }
      })
    }
    const several =
      (within: Within<R>) =>
      (round: Round, caller: number): Effect.Effect<void, unknown, R> => {
        let startedAt = 0
        const body = Effect.gen(function* () {
          for (const step of steps) {
            const args = step.args(nextKey())
            expectRows(step, args, yield* client.run(step, args))
          }
        })
        return Effect.whileLoop({
          while: () => round.take(),
          body: () => {
            startedAt = performance.now()
            return within(body)
          },
          step: () => round.finish(caller, startedAt)
        })
      }
    const within = shape === "one" ? undefined : client[shape]
    if (shape !== "one" && within === undefined) throw new Error(`this subject cannot do "${shape}"`)
    const work = within === undefined ? one : several(within)

    const fork = (effect: Effect.Effect<void, unknown, R>): Promise<void> =>
      new Promise((resolve, reject) => {
        Runtime.runFork(runtime)(effect).addObserver((exit) => {
          if (Exit.isSuccess(exit)) resolve()
          else reject(new Error(String(exit.cause)))
        })
      })
    return {
      run: async (calls) => {
        const round = new Round(settings.callers, calls * settings.callers)
        const callers = []
        for (let caller = 0; caller < settings.callers; caller++) callers.push(fork(work(round, caller)))
        await Promise.all(callers)
        return round.metrics()
      },
      close: () => managed.dispose()
    }
  }
