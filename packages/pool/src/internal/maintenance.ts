/**
 * What happens to connections because time passes: idle timeout, lifetime, keepalive, and what a check found out.
 */
import type { Acquire } from "./acquire.js"
import type { Entry } from "./entry.js"
import type { Growth } from "./growth.js"
import type { Health } from "./health.js"
import type { Release } from "./release.js"
import type { State } from "./state.js"

/** How often idle connections are looked at. A look that is later than this, on top of its time, is a stall. */
const INTERVAL = 1_000

export class Maintenance<A> {
  /** When the next look is due; `Infinity` while the pool is empty. */
  private nextAt = Infinity
  /** The connection that `keepAlive` has sent to a check: one at a time. */
  private keepAliveEntry: Entry<A> | undefined

  constructor(
    private readonly state: State<A>,
    private readonly growth: Growth<A>,
    private readonly health: Health<A>,
    private readonly acquire: Acquire<A>,
    private readonly release: Release<A>
  ) {}

  /** After a stall of the process no open connection can be trusted: the host may have dropped it meanwhile. True after one. */
  noteStall(now: number): boolean {
    const late = this.nextAt === Infinity ? 0 : now - this.nextAt
    if (late <= INTERVAL) return false
    this.state.epoch++
    this.state.emit({ _tag: "Stall", lateMs: late })
    return true
  }

  /** Looks at the connections, if that is due. */
  run(now: number): void {
    if (now < this.nextAt) return
    this.nextAt = Infinity
    this.closeOld(now)
    this.keepAlive(now)
  }

  /** Closes everything when nobody has used the pool for `closeWhenIdle`. */
  rest(now: number): void {
    const { config, host, idle, leases } = this.state
    if (config.closeWhenIdle === Infinity || idle.head === undefined || leases.size > 0) return
    const at = idle.head.lastUsedAt + config.closeWhenIdle
    if (now < at) {
      this.state.wakeBy(at)
      return
    }
    this.state.isResting = true
    for (const entry of idle) this.health.closeIdle(entry, "idle", now)
    if (this.state.open === 0) this.state.later(host.rested)
  }

  /** Asks for the next look. An empty pool needs none. */
  plan(now: number): void {
    const { phase, total } = this.state
    if (this.nextAt === Infinity && phase !== "closed" && total > 0) this.nextAt = now + INTERVAL
    this.state.wakeBy(this.nextAt)
  }

  /** A check has ended. */
  validated(entry: Entry<A>, works: boolean): void {
    const { health, state } = this
    const now = state.host.now()
    state.validating--
    state.inTransit.delete(entry)
    if (this.keepAliveEntry === entry) this.keepAliveEntry = undefined
    if (works) {
      entry.lastCheckedAt = now
      entry.epoch = entry.checkEpoch
      if (!entry.isProven) state.prove(entry)
      health.noteChecked(entry)
      this.release.putBack(entry, now)
    } else {
      health.closeSuspects(entry, now)
      health.close(entry, "validation", now)
    }
    // The waiter that this check was for may need another connection, which may have to be checked as well.
    this.acquire.dispatch(now)
    health.noteChecked(undefined)
  }

  private closeOld(now: number): void {
    const { config, idle, leases } = this.state
    for (const entry of idle) {
      if (this.health.retires(entry, now)) this.retire(entry, now)
      else if (this.state.open > config.minIdle && now - entry.lastUsedAt >= config.idleTimeout) {
        this.health.closeIdle(entry, "idle", now)
      }
    }
    // A connection that always has some shared holder never comes back. So its end is decided now: it takes no more holders.
    for (const entry of leases.sharedEntries) {
      if (entry.closeReason !== undefined) continue
      entry.closeReason = this.health.unfit(entry, this.state.open - 1, now)
      if (entry.closeReason === "lifetime") this.state.retiredAt = now
    }
  }

  /** Opens the successor first where there is room for one more, else closes first: at most one is missing at a time. */
  private retire(entry: Entry<A>, now: number): void {
    const { closing, config, connecting, open, total } = this.state
    const keepsMinimum = open > config.minIdle
    if (!keepsMinimum && total < config.maxSize) {
      if (connecting === 0 && this.growth.permits(now)) this.growth.startConnect(now)
      return
    }
    if (!keepsMinimum && connecting + closing > 0) return
    this.health.closeIdle(entry, entry.retireReason, now)
  }

  /** Checks the connection that was silent longest. Does not move its last use, or no connection would ever idle out. */
  private keepAlive(now: number): void {
    const { config, host, idle } = this.state
    if (!host.canValidate || this.keepAliveEntry !== undefined) return
    const silence = config.keepAlive * (1 - host.random() * 0.1)
    for (const entry of idle) {
      if (now - entry.lastSign < silence) continue
      idle.remove(entry)
      this.keepAliveEntry = entry
      this.health.startCheck(entry)
      return
    }
  }
}
