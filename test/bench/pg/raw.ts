import type { Socket } from "node:net"
import pg from "pg"
import type { Start } from "../harness/subject.js"
import { Round } from "../sql/callers.js"
import { expectRows, nextKey, type SqlSettings, workloadOf } from "../sql/workload.js"
import { named } from "./pgPool.js"

/** What its types leave out. */
type Pipelined = pg.Client & {
  pipeline: boolean
  readonly connection: { readonly stream: Socket }
}

interface Line {
  readonly client: Pipelined
  /** What is asked for in this turn of the loop leaves in one write at its end. */
  readonly hold: () => void
}

const connect = async (url: string): Promise<Line> => {
  const client = new pg.Client({ connectionString: url }) as Pipelined
  await client.connect()
  client.pipeline = true
  const { stream } = client.connection
  let held = false
  const send = () => {
    held = false
    stream.uncork()
  }
  const hold = () => {
    if (held) return
    held = true
    stream.cork()
    queueMicrotask(send)
  }
  return { client, hold }
}

/**
 * Nothing but `pg`, which sends without waiting: no pool, no queue, no promises; each caller keeps to one connection.
 * What a client that is built on `pg` can reach.
 */
export const pipelined: Start<SqlSettings> = async (settings) => {
  const { callers, connections, url } = settings
  const lines = await Promise.all(Array.from({ length: Math.min(connections, callers) }, () => connect(url)))
  const [step] = workloadOf(settings).steps
  const work = (round: Round, caller: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const { client, hold } = lines[caller % lines.length]!
      const next = () => {
        if (!round.take()) return resolve()
        const args = step.args(nextKey())
        const startedAt = performance.now()
        hold()
        client.query(named(step, args), (error: Error | null, result: pg.QueryResult) => {
          if (error !== null) return reject(error)
          try {
            expectRows(step, args, result.rows)
          } catch (wrong) {
            return reject(wrong)
          }
          round.finish(caller, startedAt)
          next()
        })
      }
      next()
    })
  return {
    run: async (calls) => {
      const round = new Round(callers, calls * callers)
      await Promise.all(Array.from({ length: callers }, (_, caller) => work(round, caller)))
      return round.metrics()
    },
    close: async () => {
      await Promise.all(lines.map(({ client }) => client.end()))
    }
  }
}
