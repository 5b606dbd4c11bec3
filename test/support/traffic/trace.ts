/** A row of callers that is the same for everybody who plays it: when each comes, in which class, with how much work. */
import type { Priority } from "@sluice/pool/Priority"

export interface Caller {
  /** Milliseconds since the beginning. */
  readonly at: number
  readonly priority: Priority
  /** Milliseconds that its work takes on a connection. */
  readonly work: number
  /** Milliseconds from `at` after which it wants no answer any more. */
  readonly patience: number
}

export interface Shape {
  /** Arrivals, as a multiple of what the connections can do. */
  readonly load: number
  readonly millis: number
  readonly connections: number
  /** Mean work of a caller, in milliseconds; the work is distributed exponentially. */
  readonly work: number
  readonly patience: number
  /** The part of each class. */
  readonly classes: Partial<Readonly<Record<Priority, number>>>
}

/** From 0 to 1, the same numbers for the same seed. */
export const generator = (start: number) => {
  let state = start | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Callers that come independently of each other. */
export const trace = (shape: Shape, seed: number, from = 0): ReadonlyArray<Caller> => {
  const random = generator(seed)
  const exponential = (mean: number) => -Math.log(1 - random()) * mean
  const between = shape.work / shape.connections / shape.load
  const priorityOf = (chance: number): Priority => {
    let sum = 0
    for (const [priority, part] of Object.entries(shape.classes)) {
      sum += part
      if (chance < sum) return priority as Priority
    }
    return "normal"
  }
  const callers: Array<Caller> = []
  for (let at = from + exponential(between); at < from + shape.millis; at += exponential(between)) {
    callers.push({ at, priority: priorityOf(random()), work: exponential(shape.work), patience: shape.patience })
  }
  return callers
}
