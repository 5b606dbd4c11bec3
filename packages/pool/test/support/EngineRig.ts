/**
 * The engine alone, with a host that does nothing by itself: what it asks for lies in lists until the test says how it
 * went. No fiber and no clock, so thousands of steps take milliseconds.
 */

import { Either } from "effect"
import { Engine } from "../../src/internal/engine.js"
import type { Lease as EngineLease, Entry } from "../../src/internal/entry.js"
import type { Config, DrainCounts, Host, Refusal } from "../../src/internal/host.js"
import { Waiter } from "../../src/internal/queue.js"
import { parseConfig } from "../../src/internal/runtime/config.js"
import type { ConnectFailureKind, PoolConfig, ResourceStatus } from "../../src/PoolOptions.js"
import { type Priority, rank } from "../../src/Priority.js"
import { type Watched, watch } from "./invariants.js"

export interface Connection {
  readonly id: number
  status: ResourceStatus
  /** The rig's own count of who uses it, to compare with the engine's. */
  users: number
  closed: boolean
}

export interface Lease {
  readonly record: EngineLease<Connection>
  readonly shared: boolean
  /** The record it came through, if its owner had to wait. */
  readonly waiter: Waiter<Connection> | undefined
}

export interface Abilities {
  readonly canValidate: boolean
  readonly canReset: boolean
  readonly canAbort: boolean
}

export class Rig {
  now = 1_000_000
  readonly engine: Engine<Connection>
  readonly watched: Watched
  readonly waiting = new Set<Waiter<Connection>>()
  readonly leases: Array<Lease> = []
  readonly ended: Array<Lease> = []
  /** Taken away, and not given back by the owner yet. */
  readonly reclaimed = new Set<EngineLease<Connection>>()
  readonly refused: Array<string> = []
  readonly connects: Array<number> = []
  /** Pauses that the engine waits to be told. */
  pauses = 0
  /** Timers are held up by a process that did not run. */
  isLate = false
  readonly checks: Array<Entry<Connection>> = []
  readonly resets: Array<Entry<Connection>> = []
  readonly aborts: Array<Entry<Connection>> = []
  readonly closes: Array<Entry<Connection>> = []
  readonly cancels: Array<Entry<Connection>> = []
  readonly connections: Array<Connection> = []
  drained: DrainCounts | undefined
  private wakeAt = Infinity

  constructor(
    options: PoolConfig,
    abilities: Abilities,
    readonly random: () => number
  ) {
    const config: Config = Either.getOrThrow(parseConfig(options))
    const host: Host<Connection> = {
      ...abilities,
      now: () => this.now,
      isLate: () => this.isLate,
      random,
      status: (connection) => connection.status,
      admits: undefined,
      stalls: undefined,
      refuse: (refusal: Refusal) => {
        this.refused.push(refusal._tag)
        return { _tag: refusal._tag } as never
      },
      resume: (waiter) => {
        this.waiting.delete(waiter)
        if (waiter.lease !== undefined) this.received(waiter.lease, waiter.shared, waiter)
      },
      backOff: () => {
        this.pauses++
      },
      endBackOff: () => undefined,
      connect: (startedAt) => this.connects.push(startedAt),
      interruptConnects: () => undefined,
      validate: (entry) => this.checks.push(entry),
      reset: (entry) => this.resets.push(entry),
      abort: (entry) => this.aborts.push(entry),
      cancel: (entry) => this.cancels.push(entry),
      close: (entry) => {
        // A drain may take a connection from its users; nothing else may.
        if (entry.resource.users > 0 && this.engine.state.phase !== "draining")
          this.complain(`${entry.id} closed while used`)
        this.closes.push(entry)
      },
      inspect: () => undefined,
      leaking: ({ isReclaimed, lease }) => {
        if (!isReclaimed) return
        // The owner does not know, and gives it back some time: see `end`.
        this.reclaimed.add(lease)
        lease.entry.resource.users--
      },
      rested: () => undefined,
      wake: (at) => {
        this.wakeAt = at
      },
      drained: (counts) => {
        if (this.drained !== undefined) this.complain("drained twice")
        this.drained = counts
        this.wakeAt = Infinity
      },
      emit: undefined
    }
    this.engine = new Engine(config, host)
    this.watched = watch(this.engine)
    this.engine.start()
  }

  private complain(sentence: string): void {
    this.watched.violations.push(sentence)
  }

  private received(record: EngineLease<Connection>, shared: boolean, waiter: Waiter<Connection> | undefined) {
    const connection = record.entry.resource
    if (connection.closed) this.complain(`connection ${connection.id} was handed out although it is closed`)
    if (connection.users > 0 && !shared) this.complain(`I2: connection ${connection.id} was handed out twice`)
    connection.users++
    if (connection.users > this.engine.config.concurrency) this.complain(`I2: too many users on ${connection.id}`)
    this.leases.push({ record, shared, waiter })
  }

  /** What `use` does: the fast path, else into line. */
  acquire(priority: Priority, shared: boolean, timeout: number, fiber: unknown, declared = Infinity): void {
    const record = shared ? this.engine.takeShared(fiber) : this.engine.take(fiber)
    if (record !== undefined) {
      this.received(record, shared, undefined)
      return
    }
    const waiter = new Waiter<Connection>(
      priority,
      rank[priority],
      shared,
      fiber,
      this.now,
      Math.min(timeout, declared),
      this.now + declared
    )
    this.engine.enter(waiter)
    if (waiter.queued) {
      waiter.resume = () => undefined
      this.waiting.add(waiter)
    } else if (waiter.lease !== undefined) this.received(waiter.lease, shared, waiter)
    else if (waiter.error === undefined) this.complain("I3: neither queued, nor served, nor refused")
  }

  /** How the owner of a lease gives it back: as the fast path does, or through its record. */
  end(lease: Lease, by: "release" | "abandon"): void {
    this.leases.splice(this.leases.indexOf(lease), 1)
    this.ended.push(lease)
    if (!this.reclaimed.delete(lease.record)) lease.record.entry.resource.users--
    if (by === "abandon" && lease.waiter !== undefined) this.engine.abandon(lease.waiter)
    else this.engine.release(lease.record)
  }

  leave(waiter: Waiter<Connection>): void {
    this.waiting.delete(waiter)
    this.engine.abandon(waiter)
  }

  /** I7: a lease that has ended is released again, and nothing may change but the count. */
  releaseAgain(lease: Lease): void {
    const before = JSON.stringify({ ...this.engine.stats(this.now), lateReleases: 0 })
    const late = this.engine.state.counters.lateReleases
    this.engine.release(lease.record)
    if (JSON.stringify({ ...this.engine.stats(this.now), lateReleases: 0 }) !== before) {
      this.complain("I7: a late release changed the pool")
    }
    if (this.engine.state.counters.lateReleases !== late + 1) this.complain("I7: a late release was not counted")
  }

  connected(i: number): void {
    const [startedAt] = this.connects.splice(i, 1)
    const connection: Connection = { id: this.connections.length + 1, status: "clean", users: 0, closed: false }
    this.connections.push(connection)
    this.engine.connected(connection, undefined, startedAt!)
  }

  failed(i: number, kind: ConnectFailureKind): void {
    this.connects.splice(i, 1)
    this.engine.connectFailed(new Error(kind), kind)
  }

  /** The pause after a failure is known. */
  pause(ms: number): void {
    this.pauses--
    this.engine.backedOff(ms)
  }

  checked(i: number, works: boolean): void {
    this.engine.validated(this.checks.splice(i, 1)[0]!, works)
  }

  wasReset(i: number, works: boolean): void {
    const [entry] = this.resets.splice(i, 1)
    if (works) entry!.resource.status = "clean"
    this.engine.wasReset(entry!, works)
  }

  aborted(i: number, works: boolean, left: ResourceStatus): void {
    const [entry] = this.aborts.splice(i, 1)
    if (works) entry!.resource.status = left
    this.engine.aborted(entry!, works)
  }

  closed(i: number): void {
    const [entry] = this.closes.splice(i, 1)
    if (entry!.resource.closed) this.complain(`connection ${entry!.id} was closed twice`)
    entry!.resource.closed = true
    this.engine.wasClosed(entry!)
  }

  /** Time passes; the timer fires when it was asked to, or up to `lag` later. */
  pass(ms: number, lag = 0): void {
    const end = this.now + ms
    while (this.wakeAt + lag <= end) {
      this.now = Math.max(this.now, this.wakeAt + lag)
      this.wakeAt = Infinity
      this.engine.tick()
    }
    this.now = end
  }

  /** Everything that is under way goes well and every lease ends, for ten minutes. */
  quiesce(): void {
    for (let round = 0; round < 1_200; round++) {
      this.pass(500)
      while (this.work()) {}
    }
  }

  private work(): boolean {
    const [lease] = this.leases
    if (this.pauses > 0) this.pause(50)
    else if (this.connects.length > 0) this.connected(0)
    else if (this.checks.length > 0) this.checked(0, true)
    else if (this.resets.length > 0) this.wasReset(0, true)
    else if (this.aborts.length > 0) this.aborted(0, true, "clean")
    else if (this.closes.length > 0) this.closed(0)
    else if (lease !== undefined) {
      lease.record.entry.resource.status = "clean"
      this.end(lease, "release")
    } else return false
    return true
  }
}
