/** Which of the callers that wait has to be told first that its time is over. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { Waiter, WaiterQueue } from "../src/internal/queue.js"

const least = (waiters: Iterable<Waiter<unknown>>): number =>
  Math.min(Infinity, ...Array.from(waiters, ({ deadline }) => deadline))

/** Whether callers come with one of a few timeouts, or each with its own. */
const timeouts = fc.oneof(fc.constantFrom(100, 1_000), fc.double({ min: 1, max: 2_000, noNaN: true }))

const step = fc.oneof(
  fc.record({ comes: timeouts, after: fc.integer({ min: 0, max: 50 }) }),
  fc.record({ leaves: fc.nat() }),
  fc.record({ passes: fc.integer({ min: 0, max: 400 }) })
)

describe("the queue", () => {
  it("knows the first deadline of all, whoever comes, leaves, and is told, with whatever timeouts", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
        const queue = new WaiterQueue<unknown>()
        let now = 0
        for (const step of steps) {
          if ("comes" in step) {
            now += step.after
            queue.push(new Waiter<unknown>("normal", 3, false, undefined, now, step.comes))
          } else if ("leaves" in step) {
            const waiting = [...queue]
            if (waiting.length > 0) queue.remove(waiting[step.leaves % waiting.length]!)
          } else {
            now += step.passes
            for (let late = queue.expired(now); late !== undefined; late = queue.expired(now)) {
              assert.isTrue(late.queued && late.deadline <= now)
              queue.remove(late)
            }
            assert.isAbove(least(queue), now)
          }
          assert.strictEqual(queue.firstDeadline(), least(queue))
          assert.strictEqual([...queue].length, queue.size)
        }
        for (const waiter of [...queue]) queue.remove(waiter)
        assert.deepStrictEqual([queue.size, queue.firstDeadline()], [0, Infinity])
      })
    )
  })
})
