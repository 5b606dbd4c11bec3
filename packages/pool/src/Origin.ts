/**
 * Where in the program a connection was asked for: the option `leakStack`.
 *
 * An effect runs in a loop of Effect's own, so the stack of the moment at which a lease is granted shows no line of the program. What
 * is noted is the place at which the program has made the effect.
 *
 * @since 0.2.0
 */
import { Context } from "effect"

/**
 * Gives the lines of a stack. They are written out when they are asked for, because that takes longer than noting them.
 *
 * @since 0.2.0
 * @category models
 */
export type Origin = () => string

/**
 * For a library whose own verbs acquire: the place that the leases of this fiber were asked for at, instead of the one at which the
 * library calls the pool. Default: none.
 *
 * @since 0.2.0
 * @category references
 */
export class CurrentOrigin extends Context.Reference<CurrentOrigin>()("@sluice/pool/CurrentOrigin", {
  defaultValue: (): Origin | undefined => undefined
}) {}

/** The pools of this process that want to know. */
let wanted = 0

/**
 * Whether a pool of this process wants to know. Where it is false, nobody reads what `here` would note.
 *
 * @since 0.2.0
 * @category getters
 */
export const isWanted = (): boolean => wanted > 0

/**
 * Says that a pool wants to know, until the function that it gives is called.
 *
 * @since 0.2.0
 * @category constructors
 */
export const want = (): (() => void) => {
  wanted++
  let isOver = false
  return () => {
    if (!isOver) wanted--
    isOver = true
  }
}

/** Without those of Effect and of this library, which are the same for all. */
const lines = (stack: string): ReadonlyArray<string> =>
  stack
    .split("\n")
    .filter((line) => /^\s*at /.test(line) && !/node_modules[\\/](?:effect|@sluice)[\\/]|\(<anonymous>\)$/.test(line))

/**
 * The line of the program that has called the function `of`, and those around it.
 *
 * @since 0.2.0
 * @category constructors
 */
export const here = (of: Function): Origin => {
  const holder: { stack?: string } = {}
  Error.captureStackTrace(holder, of)
  return () => lines(holder.stack ?? "").join("\n")
}
