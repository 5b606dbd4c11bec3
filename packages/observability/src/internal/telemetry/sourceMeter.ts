/**
 * What is measured of one `Sql`: its statements at their end, what it has counted, and how its endpoints are.
 */
import type { RouteReason, ServerLoad, Source, StatementEnd, Target, Totals } from "@sluice/sql/Sources"
import type { Tag } from "@sluice/sql/SqlReason"
import { Effect, Option } from "effect"
import type * as Catalog from "../../Catalog.js"
import { type Attributes, type Levels, POOL, perKey, type Recording, recording } from "./instruments.js"
import { operationOf } from "./operation.js"

/** The series that all `Sql` of one name have in common, now and later. */
export type Shared = ReturnType<typeof shared>

export const shared = (name: string) => {
  const of = { [POOL]: name }
  const counted = new Map<string, Recording>()
  return {
    of,
    /** Adds to the counter with these attributes. */
    count: (metric: Catalog.Name, by: number, attributes: Attributes = {}): void => {
      const key = JSON.stringify([metric, attributes])
      let counter = counted.get(key)
      if (counter === undefined) {
        counter = recording(metric, { ...of, ...attributes })
        counted.set(key, counter)
      }
      if (by > 0) counter.record(by)
    }
  }
}

const states = ["up", "down", "silent", "lagging"] as const

const stateOf = ({ isLagging, isSilent, isUp }: Target): (typeof states)[number] =>
  !isUp ? "down" : isSilent ? "silent" : isLagging ? "lagging" : "up"

const roles = ["primary", "replica"] as const
const reasons: ReadonlyArray<RouteReason> = ["write", "read", "session", "lag_fallback", "no_replica"]

export class SourceMeter {
  private last: Totals
  /** What was known last of how far an endpoint is behind. While it is not told that does not become better. */
  private readonly lags = new Map<Target, number>()
  /** What its server has counted when it was asked last, and the pool to that server. */
  private load: { readonly pool: string; readonly counted: ServerLoad } | undefined = undefined
  private readonly durations
  private readonly stop: () => void

  constructor(
    private readonly source: Source,
    private readonly series: Shared
  ) {
    const { namespace, system } = source
    const ofTarget = (target: Target | undefined): Attributes => ({
      ...series.of,
      "db.system.name": system,
      "db.namespace": namespace,
      "server.address": target === undefined ? source.address : target.address,
      "server.port": (target === undefined ? source.port : target.port)?.toString()
    })
    this.durations = perKey((target: Target | undefined) => {
      const of = ofTarget(target)
      return perKey((operation: string) =>
        perKey((error: Tag | "interrupted" | undefined) =>
          recording("db.client.operation.duration", { ...of, "db.operation.name": operation, "error.type": error })
        )
      )
    })
    this.last = source.totals()
    this.stop = source.unsafeListen((end) => this.ended(end))
  }

  private ended({ error, isInterrupted, ms, target, text }: StatementEnd): void {
    const type = error ?? (isInterrupted ? "interrupted" : undefined)
    this.durations(target)(operationOf(text))(type).record(ms / 1_000)
  }

  /** Counts what the `Sql` itself counts, since the last time. */
  private count(): void {
    const { last, series } = this
    const totals = this.source.totals()
    this.last = totals
    for (const role of roles) {
      for (const reason of reasons) {
        series.count("sluice.routes", totals.routes[role][reason] - last.routes[role][reason], { role, reason })
      }
    }
    for (const [reason, outcomes] of Object.entries(totals.retries)) {
      for (const outcome of ["succeeded", "failed", "denied"] as const) {
        const before = last.retries[reason as Tag]?.[outcome] ?? 0
        series.count("sluice.retries", outcomes[outcome] - before, { reason, outcome })
      }
    }
    for (const [reason, errors] of Object.entries(totals.errors)) {
      series.count("sluice.errors", errors - (last.errors[reason as Tag] ?? 0), { reason })
    }
    series.count("sluice.role.changes", totals.roleChanges - last.roleChanges)
    series.count("sluice.role.fences", totals.fences - last.fences)
    series.count("sluice.packing.statements", totals.packed - last.packed)
    series.count("sluice.packing.batches", totals.batches - last.batches)
    series.count("sluice.reads.elsewhere", totals.elsewhere - last.elsewhere, { outcome: "sent" })
    series.count("sluice.reads.elsewhere", totals.elsewhereDenied - last.elsewhereDenied, { outcome: "denied" })
    series.count("sluice.control.connects", totals.controlConnects - last.controlConnects)
    series.count("sluice.cancels", totals.cancels - last.cancels)
  }

  /** Asks the server that takes the writes for its connections. One that does not answer has none that anybody knows of. */
  get ask(): Effect.Effect<void> {
    return Effect.map(this.source.load, (load) => {
      const primary = this.source.targets.find(({ role }) => role === "primary")
      this.load =
        Option.isSome(load) && primary !== undefined ? { pool: primary.pool.name, counted: load.value } : undefined
    })
  }

  look(levels: Levels): void {
    this.count()
    const { of } = this.series
    if (this.load !== undefined) {
      const { counted, pool } = this.load
      const at = { ...of, [POOL]: pool }
      levels.most("sluice.server.connections", at, counted.connections)
      levels.most("sluice.server.connections.max", at, counted.maxConnections)
    }
    for (const target of this.source.targets) {
      const { label, lag, latency, pool, role } = target
      // By the name of its own pool, so that what the pool counts can be added up for each server.
      const at = { ...of, [POOL]: pool.name, "sluice.endpoint": label }
      const now = stateOf(target)
      for (const state of states) {
        levels.add("sluice.endpoint.state", { ...at, role, state }, state === now ? 1 : 0)
      }
      levels.most("sluice.endpoint.latency", at, latency / 1_000)
      if (role === "primary") {
        this.lags.delete(target)
        continue
      }
      if (lag !== undefined) this.lags.set(target, lag)
      const known = this.lags.get(target)
      if (known !== undefined) levels.most("sluice.replica.lag", at, known / 1_000)
    }
  }

  /** The `Sql` has ended, or nobody wants its numbers any more: what it has counted stays. */
  end(): void {
    this.stop()
    this.count()
  }
}
