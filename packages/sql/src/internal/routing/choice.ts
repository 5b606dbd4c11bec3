/**
 * How one of several targets is chosen.
 *
 * 1. A choice does no I/O, allocates nothing, and reads no clock.
 * 2. A target that cannot be read from is never chosen; with none left the choice is `undefined`.
 * 3. A target that has just come back is passed over by chance, as its `share` says, while another one can be read from.
 */
import { PCGRandom } from "effect/Utils"
import type { Target } from "../../Topology.js"

/** Chooses one of these, of which there is at least one. */
export type Pick = (targets: ReadonlyArray<Target>) => Target | undefined

/** Whether a read that has a choice may go there. */
export const isEligible = (target: Target): boolean => target.isUp && !target.isLagging && !target.isSilent

/** A number from 0 up to 1. */
export type Chance = () => number

/** Good enough for a choice, and a tenth of the time of the generator of Effect, which gives the seed. */
export const chance = (): Chance => {
  let x = new PCGRandom().integer(0x7f_ff_ff_ff) | 1
  return () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) / 0x1_00_00_00_00
  }
}

/** The n-th of those that can be read from. `most`: how many there may be at most. */
const nth = (targets: ReadonlyArray<Target>, n: number): Target | undefined => {
  for (let i = 0; i < targets.length; i++) {
    const target = targets[i]!
    if (isEligible(target) && n-- === 0) return target
  }
  return undefined
}

const count = (targets: ReadonlyArray<Target>): number => {
  let sum = 0
  for (let i = 0; i < targets.length; i++) if (isEligible(targets[i]!)) sum++
  return sum
}

const isOnTurn = (target: Target, random: Chance): boolean =>
  isEligible(target) && (target.share >= 1 || random() < target.share)

export const roundRobin = (random: Chance): Pick => {
  let turn = 0
  return (targets) => {
    for (let i = 0; i < targets.length; i++) {
      const target = targets[turn++ % targets.length]!
      if (isOnTurn(target, random)) return target
    }
    return nth(targets, 0)
  }
}

export const random =
  (random: Chance): Pick =>
  (targets) => {
    const eligible = count(targets)
    if (eligible === 0) return undefined
    const n = Math.floor(random() * eligible)
    const target = nth(targets, n)
    if (target === undefined || eligible === 1 || isOnTurn(target, random)) return target
    return nth(targets, (n + 1 + Math.floor(random() * (eligible - 1))) % eligible)
  }

/**
 * Of two latencies that differ by less than this factor none is better. Without it all reads of a quiet program would go to the
 * replica that is nearer by a tenth of a millisecond, and the caches of the other one would be cold when it is needed. Empirical.
 */
const NOISE = 2

/**
 * The part of reads for which latency does not count. A target that was slow for a moment gets no reads, and without reads nobody would
 * find out that it is fast again. With more, a target that stays slow would be felt in the slowest hundredth of all reads.
 */
const TRIAL = 0.01

/** Whether `a` is at least as good as `b`: `(busy + waiting + 1) × latency` of it is not larger. `isTrial`: whatever the latency. */
const isBetter = (a: Target, b: Target, isTrial = false): boolean => {
  const busyA = a.using + a.waiting + 1
  const busyB = b.using + b.waiting + 1
  const latencyA = a.latency
  const latencyB = b.latency
  // What was not measured yet cannot be compared, and is measured only when it gets reads.
  return isTrial || latencyA === 0 || latencyB === 0 || (latencyA < latencyB * NOISE && latencyB < latencyA * NOISE)
    ? busyA <= busyB
    : busyA * latencyA <= busyB * latencyB
}

/**
 * The power of two choices: of two taken by chance the less busy one. They are taken among those that can be read from: with three
 * replicas, one of which is out, two of three choices would otherwise not compare anything.
 */
export const leastBusy =
  (random: Chance): Pick =>
  (targets) => {
    const eligible = count(targets)
    if (eligible < 2) return nth(targets, 0)
    const i = Math.floor(random() * eligible)
    const j = Math.floor(random() * (eligible - 1))
    const first = nth(targets, i)!
    const second = nth(targets, j < i ? j : j + 1)!
    const isFirst = isOnTurn(first, random)
    const isSecond = isOnTurn(second, random)
    if (isFirst && isSecond) return isBetter(first, second, random() < TRIAL) ? first : second
    if (isFirst) return first
    if (isSecond) return second
    let best: Target | undefined
    for (let k = 0; k < targets.length; k++) {
      const target = targets[k]!
      if (isEligible(target) && (best === undefined || !isBetter(best, target))) best = target
    }
    return best
  }
