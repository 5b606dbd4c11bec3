/**
 * How a connect ends. Connecting belongs to the pool, not to the caller that it began for (I8).
 */
import type { ConnectFailureKind } from "../PoolOptions.js"
import type { Admission } from "./admission.js"
import * as Backoff from "./backoff.js"
import { Entry } from "./entry.js"
import type { Growth } from "./growth.js"
import type { Release } from "./release.js"
import type { State } from "./state.js"

export class Connect<A> {
  /** The number of connections so far. */
  private ids = 0

  constructor(
    private readonly state: State<A>,
    private readonly admission: Admission<A>,
    private readonly growth: Growth<A>,
    private readonly release: Release<A>
  ) {}

  connected(resource: A, handle: unknown, startedAt: number): Entry<A> {
    const { state } = this
    const now = state.host.now()
    const elapsed = now - startedAt
    state.connecting--
    this.state.load.connected(elapsed)
    state.counters.connects++
    const lifetime = state.config.maxLifetime * (1 - state.host.random() * 0.2)
    const entry = new Entry(++this.ids, resource, handle, now, lifetime, state.epoch)
    if (state.phase === "draining") entry.closeReason = "drain"
    // One that is not clean has yet to show that it can be used; one that is dead is a failure.
    else if (state.statusOf(entry) === "clean") state.connectSucceeded()
    state.emit({ _tag: "Connected", connection: entry.id, elapsedMs: elapsed })
    this.release.putBack(entry, now)
    this.growth.grow(now)
    return entry
  }

  connectFailed(cause: unknown, kind: ConnectFailureKind): void {
    const { state } = this
    const now = state.host.now()
    state.connecting--
    state.counters.connectFailures++
    state.backOff(cause, kind, now)
    if (kind === "rejected" && state.open === 0) this.admission.failAll(this.admission.hostRefusal(), now)
  }

  /** The pause after a failure is known. */
  backedOff(pause: number): void {
    const { state } = this
    const now = state.host.now()
    state.backoff = Backoff.paused(state.backoff, pause, now)
    const { attempts, cause, notBefore } = state.backoff
    if (attempts > 0) state.emit({ _tag: "ConnectFailed", cause, attempts, retryInMs: notBefore - now })
    this.growth.grow(now)
  }
}
