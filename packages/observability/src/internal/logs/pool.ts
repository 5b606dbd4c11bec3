/** What is written of one pool: that its host is down and up again, that it has no connection for its callers, that it is suspended. */
import * as Pool from "@sluice/pool/Pool"
import type { AcquireError } from "@sluice/pool/PoolError"
import type { PoolEvent } from "@sluice/pool/PoolEvent"
import type { PoolStats } from "@sluice/pool/PoolStats"
import type { Target } from "@sluice/sql/Sources"
import { count, duration } from "../words.js"
import { Episode } from "./episode.js"
import type { Line } from "./line.js"

/** How long a host has to answer before it counts as up again. */
const HOST_CALM = 1_000

/** How long no acquire may have failed. A pool that is too small fails one every few seconds. */
const POOL_CALM = 10_000

/** Failures that say that there are too few connections, or that they are held for too long. */
const exhausting: ReadonlySet<AcquireError["_tag"]> = new Set(["AcquireTimeout", "PoolSaturated", "PoolShed"])

const unreachable: ReadonlySet<AcquireError["_tag"]> = new Set(["ConnectFailed", "ConnectUnavailable"])

/** Nothing is open and connecting fails, so it is the host that the caller has missed. */
const isOfHost = (error: AcquireError): boolean =>
  unreachable.has(error._tag) ||
  (exhausting.has(error._tag) && error.lastConnectFailure !== undefined && error.stats.size === 0)

const textOf = (cause: unknown): string =>
  typeof cause === "object" && cause !== null && "message" in cause && typeof cause.message === "string"
    ? cause.message
    : String(cause)

/** Failed acquires by the tags of their errors, for example `AcquireTimeout 31, PoolShed 4`. */
const listed = (failures: ReadonlyMap<string, number>): string =>
  [...failures].map(([tag, times]) => `${tag} ${times}`).join(", ")

export class WatchedPool {
  private readonly host = new Episode(HOST_CALM)
  private readonly places = new Episode(POOL_CALM)
  private readonly suspended = new Episode(0)
  private readonly stop: () => void
  /** Why the last connect has failed. */
  private connectFailure: unknown = undefined
  /** Since the last look. */
  private missedHost = false
  private missedPlace: AcquireError | undefined
  /** Acquires that have failed since the trouble of their kind has begun. */
  private unserved = 0
  private readonly failures = new Map<string, number>()

  constructor(readonly pool: Pool.Pool<unknown>) {
    this.stop = Pool.unsafeListen(pool, (event) => this.note(event))
  }

  end(): void {
    this.stop()
  }

  /** Runs in the middle of what the pool does, so it notes and does nothing else. */
  private note(event: PoolEvent): void {
    if (event._tag === "ConnectFailed") this.connectFailure = event.cause
    else if (event._tag === "AcquireFailed") {
      if (isOfHost(event.cause)) {
        this.missedHost = true
        this.unserved++
      } else if (exhausting.has(event.error)) {
        this.missedPlace ??= event.cause
        this.failures.set(event.error, (this.failures.get(event.error) ?? 0) + 1)
      }
    }
  }

  /** What has changed since the last look. `target`: the endpoint that it belongs to, and whether others stand in for it. */
  look(now: number, target: Target | undefined, hasOthers: boolean): ReadonlyArray<Line> {
    const stats = Pool.unsafeStats(this.pool)
    const where = target === undefined ? "the host" : target.label
    const about = {
      pool: this.pool.name,
      ...(target === undefined ? {} : { endpoint: target.label, role: target.role })
    }
    // `Sql` itself reports a replica, because it knows where the reads go instead.
    const isReported = target?.role === "replica" && hasOthers
    const host = isReported ? [] : this.lookAtHost(now, stats.host, where)
    const lines = [...host, ...this.lookAtPlaces(now), ...this.lookAtPhase(now, stats.phase === "suspended")]
    return lines.map((line) => ({
      ...line,
      message: `pool "${this.pool.name}": ${line.message}`,
      about: { ...about, ...line.about }
    }))
  }

  private lookAtHost(now: number, state: PoolStats["host"], where: string): ReadonlyArray<Line> {
    // A single connect that fails is no trouble. Where callers have missed the host already, it ends with one that succeeds.
    const isBad = state === "down" || this.missedHost || (state === "failing" && this.host.isOpen)
    const change = this.host.look(isBad, now)
    this.missedHost = false
    if (change === undefined) return []
    if (change._tag === "Begun") {
      const why = this.connectFailure === undefined ? "" : `: ${textOf(this.connectFailure)}`
      return [
        {
          level: "error",
          message: `${where} is down${why}. Acquires fail until a connect succeeds; this is said once, and again when it is up`,
          about: { state: "down" }
        }
      ]
    }
    const failed = this.unserved === 0 ? "no acquire has" : `${count(this.unserved, "acquire has", "acquires have")}`
    this.unserved = 0
    this.connectFailure = undefined
    return [
      {
        level: "info",
        message: `${where} is up again, after ${duration(change.lastedMs)}${again(change.times)}; ${failed} failed because of it`,
        about: { state: "up", seconds: Math.round(change.lastedMs / 1_000) }
      }
    ]
  }

  private lookAtPlaces(now: number): ReadonlyArray<Line> {
    const missed = this.missedPlace
    const change = this.places.look(missed !== undefined, now)
    this.missedPlace = undefined
    if (change === undefined) return []
    if (change._tag === "Begun") {
      // The message of the error begins with the name of the pool, as every line does.
      const diagnosis = missed!.message.replace(/^pool "[\s\S]*?": /, "")
      return [
        {
          level: "warning",
          message: `it has no connection for its callers. ${diagnosis}`,
          about: { state: "exhausted" }
        }
      ]
    }
    const failed = [...this.failures.values()].reduce((sum, times) => sum + times, 0)
    const by = listed(this.failures)
    this.failures.clear()
    return [
      {
        level: "info",
        message: `it has connections for its callers again, after ${duration(change.lastedMs)} in which ${count(failed, "acquire")} failed (${by})`,
        about: { state: "recovered", seconds: Math.round(change.lastedMs / 1_000) }
      }
    ]
  }

  private lookAtPhase(now: number, isSuspended: boolean): ReadonlyArray<Line> {
    const change = this.suspended.look(isSuspended, now)
    if (change === undefined) return []
    return change._tag === "Begun"
      ? [{ level: "info", message: "it is suspended: callers wait until it is resumed", about: { state: "suspended" } }]
      : [
          {
            level: "info",
            message: `it was resumed, after ${duration(change.lastedMs)}`,
            about: { state: "resumed", seconds: Math.round(change.lastedMs / 1_000) }
          }
        ]
  }
}

/** A host that comes and goes is another trouble than one that is away. */
const again = (times: number): string => (times === 0 ? "" : ` (it has come back ${count(times, "time")} meanwhile)`)
