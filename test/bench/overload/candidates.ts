/** Ways to choose whom to serve when there is too much work. The pool has the second one; the others live here only. */
import type { SheddingConfig } from "@sluice/pool/PoolOptions"
import type { Engine } from "../../../packages/pool/src/internal/engine.js"
import type { Waiter } from "../../../packages/pool/src/internal/queue.js"
import { generator } from "../../../packages/pool/test/support/generator.js"
import type { Candidate } from "../../support/traffic/play.js"

export type Make = (target: number) => Candidate

export const fifo: Make = () => ({ name: "plain FIFO", isPlain: true, pool: { shedding: { mode: "off" } } })

const shedding = (mode: SheddingConfig["mode"], target: number) => ({ shedding: { mode, target } })

export const codel: Make = (target) => ({ name: "CoDel by class", pool: shedding("on", target) })

export const shadow: Make = (target) => ({ name: "classes alone", pool: shedding("shadow", target) })

/** As CoDel sees it: the queue was too old for an interval. Served is the youngest of the highest class. */
export const lifo: Make = (target) => ({
  name: "LIFO under pressure",
  pool: shedding("shadow", target),
  install: ({ admission }: Engine<object>) => {
    const queue = admission.queue as any
    const peek = queue.peek.bind(queue)
    queue.peek = (closed = 0) => {
      const first = peek(closed)
      return first !== undefined && admission.isOverloaded ? queue.classes[first.rank].tail : first
    }
    // The queue counts how often its oldest was passed over, which here is never the one that is served.
    const serve = queue.serve.bind(queue)
    queue.serve = (waiter: Waiter<object>, now: number, closed: number) => {
      const isLowest = waiter.rank === queue.oldest()?.rank
      serve(waiter, now, closed)
      if (isLowest) queue.skips = 0
    }
  }
})

/** Every 50 ms the part of the newcomers that is refused follows the age of the queue. Class high is refused half as often. */
export const pid: Make = (target) => {
  const random = generator(7)
  let part = 0
  let sum = 0
  let last = 0
  let lookedAt = 0
  return {
    name: "PID on the delay",
    pool: shedding("off", target),
    admits: (engine, caller, now) => {
      while (now - lookedAt >= 50) {
        lookedAt += 50
        const error = Math.min(4, (engine.admission.oldestWait(now) - target) / target)
        sum = Math.min(1 / 0.05, Math.max(0, sum + error))
        part = Math.min(0.98, Math.max(0, 0.2 * error + 0.05 * sum + 0.1 * (error - last)))
        last = error
      }
      return random() >= (caller.priority === "high" ? part / 2 : part)
    }
  }
}

export const all: ReadonlyArray<Make> = [fifo, shadow, codel, pid, lifo]
