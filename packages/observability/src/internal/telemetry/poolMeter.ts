/**
 * What is measured of one pool: what happens by its events, what there is by a look at it.
 */
import * as Pool from "@sluice/pool/Pool"
import type { PoolEvent } from "@sluice/pool/PoolEvent"
import type { AcquireFailure, CloseReason, LeakKind, PoolStats } from "@sluice/pool/PoolStats"
import * as Pools from "@sluice/pool/Pools"
import type { Priority } from "@sluice/pool/Priority"
import * as SqlReason from "@sluice/sql/SqlReason"
import { closeReasons, leakKinds } from "../poolWords.js"
import { type Levels, POOL, perKey, recording } from "./instruments.js"
import { Maximum } from "./maximum.js"

type Outcome =
  | "ok"
  | "timeout"
  | "saturated"
  | "shed"
  | "interrupted"
  | "closed"
  | "unavailable"
  | "dismissed"
  | "nested"
  | "hook"

const outcomes: Readonly<Record<AcquireFailure, Outcome>> = {
  AcquireTimeout: "timeout",
  PoolSaturated: "saturated",
  PoolShed: "shed",
  PoolClosed: "closed",
  NestedAcquire: "nested",
  ConnectFailed: "unavailable",
  ConnectUnavailable: "unavailable",
  Dismissed: "dismissed",
  HookFailed: "hook"
}

/** Counts that are there from the beginning, because an alert looks at how they change. */
const expected: ReadonlyArray<Outcome> = ["timeout", "saturated", "shed", "unavailable"]

/** The series that all pools of one name have in common, now and later. */
export type Shared = ReturnType<typeof shared>

export const shared = (name: string) => {
  const of = { [POOL]: name }
  const acquires = (priority: Priority | "none") =>
    perKey((outcome: Outcome) => recording("sluice.acquires", { ...of, priority, outcome }))
  const made = {
    of,
    wait: recording("db.client.connection.wait_time", of),
    use: recording("db.client.connection.use_time", of),
    create: recording("db.client.connection.create_time", of),
    timeouts: recording("db.client.connection.timeouts", of),
    wouldShed: recording("sluice.acquires.would_shed", of),
    late: recording("sluice.acquires.late", of),
    /** Most acquires do not wait. */
    ok: recording("sluice.acquires", { ...of, priority: "none", outcome: "ok" }),
    acquires: perKey(acquires),
    waitOf: perKey((priority: Priority) => recording("sluice.queue.wait_time", { ...of, priority })),
    closed: perKey((reason: CloseReason) => recording("sluice.connections.closed", { ...of, reason })),
    failures: perKey((reason: SqlReason.Tag) => recording("sluice.connect.failures", { ...of, reason })),
    leaks: perKey((kind: LeakKind) => recording("sluice.leaks", { ...of, kind })),
    reclaimed: perKey((kind: LeakKind) => recording("sluice.leaks.reclaimed", { ...of, kind }))
  }
  for (const outcome of expected) made.acquires("normal")(outcome)
  for (const kind of leakKinds) made.leaks(kind)
  made.failures("ConnectFailed")
  return made
}

export class PoolMeter {
  private readonly used = new Maximum()
  private readonly waiting = new Maximum()
  private readonly gauge
  private last: PoolStats
  /** When it was suspended; `undefined` if it is not. */
  private suspendedAt: number | undefined = undefined
  private readonly stop: () => void

  constructor(
    private readonly pool: Pool.Pool<unknown>,
    private readonly series: Shared,
    private readonly now: () => number
  ) {
    this.gauge = Pool.gauge(pool)
    this.last = Pool.unsafeStats(pool)
    for (const reason of closeReasons) series.closed(reason)
    if (this.last.phase === "suspended") this.suspendedAt = now()
    this.stop = Pool.unsafeListen(pool, (event) => this.happened(event))
  }

  private happened(event: PoolEvent): void {
    const { gauge, series } = this
    switch (event._tag) {
      case "Acquired": {
        const { priority, waitMs } = event
        series.wait.record(waitMs / 1_000)
        this.used.note(gauge.using)
        if (priority === undefined) {
          series.ok.record(1)
          return
        }
        series.waitOf(priority).record(waitMs / 1_000)
        series.acquires(priority)("ok").record(1)
        return
      }
      case "Queued":
        this.waiting.note(event.waiting)
        return
      case "Released":
        series.use.record(event.heldMs / 1_000)
        return
      case "AcquireFailed":
        series
          .acquires(event.priority ?? "none")(outcomes[event.error])
          .record(1)
        return
      case "AcquireInterrupted":
        series.acquires(event.priority)("interrupted").record(1)
        return
      case "Connected":
        series.create.record(event.elapsedMs / 1_000)
        return
      case "ConnectFailed":
        series.failures(SqlReason.of(event.cause)._tag).record(1)
        return
      case "Leak":
        series.leaks(event.kind).record(1)
        return
      case "Reclaimed":
        series.reclaimed(event.kind).record(1)
        return
      case "Suspended":
        this.suspendedAt ??= this.now()
        return
      case "Resumed":
        this.suspendedAt = undefined
        return
      default:
        return
    }
  }

  /** Counts what the pool itself counts, since the last time. */
  private count(): PoolStats {
    const { last, series } = this
    const stats = Pool.unsafeStats(this.pool)
    this.last = stats
    series.timeouts.record(stats.timeouts - last.timeouts)
    series.wouldShed.record(stats.wouldShed - last.wouldShed)
    series.late.record(stats.lateGrants - last.lateGrants)
    for (const reason of closeReasons) {
      series.closed(reason).record(stats.closed[reason] - last.closed[reason])
    }
    return stats
  }

  look(levels: Levels): void {
    const stats = this.count()
    const { pool, series } = this
    const { of } = series
    this.used.note(stats.using)
    this.waiting.note(stats.waiting)
    levels.add("db.client.connection.count", { ...of, "db.client.connection.state": "idle" }, stats.available)
    levels.add("db.client.connection.count", { ...of, "db.client.connection.state": "used" }, stats.using)
    levels.add("db.client.connection.idle.max", of, stats.max)
    levels.add("db.client.connection.idle.min", of, stats.min)
    levels.add("db.client.connection.max", of, stats.max)
    levels.add("db.client.connection.limit", of, stats.max)
    levels.add("db.client.connection.pending_requests", of, stats.waiting)
    for (const state of ["connecting", "validating", "resetting", "quarantined", "closing"] as const) {
      levels.add("sluice.connection.in_transit", { ...of, state }, stats[state])
    }
    for (const { depth, oldestMs, priority } of Pools.unsafeQueues(pool)) {
      levels.add("sluice.queue.depth", { ...of, priority }, depth)
      levels.most("sluice.queue.oldest_age", { ...of, priority }, oldestMs / 1_000)
    }
    levels.add("sluice.queue.depth.max", of, this.waiting.value)
    levels.add("sluice.connection.used.max", of, this.used.value)
    levels.most("sluice.lease.oldest_age", of, stats.oldestLeaseMs / 1_000)
    for (const phase of ["running", "suspended", "draining"] as const) {
      levels.add("sluice.pool.phase", { ...of, phase }, stats.phase === phase ? 1 : 0)
    }
    for (const host of ["up", "failing", "down"] as const) {
      levels.add("sluice.pool.host", { ...of, host }, stats.host === host ? 1 : 0)
    }
    levels.add("sluice.pool.overloaded", of, stats.isOverloaded ? 1 : 0)
    const { suspendedAt } = this
    levels.most("sluice.pool.suspended", of, suspendedAt === undefined ? 0 : (this.now() - suspendedAt) / 1_000)
  }

  /** A second is over. */
  second(): void {
    this.used.next(this.gauge.using)
    this.waiting.next(this.gauge.waiting)
  }

  /** The pool has closed, or nobody wants its numbers any more: what it has counted stays. */
  end(): void {
    this.stop()
    this.count()
  }
}
