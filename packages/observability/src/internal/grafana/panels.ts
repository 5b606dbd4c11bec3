/** What each panel of a board shows in Grafana. */

import type { Definition } from "../../Catalog.js"
import { metrics } from "../../Catalog.js"
import { get, type PanelId, words } from "../../Panels.js"
import type { Thresholds } from "../../Thresholds.js"
import { all, type Unit } from "../alerts/definitions.js"
import { expressionOf } from "../alerts/ruleFile.js"
import { endpointLabel, type Target } from "../alerts/signals.js"
import { type Matchers, poolLabel, series } from "../promql.js"
import type { GrafanaPanel } from "./model.js"
import { type Asked, type At, curves, numbers, rows } from "./parts.js"

/** What the queries are made for. */
export interface Board {
  readonly thresholds: Thresholds
  /** The label that tells the processes apart. */
  readonly podLabel: string
  readonly target: Target
}

/** The span over which Grafana counts, as long as its curves and the scrapes need it. */
const SPAN = "$__rate_interval"

/** Queries with the filters that the reader has set. */
const asking = ({ podLabel, target: { filter } }: Board) => {
  const of = (metric: Definition, matchers: Matchers = {}, suffix?: "_bucket" | "_count") =>
    series(metric, matchers, { ...(suffix === undefined ? {} : { suffix }), extra: [filter] })
  const sumBy = (labels: ReadonlyArray<string>, what: string) => `sum by (${labels.join(", ")}) (${what})`
  const maxBy = (labels: ReadonlyArray<string>, what: string) => `max by (${labels.join(", ")}) (${what})`
  const rate = (metric: Definition, matchers: Matchers = {}, suffix?: "_count") =>
    `rate(${of(metric, matchers, suffix)}[${SPAN}])`
  const quantile = (share: number, metric: Definition, labels: ReadonlyArray<string>) =>
    `histogram_quantile(${share}, ${sumBy([...labels, "le"], `rate(${of(metric, {}, "_bucket")}[${SPAN}])`)})`
  return { of, sumBy, maxBy, rate, quantile, pool: [poolLabel], podAndPool: [podLabel, poolLabel] }
}

const POOL = `{{${poolLabel}}}`

const COUNT = metrics["db.client.connection.count"]
const MAX = metrics["db.client.connection.max"]
const PENDING = metrics["db.client.connection.pending_requests"]
const used = { "db.client.connection.state": "used" }
const idle = { "db.client.connection.state": "idle" }

const units: Readonly<Record<Unit, string>> = { share: "percentunit", seconds: "s", count: "none" }

/** Everything that an alert would be raised for if it went on. */
const verdict = (board: Board, at: At): GrafanaPanel => {
  const alerts = all(board.thresholds)
  const where = {
    pool: `${POOL} {{${board.podLabel}}}`,
    process: `{{${board.podLabel}}}`,
    server: `{{${endpointLabel}}}`
  }
  return numbers(get("verdict"), at, {
    asks: alerts.map((alert) => ({
      expr: expressionOf(alert, board.target),
      as: `${alert.name} ${where[alert.of]}`,
      unit: units[alert.unit]
    })),
    noValue: "All is well",
    overrides: alerts.map(({ severity }, index) => ({
      matcher: { id: "byFrameRefID", options: String.fromCharCode("A".charCodeAt(0) + index) },
      properties: [{ id: "color", value: { mode: "fixed", fixedColor: severity === "critical" ? "red" : "orange" } }]
    }))
  })
}

const places = (board: Board, at: At): GrafanaPanel => {
  const { of, pool, sumBy } = asking(board)
  const using = sumBy(pool, of(COUNT, used))
  const available = sumBy(pool, of(COUNT, idle))
  const max = sumBy(pool, of(MAX))
  return curves(get("places"), at, {
    unit: "none",
    isStacked: true,
    asks: [
      { expr: using, as: `${words.using} ${POOL}` },
      { expr: available, as: `${words.available} ${POOL}` },
      { expr: `${max} - ${using} - ${available}`, as: `${words.free} ${POOL}` },
      { expr: sumBy(pool, of(PENDING)), as: `${words.waiting} ${POOL}` }
    ]
  })
}

const waits = (board: Board, at: At): GrafanaPanel => {
  const { maxBy, of, pool, quantile } = asking(board)
  const wait = metrics["db.client.connection.wait_time"]
  return curves(get("waits"), at, {
    unit: "s",
    threshold: board.thresholds.waitP95Ms / 1_000,
    asks: [
      ...([0.5, 0.95, 0.99] as const).map((share) => ({
        expr: quantile(share, wait, pool),
        as: `p${share * 100} ${POOL}`
      })),
      { expr: maxBy(pool, of(metrics["sluice.queue.oldest_age"])), as: `${words.oldestWait} ${POOL}` }
    ]
  })
}

const saturationOf = (board: Board, labels: ReadonlyArray<string>): string => {
  const { of, sumBy } = asking(board)
  return `(${sumBy(labels, of(COUNT, used))} + ${sumBy(labels, of(PENDING))}) / ${sumBy(labels, of(MAX))}`
}

const saturation = (board: Board, at: At): GrafanaPanel =>
  curves(get("saturation"), at, {
    unit: "percentunit",
    threshold: 1,
    asks: [{ expr: saturationOf(board, [poolLabel]), as: POOL }]
  })

const holders = (board: Board, at: At): GrafanaPanel => {
  const { maxBy, of, podAndPool, pool, quantile, sumBy } = asking(board)
  return curves(get("holders"), at, {
    unit: "s",
    threshold: board.thresholds.leaseMs / 1_000,
    asks: [
      {
        expr: maxBy(podAndPool, of(metrics["sluice.lease.oldest_age"])),
        as: `${words.longest} ${POOL} {{${board.podLabel}}}`
      },
      { expr: quantile(0.95, metrics["db.client.connection.use_time"], pool), as: `p95 ${POOL}` },
      {
        expr: sumBy([poolLabel, "kind"], `increase(${of(metrics["sluice.leaks"])}[${SPAN}])`),
        as: `leaks ${POOL}: {{kind}}`,
        unit: "none"
      }
    ]
  })
}

const errors = (board: Board, at: At): GrafanaPanel => {
  const { rate, sumBy } = asking(board)
  const failed = ["timeout", "saturated", "shed", "unavailable", "closed", "dismissed", "nested", "hook"]
  return curves(get("errors"), at, {
    unit: "ops",
    asks: [
      {
        expr: sumBy([poolLabel, "outcome"], rate(metrics["sluice.acquires"], { outcome: failed })),
        as: `acquires ${POOL}: {{outcome}}`
      },
      { expr: sumBy([poolLabel, "reason"], rate(metrics["sluice.errors"])), as: `statements ${POOL}: {{reason}}` },
      {
        expr: sumBy([poolLabel, "reason", "outcome"], rate(metrics["sluice.retries"])),
        as: `executed again ${POOL}: {{reason}}, {{outcome}}`
      }
    ]
  })
}

const closes = (board: Board, at: At): GrafanaPanel => {
  const { pool, rate, sumBy } = asking(board)
  return curves(get("closes"), at, {
    unit: "ops",
    asks: [
      { expr: sumBy(pool, rate(metrics["db.client.connection.create_time"], {}, "_count")), as: `connects ${POOL}` },
      {
        expr: sumBy([poolLabel, "reason"], rate(metrics["sluice.connect.failures"])),
        as: `failed connects ${POOL}: {{reason}}`
      },
      {
        expr: sumBy([poolLabel, "reason"], rate(metrics["sluice.connections.closed"])),
        as: `closes ${POOL}: {{reason}}`
      }
    ]
  })
}

const endpoints = (board: Board, at: At): GrafanaPanel => {
  const { maxBy, of } = asking(board)
  const where = [endpointLabel, "role"]
  const state = metrics["sluice.endpoint.state"]
  const pods = (state: string) => `sum by (${where.join(", ")}) (${of(metrics["sluice.endpoint.state"], { state })})`
  return rows(get("endpoints"), at, {
    labels: { [endpointLabel]: "server", role: words.role },
    asks: [
      ...(state.attributes.find(({ name }) => name === "state")?.values ?? []).map((state) => ({
        expr: pods(state),
        as: `pods that find it ${state}`
      })),
      { expr: maxBy([endpointLabel], of(metrics["sluice.replica.lag"])), as: words.lag, unit: "s" },
      { expr: maxBy([endpointLabel], of(metrics["sluice.endpoint.latency"])), as: "latency", unit: "s" }
    ]
  })
}

const server = (board: Board, at: At): GrafanaPanel => {
  const { maxBy, of, pool, sumBy } = asking(board)
  return curves(get("server"), at, {
    unit: "none",
    asks: [
      { expr: sumBy(pool, of(COUNT)), as: `${words.size} ${POOL}` },
      { expr: maxBy(pool, of(metrics["sluice.server.connections"])), as: `as the server counts ${POOL}` },
      { expr: maxBy(pool, of(metrics["sluice.server.connections.max"])), as: `max_connections ${POOL}` },
      { expr: sumBy(pool, of(MAX)), as: `${words.max} of all pods ${POOL}` }
    ]
  })
}

const pods = (board: Board, at: At): GrafanaPanel => {
  const { maxBy, of, podAndPool, quantile, sumBy } = asking(board)
  const columns: ReadonlyArray<Asked> = [
    { expr: saturationOf(board, podAndPool), as: "saturation", unit: "percentunit" },
    { expr: sumBy(podAndPool, of(COUNT, used)), as: words.using },
    { expr: sumBy(podAndPool, of(COUNT, idle)), as: words.available },
    { expr: sumBy(podAndPool, of(PENDING)), as: words.waiting },
    { expr: sumBy(podAndPool, of(MAX)), as: words.max },
    { expr: quantile(0.95, metrics["db.client.connection.wait_time"], podAndPool), as: words.p95, unit: "s" },
    { expr: maxBy(podAndPool, of(metrics["sluice.queue.oldest_age"])), as: words.oldestWait, unit: "s" }
  ]
  return rows(get("pods"), at, {
    labels: { [board.podLabel]: "pod", [poolLabel]: "pool" },
    asks: columns,
    by: "saturation"
  })
}

/** Nothing that Prometheus knows tells it: it needs every wait and every hold. */
const whatIf = (_: Board, { gridPos, id }: At): GrafanaPanel => {
  const { description, title } = get("whatIf")
  return {
    id,
    title,
    description,
    gridPos,
    type: "text",
    options: {
      mode: "markdown",
      content:
        "The program computes it from each wait and each hold that it has recorded: see the board of the program itself, or `sluice top`."
    }
  }
}

/** Every panel of a board, how high it is, and whether it takes the whole width. */
export const drawn: Readonly<
  Record<
    PanelId,
    { readonly draw: (board: Board, at: At) => GrafanaPanel; readonly h: number; readonly isWide: boolean }
  >
> = {
  verdict: { draw: verdict, h: 5, isWide: true },
  places: { draw: places, h: 9, isWide: true },
  waits: { draw: waits, h: 9, isWide: false },
  saturation: { draw: saturation, h: 9, isWide: false },
  holders: { draw: holders, h: 9, isWide: false },
  errors: { draw: errors, h: 9, isWide: false },
  closes: { draw: closes, h: 9, isWide: false },
  endpoints: { draw: endpoints, h: 9, isWide: false },
  server: { draw: server, h: 9, isWide: true },
  pods: { draw: pods, h: 10, isWide: true },
  whatIf: { draw: whatIf, h: 4, isWide: true }
}
