/** Puts the panels of a board on a dashboard of Grafana. */
import { metrics } from "../../Catalog.js"
import { all as panels } from "../../Panels.js"
import { poolLabel, series } from "../promql.js"
import type { Dashboard, GridPos, Variable } from "./model.js"
import { type Board, drawn } from "./panels.js"
import { datasource } from "./parts.js"

/** Columns of Grafana's grid. */
const WIDTH = 24

/** The places of the panels, from left to right and from top to bottom. */
const grid = (): ReadonlyArray<GridPos> => {
  let x = 0
  let y = 0
  let rowHeight = 0
  return panels.map(({ id }) => {
    const { h, isWide } = drawn[id]
    const w = isWide ? WIDTH : WIDTH / 2
    if (x + w > WIDTH) {
      x = 0
      y += rowHeight
      rowHeight = 0
    }
    const place = { h, w, x, y }
    x += w
    rowHeight = Math.max(rowHeight, h)
    return place
  })
}

const max = metrics["db.client.connection.max"]

/** The values of a label, all of them unless the reader chooses. */
const choice = (name: string, label: string, values: string): Variable => ({
  type: "query",
  name,
  label,
  datasource,
  definition: values,
  query: { query: values, refId: `variable-${name}`, qryType: 1 },
  refresh: 2,
  sort: 1,
  multi: true,
  includeAll: true,
  allValue: ".*",
  regex: "",
  options: []
})

const variables = (podLabel: string): ReadonlyArray<Variable> => [
  {
    type: "datasource",
    name: "datasource",
    label: "data source",
    query: "prometheus",
    multi: false,
    includeAll: false,
    regex: "",
    options: []
  },
  choice("pool", "pool", `label_values(${series(max)}, ${poolLabel})`),
  choice("pod", "pod", `label_values(${series(max, {}, { extra: [`${poolLabel}=~"$pool"`] })}, ${podLabel})`)
]

export const make = (board: Board, uid: string): Dashboard => {
  const places = grid()
  return {
    uid,
    title: "Connection Pool Health",
    description: "The pools of all processes, with the panels and words of the boards of Sluice.",
    tags: ["sluice", "connection-pool"],
    timezone: "browser",
    editable: true,
    graphTooltip: 1,
    time: { from: "now-1h", to: "now" },
    refresh: "30s",
    schemaVersion: 42,
    annotations: { list: [] },
    templating: { list: variables(board.podLabel) },
    panels: panels.map((panel, index) => drawn[panel.id].draw(board, { id: index + 1, gridPos: places[index]! }))
  }
}

/** Matchers that take the reader's choices of pools and pods. */
export const filterOf = (podLabel: string): string => `${poolLabel}=~"$pool",${podLabel}=~"$pod"`
