/**
 * The one place of the process from which everything is measured, however many Layers ask for it: two of them would count twice.
 */
import type { Pool } from "@sluice/pool/Pool"
import * as Pools from "@sluice/pool/Pools"
import * as Sources from "@sluice/sql/Sources"
import { Effect, GlobalValue } from "effect"
import { Levels, type Recording, recording } from "./instruments.js"
import * as PoolMeter from "./poolMeter.js"
import * as SourceMeter from "./sourceMeter.js"

export type Level = "basic" | "full"

/** Milliseconds between two looks. */
export const EVERY = 1_000

/** A look that comes so soon after the last one, by another Layer, is not one more second. */
const SOON = EVERY / 2

/**
 * Names that have series of their own. Series are never removed, so a program that names a pool for each of its customers must not
 * fill the memory with them.
 */
const MOST = 1_000

/** The name of all pools that come after those. */
const OTHERS = "(others)"

/** Milliseconds between two questions to a server. Each may open its control connection, so they are rare. */
const ASK = 60_000

/** What is watched while somebody wants it. */
interface Watch {
  users: number
  stop: (() => void) | undefined
}

export class Hub {
  private readonly levels = new Levels()
  private readonly pools = new Map<Pool<unknown>, PoolMeter.PoolMeter>()
  private readonly sources = new Map<Sources.Source, SourceMeter.SourceMeter>()
  private readonly poolSeries = new Map<string, PoolMeter.Shared>()
  private readonly sourceSeries = new Map<string, SourceMeter.Shared>()
  private readonly watches = {
    basic: { users: 0, stop: undefined } as Watch,
    full: { users: 0, stop: undefined } as Watch
  }
  private stalls: Recording | undefined
  private lookedAt = -Infinity
  private askedAt = -Infinity

  /** `most`: names that have series of their own. */
  constructor(private readonly most = MOST) {}

  /** Measures at this level until the function that this gives is called. `now`: milliseconds on a monotonic clock. */
  attach(level: Level, now: () => number): () => void {
    this.enter("basic", () => this.watchPools(now))
    if (level === "full") this.enter("full", () => this.watchSources())
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      if (level === "full") this.leave("full")
      this.leave("basic")
      this.look()
    }
  }

  /** Brings what does not happen by events up to date. */
  look(): void {
    for (const meter of this.pools.values()) meter.look(this.levels)
    for (const meter of this.sources.values()) meter.look(this.levels)
    this.levels.commit()
  }

  /** A look, of which there is one in each second. `lateMs`: how much later it comes than it was asked for. */
  second(now: number, lateMs: number): void {
    const since = now - this.lookedAt
    // Two programs in one process may have different clocks.
    if (since >= 0 && since < SOON) return
    this.lookedAt = now
    this.stalls?.record(lateMs / 1_000)
    this.look()
    for (const meter of this.pools.values()) meter.second()
  }

  /** Asks each server for its connections, if that was a while ago. Takes no connection of a pool. */
  asked(now: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const since = now - this.askedAt
      if (since >= 0 && since < ASK) return Effect.void
      this.askedAt = now
      return Effect.forEach([...this.sources.values()], (meter) => meter.ask, { discard: true })
    })
  }

  private enter(level: Level, watch: () => () => void): void {
    const found = this.watches[level]
    if (found.users++ === 0) found.stop = watch()
  }

  private leave(level: Level): void {
    const found = this.watches[level]
    if (--found.users > 0) return
    found.stop?.()
    found.stop = undefined
  }

  private watchPools(now: () => number): () => void {
    return Pools.unsafeWatch((pool) => {
      const meter = new PoolMeter.PoolMeter(pool, this.ofName(this.poolSeries, pool.name, PoolMeter.shared), now)
      this.pools.set(pool, meter)
      return () => {
        this.pools.delete(pool)
        meter.end()
      }
    })
  }

  private ofName<A>(known: Map<string, A>, name: string, make: (name: string) => A): A {
    const own = known.has(name) || known.size < this.most ? name : OTHERS
    let series = known.get(own)
    if (series === undefined) {
      series = make(own)
      known.set(own, series)
    }
    return series
  }

  private watchSources(): () => void {
    this.stalls = recording("sluice.stall", {})
    const stop = Sources.unsafeWatch((source) => {
      const meter = new SourceMeter.SourceMeter(source, this.ofName(this.sourceSeries, source.name, SourceMeter.shared))
      this.sources.set(source, meter)
      return () => {
        this.sources.delete(source)
        meter.end()
      }
    })
    return () => {
      this.stalls = undefined
      stop()
    }
  }
}

export const hub: Hub = GlobalValue.globalValue(Symbol.for("@sluice/observability/telemetry/1"), () => new Hub())
