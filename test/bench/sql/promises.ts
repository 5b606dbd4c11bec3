import type { Start } from "../harness/subject.js"
import { Round } from "./callers.js"
import { expectRows, nextKey, type Rows, type SqlSettings, type Step, workloadOf } from "./workload.js"

/** Runs one statement and gives its rows. */
export type Run = (step: Step, args: Array<unknown>) => PromiseLike<Rows>

/** A client whose statements are promises. */
export interface PromiseClient {
  readonly run: Run
  /** Runs `body` on one connection. */
  readonly pinned?: (body: (run: Run) => Promise<void>) => Promise<unknown>
  /** The same between BEGIN and COMMIT. */
  readonly transaction?: (body: (run: Run) => Promise<void>) => Promise<unknown>
  readonly close: () => Promise<unknown>
}

/** A transaction as one writes it by hand. `command` runs on one connection. */
export const bracketed = async (command: (text: string) => PromiseLike<unknown>, body: () => Promise<void>) => {
  await command("begin")
  try {
    await body()
    await command("commit")
  } catch (error) {
    await command("rollback")
    throw error
  }
}

const block = ({ pinned, transaction }: PromiseClient, shape: "pinned" | "transaction") => {
  const found = shape === "pinned" ? pinned : transaction
  if (found === undefined) throw new Error(`this subject cannot do "${shape}"`)
  return found
}

/** Callers that await one operation after another. */
export const promiseSubject =
  (open: (settings: SqlSettings) => PromiseClient | Promise<PromiseClient>): Start<SqlSettings> =>
  async (settings) => {
    const { shape, slow, slowEvery, steps } = workloadOf(settings)
    const client = await open(settings)
    const [first] = steps
    // One statement is awaited by its caller directly: another async function around it would cost a microtask or two.
    const one = async (round: Round, caller: number): Promise<void> => {
      while (round.take()) {
        const isSlow = slowEvery > 0 && round.number % slowEvery === 0
        const step = isSlow ? slow : first
        const args = step.args(nextKey())
        const startedAt = isSlow ? Number.NaN : performance.now()
        expectRows(step, args, await client.run(step, args))
        round.finish(caller, startedAt)
      }
    }
    const several =
      (within: (body: (run: Run) => Promise<void>) => Promise<unknown>) =>
      async (round: Round, caller: number): Promise<void> => {
        const body = async (run: Run): Promise<void> => {
          for (const step of steps) {
            const args = step.args(nextKey())
            expectRows(step, args, await run(step, args))
          }
        }
        while (round.take()) {
          const startedAt = performance.now()
          await within(body)
          round.finish(caller, startedAt)
        }
      }
    const work = shape === "one" ? one : several(block(client, shape))
    return {
      run: async (calls) => {
        const round = new Round(settings.callers, calls * settings.callers)
        const callers = []
        for (let caller = 0; caller < settings.callers; caller++) callers.push(work(round, caller))
        await Promise.all(callers)
        return round.metrics()
      },
      close: async () => {
        await client.close()
      }
    }
  }
