/** Whether callers wait for connections of a pool, and why. */
import type { LeakKind } from "@sluice/pool/PoolStats"
import type { Cause } from "../../Reason.js"
import type { PoolReport } from "../../Report.js"
import type { Thresholds } from "../../Thresholds.js"
import { count, duration, percent, rate } from "../words.js"
import type { Finding } from "./finding.js"

/** How often what is usual must be exceeded before it counts as a change. Below it, the last ten seconds of a calm program differ. */
const GROWTH = 3

/** The part of the leased connections that must do a thing before it counts as the cause. */
const PART = 1 / 3

/** Milliseconds below which a lease is short, however much longer than usual it is. */
const SHORT = 5

/** Arrivals in a second below which there are few, however many more than usual they are. */
const FEW = 2

const exhaustions = ["AcquireTimeout", "PoolSaturated", "PoolShed"] as const

/** Who waits, or has waited. `undefined`: nobody has for too long. */
interface Pressure {
  /** Callers wait now, or have in the last seconds. Else it is over. */
  readonly isNow: boolean
  readonly isCritical: boolean
  /** The clause that says it. */
  readonly effect: string
  readonly evidence: string
  readonly weight: number
}

/** How many connections were leased in the last ten seconds, on average. */
export const usedOf = ({ doing }: PoolReport): number => Object.values(doing).reduce((all, n) => all + n, 0)

const pressureOf = (pool: PoolReport, thresholds: Thresholds): Pressure | undefined => {
  const { isOverloaded, lastMinute, max, oldestWaitMs, using, waiting, waits } = pool
  const failed = exhaustions.reduce((all, tag) => all + (lastMinute.acquireFailures[tag] ?? 0), 0)
  const share = failed === 0 ? 0 : failed / (failed + lastMinute.acquired)
  const waitsNow = waiting > 0 && oldestWaitMs > thresholds.waitP95Ms
  const haveWaited = waits.p95Ms > thresholds.waitP95Ms
  if (!waitsNow && !haveWaited && failed === 0 && !isOverloaded) return undefined
  const isFull = using >= max * thresholds.utilization.critical
  const wasFull = usedOf(pool) >= max * thresholds.utilization.warning
  const isNow = waitsNow || isOverloaded || wasFull
  const limit = duration(thresholds.waitP95Ms)
  const evidence = [`${using} of ${count(max, "connection")} in use`]
  if (waiting > 0) {
    const oldest = waitsNow ? `${duration(oldestWaitMs)} (threshold ${limit})` : duration(oldestWaitMs)
    evidence.push(`${count(waiting, "caller waits", "callers wait")}, the oldest for ${oldest}`)
  }
  if (haveWaited) evidence.push(`p95 of the wait ${duration(waits.p95Ms)} (threshold ${limit})`)
  if (failed > 0) {
    const threshold = share > thresholds.exhaustion ? ` (threshold ${percent(thresholds.exhaustion)})` : ""
    evidence.push(`${count(failed, "acquire")} failed in the last minute, which is ${percent(share)}${threshold}`)
  }
  if (isOverloaded) evidence.push("the pool sheds callers, or would")
  return {
    isNow,
    isCritical: isNow && (share > thresholds.exhaustion || isOverloaded || (waitsNow && isFull)),
    effect: waitsNow
      ? `${count(waiting, "caller waits", "callers wait")}, the oldest for ${duration(oldestWaitMs)}`
      : failed > 0
        ? `${count(failed, "acquire")} failed in the last minute`
        : `p95 of the wait ${duration(waits.p95Ms)}`,
    evidence: evidence.join("; "),
    weight: waiting + failed
  }
}

/** A cause, in the words of its pool. */
interface Diagnosis {
  readonly cause: Cause
  readonly title: string
  readonly evidence: string | undefined
  readonly remedy: string
}

const idle: Readonly<
  Record<
    "idleInTransaction" | "forgotten" | "stream" | "listener",
    { readonly title: string; readonly does: string; readonly remedy: string }
  >
> = {
  idleInTransaction: {
    title: "Transactions in which nothing is done hold the connections of",
    does: "idle in a transaction",
    remedy:
      "End transactions before slow work that needs no connection, such as a call of another service. The longest leases say in which span it happens."
  },
  forgotten: {
    title: "Leases that seem to be forgotten hold the connections of",
    does: "leased with nothing done on them, and no transaction open",
    remedy:
      "Hold a connection by an effect or a scope that ends with the work. The longest leases say in which span they were acquired; the option reclaim takes them away."
  },
  stream: {
    title: "Streams that are read slowly hold the connections of",
    does: "read as streams",
    remedy: "Read streams faster, end them earlier, or raise maxSize by the number of them."
  },
  listener: {
    title: "Listeners hold the connections of",
    does: "listening",
    remedy: "Listen on a connection that belongs to no pool."
  }
}

const idleKinds = ["idleInTransaction", "forgotten", "stream", "listener"] as const

/** What leases are used for: on average over the last seconds, or now if nothing was seen before. */
const usesOf = (pool: PoolReport): Readonly<Record<LeakKind, number>> => {
  if (usedOf(pool) > 0) return pool.doing
  const uses: Record<LeakKind, number> = { ...pool.doing }
  for (const { kind } of pool.holders) uses[kind] += 1
  return uses
}

const idleCause = (pool: PoolReport): Diagnosis | undefined => {
  const uses = usesOf(pool)
  const used = Object.values(uses).reduce((all, n) => all + n, 0)
  const idleUses = idleKinds.reduce((all, kind) => all + uses[kind], 0)
  if (idleUses === 0 || idleUses < used * PART) return undefined
  const kind = idleKinds.reduce((most, kind) => (uses[kind] > uses[most] ? kind : most))
  const { does, remedy, title } = idle[kind]
  const oldest = pool.holders.find((holder) => holder.kind === kind)
  const since = oldest === undefined ? "" : `, the longest lease of them for ${duration(oldest.heldMs)}`
  return {
    cause: kind,
    title: `${title} "${pool.name}"`,
    evidence: `of ${rate(used)} leased connections ${rate(uses[kind])} are ${does}${since}`,
    remedy
  }
}

const workCause = (pool: PoolReport, { slowMs }: Thresholds): Diagnosis => {
  const { holders, name, now, usual, using } = pool
  const long = holders.filter(({ heldMs, kind }) => (kind === "busy" || kind === "unknown") && heldMs > slowMs)
  const areLong = long.length > 0 && long.length >= Math.min(using, holders.length) * PART
  // A lease that has not ended is in no mean yet.
  const held = Math.max(now.holdMeanMs, areLong ? long[0]!.heldMs : 0)
  const longer = usual === undefined || held < SHORT ? 0 : held / Math.max(1, usual.holdMeanMs)
  const more =
    usual === undefined || now.arrivalsPerSecond < FEW
      ? 0
      : now.arrivalsPerSecond / Math.max(1, usual.arrivalsPerSecond)
  const hasChanged = Math.max(longer, more) >= GROWTH
  const isSlow = hasChanged ? longer >= more : areLong || now.holdMeanMs > slowMs
  const holds = `leases are held for ${duration(held)}${
    usual === undefined ? "" : `, usually for ${duration(usual.holdMeanMs)}`
  }${held > slowMs ? ` (threshold ${duration(slowMs)})` : ""}`
  const arrives = `${rate(now.arrivalsPerSecond)} acquires come in a second${
    usual === undefined ? "" : `, usually ${rate(usual.arrivalsPerSecond)}`
  }`
  return isSlow
    ? {
        cause: "slowStatements",
        title: `Slow statements hold the connections of "${name}"`,
        evidence: `${holds}; ${arrives}`,
        remedy:
          "Find the statements among the longest leases, and what they wait for: a lock, a missing index, a busy server. With a larger maxSize they would wait in the database instead."
      }
    : {
        cause: "tooManyRequests",
        title: `More requests arrive than the connections of "${name}" finish`,
        evidence: `${arrives}; ${holds}`,
        remedy:
          "Send less, refuse earlier, or share the work among more processes. A larger maxSize helps only if the server has capacity left: see what another maxSize would have done."
      }
}

/** Callers wait, and the connections are not all in use. */
const openingCause = (pool: PoolReport, { utilization }: Thresholds): Diagnosis | undefined => {
  const { available, closing, connectTimes, connecting, max, name, quarantined, resetting, using, validating } = pool
  if (Math.max(using, usedOf(pool)) >= max * utilization.warning) return undefined
  const cleaned = resetting + quarantined + closing + validating
  if (connecting > 0 && connecting >= cleaned) {
    const took =
      connectTimes.count === 0 ? "" : `; connects of the last minute took ${duration(connectTimes.p95Ms)} (p95)`
    return {
      cause: "slowConnects",
      title: `Callers of "${name}" wait for connections that are being opened`,
      evidence: `${count(connecting, "connect")} under way${took}`,
      remedy: "Look at the network and the login of the host, or keep connections open with minIdle."
    }
  }
  if (cleaned > 0) {
    return {
      cause: "cleaning",
      title: `Callers of "${name}" wait while connections are being cleaned`,
      evidence: `${resetting} are being reset, ${quarantined} cancelled, ${validating} validated, ${closing} closed`,
      remedy: "Find what leaves connections dirty or interrupts statements, and whether the host answers slowly."
    }
  }
  if (available > 0) {
    return {
      cause: "heldBack",
      title: `Connections of "${name}" are kept for others while callers wait`,
      evidence: `${available} idle`,
      remedy: "Look at reserved, classLimits and sharedReserve: they keep connections for callers of other classes."
    }
  }
  return undefined
}

/** It is over, so that nothing can be seen any more of what has caused it. */
const overCause = ({ lastTimeout, name }: PoolReport): Diagnosis => ({
  cause: "waits",
  title: `Callers of "${name}" have waited for connections in the last minute`,
  evidence: undefined,
  remedy:
    lastTimeout === undefined
      ? "Nobody waits now. If it comes again, look at this page while it does."
      : `Nobody waits now. The last timeout said: ${lastTimeout.message}`
})

/** Why callers of this pool wait or have waited, if that was too long. What has its cause in a host, or in an order, is told elsewhere. */
export const pressure = (pool: PoolReport, thresholds: Thresholds): Omit<Finding, "pods" | "where"> | undefined => {
  const found = pressureOf(pool, thresholds)
  if (found === undefined) return undefined
  const why = found.isNow
    ? (openingCause(pool, thresholds) ?? idleCause(pool) ?? workCause(pool, thresholds))
    : overCause(pool)
  return {
    cause: why.cause,
    level: found.isCritical ? "critical" : "warning",
    title: `${why.title}: ${found.effect}`,
    evidence: why.evidence === undefined ? found.evidence : `${found.evidence}; ${why.evidence}`,
    remedy: why.remedy,
    weight: found.weight
  }
}

/** Whether anybody waits for too long, or has, for whatever reason. */
export const effectOf = (pool: PoolReport, thresholds: Thresholds): string | undefined =>
  pressureOf(pool, thresholds)?.evidence
