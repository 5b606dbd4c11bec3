/**
 * How long a caller that comes now would wait, by what the queue, the connections and the averages say.
 */
import type { Admission } from "./admission.js"
import type { State } from "./state.js"

/**
 * Milliseconds that an exclusive waiter of the class would wait: 0 if a connection is idle for it, `Infinity` if the pool ends.
 *
 * Whoever waits in this class or a higher one comes before it, and each of them holds a connection for as long as leases
 * were held lately, or as long as the present ones are held already. Callers of higher classes that come later are not
 * foreseen.
 */
export const estimate = <A>(state: State<A>, admission: Admission<A>, rank: number, now: number): number => {
  const { backoff, config, connecting, host, leases, load, open, phase, total } = state
  if (state.isEnding) return Infinity
  const suspended = phase === "suspended" ? Math.max(0, state.resumeAt - now) : 0
  const ahead = admission.ahead(rank)
  const behind = ahead + 1 - admission.idleFor(rank)
  if (behind <= 0) return suspended
  const pause = backoff.notBefore === Infinity ? 0 : Math.max(0, backoff.notBefore - now)
  const connect = pause + load.connect
  const hold = Math.max(load.hold, leases.meanShare(now))
  const servers = Math.min(open + connecting - leases.countStalled(host.stalls), admission.most(rank))
  if (open === 0) return suspended + connect + (ahead * hold) / config.maxSize
  const queued = servers <= 0 ? Infinity : (behind * hold) / servers
  // A connection may be opened for it, if others that wait do not need all of those that may be.
  const opened = ahead < config.maxSize - total ? connect : Infinity
  return suspended + Math.min(queued, opened, (behind * hold) / Math.max(1, servers) + connect)
}
