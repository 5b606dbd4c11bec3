/**
 * How many connections a class may hold: `classLimits` and `reserved`. Without these options nothing is counted or asked.
 */
import type { HeldBack } from "./host.js"
import type { State } from "./state.js"

export class Limits<A> {
  /** Some class may not hold every connection. */
  readonly areOn: boolean

  constructor(private readonly state: State<A>) {
    const { classLimits, reserved } = state.config
    this.areOn = reserved > 0 || classLimits.some((share) => share < 1)
  }

  /** Connections that a class may hold at once. A pool that was made smaller leaves one to each. */
  most(rank: number): number {
    const { classLimits, maxSize } = this.state.config
    // The product of 10 and 0.7 is a little less than 7.
    const own = Math.max(1, Math.floor(maxSize * classLimits[rank]! + 1e-6))
    return Math.min(own, rank === 0 ? maxSize : this.unreserved)
  }

  /** What holds back a waiter of the class; `undefined` if it may have a connection. */
  heldBack(rank: number, shared: boolean, canJoin: () => boolean): HeldBack | undefined {
    const { config, leases } = this.state
    if (config.classLimits[rank]! < 1) {
      const used = leases.exclusiveOf(rank) + Math.ceil((leases.sharedOf(rank) + (shared ? 1 : 0)) / config.concurrency)
      if (used + (shared ? 0 : 1) > this.most(rank)) return "classLimit"
    }
    const { unreserved, usedByOthers } = this
    if (rank === 0 || config.reserved === 0 || usedByOthers < unreserved) return undefined
    // With more in use, a shared connection may be one of the reserved ones.
    return shared && usedByOthers === unreserved && canJoin() ? undefined : "reserved"
  }

  /** Connections that exclusive waiters of the class may have besides those that it holds. */
  room(rank: number): number {
    const { concurrency } = this.state.config
    const { leases } = this.state
    return Math.max(0, this.most(rank) - leases.exclusiveOf(rank) - Math.ceil(leases.sharedOf(rank) / concurrency))
  }

  /** Connections that classes below critical may have together besides those that they hold. */
  get roomOfOthers(): number {
    return Math.max(0, this.unreserved - this.usedByOthers)
  }

  private get unreserved(): number {
    const { maxSize, reserved } = this.state.config
    return maxSize - Math.min(reserved, maxSize - 1)
  }

  /** Connections that are leased, but to nobody of class critical alone. */
  private get usedByOthers(): number {
    const { leases } = this.state
    return leases.connections - leases.exclusiveOf(0)
  }
}
