/** A row of callers that is the same for everybody who plays it: when each comes, in which class, with how much work. */

import type { Priority } from "@sluice/pool/Priority"
import { generator } from "../../../packages/pool/test/support/generator.js"

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
