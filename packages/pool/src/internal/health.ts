/**
 * Whether a connection may be used again, when it is validated, and how it is closed.
 */
import type { CloseReason } from "../PoolStats.js"
import { type Entry, EntryState } from "./entry.js"
import type { State } from "./state.js"

/** What the errors say of a connection that ended before it was used (I10). */
const unusedCause: { readonly [R in CloseReason]?: string } = {
  error: "a new connection was dead before its first use",
  validation: "a new connection did not pass its first check",
  reset: "a new connection could not be cleaned"
}

export class Health<A> {
  /** The connection whose check has succeeded in this transition: with `validateAfterIdle: 0` it needs no second one. */
  private checked: Entry<A> | undefined = undefined

  constructor(private readonly state: State<A>) {}

  /** Why an open connection must not be used again; `undefined` if it may. `others` connections are open besides it. */
  unfit(entry: Entry<A>, others: number, now: number): CloseReason | undefined {
    const { config, leases } = this.state
    if (entry.closeReason !== undefined) return entry.closeReason
    // Leased connections that will be closed on release count as gone: without them the pool may be small enough.
    if (others >= config.maxSize && others - leases.countEnding() >= config.maxSize) return "shrink"
    if (entry.uses >= config.maxUses) return "lifetime"
    return this.retires(entry, now) ? entry.retireReason : undefined
  }

  /**
   * The connection is past its lifetime, and the last one did not retire too recently: connections that were opened together
   * must not all be missing together.
   */
  retires(entry: Entry<A>, now: number): boolean {
    if (entry.retireAt > now) return false
    if (entry.retireReason !== "lifetime") return true
    const { config, open, retiredAt } = this.state
    return now - retiredAt >= config.maxLifetime / 30 / Math.max(1, Math.floor(open / 10))
  }

  /** The idle connection can be handed out as it is. */
  isFresh(entry: Entry<A>, now: number): boolean {
    return (
      entry.retireAt > now &&
      entry.uses < this.state.config.maxUses &&
      !this.needsCheck(entry, now) &&
      this.state.statusOf(entry) === "clean"
    )
  }

  needsCheck(entry: Entry<A>, now: number): boolean {
    const { config, epoch, host } = this.state
    if (!host.canValidate) return false
    if (entry.epoch !== epoch) return true
    if (config.validateAfterIdle === 0) return entry !== this.checked
    return now - entry.lastSign > config.validateAfterIdle
  }

  /** Begins the check of a connection that is in no list. */
  startCheck(entry: Entry<A>): void {
    const { state } = this
    entry.state = EntryState.Validating
    entry.checkEpoch = state.epoch
    state.validating++
    state.inTransit.add(entry)
    state.later(() => state.host.validate(entry))
  }

  /** The check of a connection has succeeded, or the transition in which it did is over. */
  noteChecked(entry: Entry<A> | undefined): void {
    this.checked = entry
  }

  /**
   * What one check found out holds for every idle connection that was silent for as long, or that is older than the last
   * fatal event: the next callers must not each find it out again.
   */
  closeSuspects(failed: Entry<A>, now: number): void {
    const { epoch, idle } = this.state
    const silentSince = failed.lastSign
    for (const entry of idle) {
      if (entry.epoch !== epoch || entry.lastSign <= silentSince) this.closeIdle(entry, "validation", now)
    }
  }

  closeIdle(entry: Entry<A>, reason: CloseReason, now: number): void {
    this.state.idle.remove(entry)
    this.close(entry, reason, now)
  }

  /** Closes a connection that is in no list. */
  close(entry: Entry<A>, reason: CloseReason, now: number): void {
    const { state } = this
    if (reason === "lifetime") state.retiredAt = now
    entry.state = EntryState.Closing
    entry.closeReason = reason
    entry.leftBy = undefined
    entry.left = undefined
    state.closing++
    state.later(() => state.host.close(entry))
    const cause = entry.isProven ? undefined : unusedCause[reason]
    // A pause that is running already follows this end as well: ten unused connections that die at once are one event.
    if (cause === undefined) return
    if (state.backoff.notBefore <= now) state.backOff(new Error(cause), "unreachable", now)
    else state.disprove()
  }
}
