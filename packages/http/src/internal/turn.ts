/** Lets the event loop of the process turn, so that what lies in its sockets is read. */
import { Effect } from "effect"

/**
 * How often Node must turn until it has told of a client that left after it had sent its request: once until the loop looks at its sockets
 * again, once to read the end of that one, once to close it. Seen on Node 20 and 24.
 */
const TURNS = 3

/**
 * A process that has too little time reads requests late, and many of their clients have left by then. After these turns the fiber of such
 * a request is interrupted; without them its handler would run for nobody. They cost microseconds where nothing else is to be done.
 */
export const turned: Effect.Effect<void> = Effect.async((resume) => {
  let left = TURNS
  const turn = () => {
    left--
    if (left === 0) resume(Effect.void)
    else next = setImmediate(turn)
  }
  let next = setImmediate(turn)
  return Effect.sync(() => clearImmediate(next))
})
