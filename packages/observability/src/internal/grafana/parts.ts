/** Panels of Grafana, without what they show. */
import type { Panel as Described } from "../../Panels.js"
import type {
  Curve,
  DataSource,
  FieldConfig,
  GridPos,
  Override,
  Query,
  Stat,
  Step,
  Table,
  TimeSeries,
  Transformation
} from "./model.js"

/** The source that the reader has chosen in the variable of this name. */
export const datasource: DataSource = { type: "prometheus", uid: "$datasource" }

/** What a query asks for. */
export interface Asked {
  readonly expr: string
  /** The name of the series, with labels in braces. */
  readonly as: string
  /** Default: that of the panel. */
  readonly unit?: string
}

const refId = (index: number): string => String.fromCharCode("A".charCodeAt(0) + index)

const query = ({ as, expr }: Asked, index: number, kind: "curve" | "number" | "table"): Query => ({
  refId: refId(index),
  datasource,
  editorMode: "code",
  expr,
  legendFormat: as,
  instant: kind !== "curve",
  range: kind === "curve",
  format: kind === "table" ? "table" : "time_series"
})

/** Where a panel stands, and its number. */
export interface At {
  readonly id: number
  readonly gridPos: GridPos
}

const head = ({ description, title }: Pick<Described, "description" | "title">, { gridPos, id }: At) => ({
  id,
  title,
  description,
  gridPos
})

const unitsOf = (asked: ReadonlyArray<Asked>): ReadonlyArray<Override> =>
  asked.flatMap(({ unit }, index) =>
    unit === undefined
      ? []
      : [
          {
            matcher: { id: "byFrameRefID" as const, options: refId(index) },
            properties: [{ id: "unit", value: unit }]
          }
        ]
  )

const calm: ReadonlyArray<Step> = [{ value: null, color: "green" }]

const field = <Custom>(
  custom: Custom,
  options: {
    readonly unit?: string | undefined
    readonly steps?: ReadonlyArray<Step> | undefined
    readonly noValue?: string | undefined
    readonly overrides: ReadonlyArray<Override>
    readonly isByThreshold?: boolean | undefined
  }
): FieldConfig<Custom> => ({
  defaults: {
    ...(options.unit === undefined ? {} : { unit: options.unit }),
    ...(options.noValue === undefined ? {} : { noValue: options.noValue }),
    color: { mode: options.isByThreshold === true ? "thresholds" : "palette-classic" },
    thresholds: { mode: "absolute", steps: options.steps ?? calm },
    custom
  },
  overrides: options.overrides
})

/** Curves over time. */
export const curves = (
  panel: Pick<Described, "description" | "title">,
  at: At,
  options: {
    readonly asks: ReadonlyArray<Asked>
    readonly unit: string
    readonly isStacked?: boolean
    /** A line from which on something is wrong. */
    readonly threshold?: number
    readonly overrides?: ReadonlyArray<Override>
  }
): TimeSeries => {
  const { asks, isStacked = false, overrides = [], threshold, unit } = options
  const custom: Curve = {
    drawStyle: "line",
    lineWidth: 1,
    fillOpacity: isStacked ? 40 : 5,
    showPoints: "never",
    spanNulls: false,
    stacking: { mode: isStacked ? "normal" : "none", group: "A" },
    thresholdsStyle: { mode: threshold === undefined ? "off" : "dashed" }
  }
  const steps = threshold === undefined ? calm : [...calm, { value: threshold, color: "red" }]
  const config = field(custom, { unit, steps, overrides: [...unitsOf(asks), ...overrides] })
  return {
    ...head(panel, at),
    type: "timeseries",
    datasource,
    targets: asks.map((one, index) => query(one, index, "curve")),
    fieldConfig: { ...config, defaults: { ...config.defaults, min: 0 } },
    options: {
      legend: { displayMode: "table", placement: "bottom", showLegend: true, calcs: ["lastNotNull", "max"] },
      tooltip: { mode: "multi", sort: "desc" }
    }
  }
}

/** One number for each series that there is now. */
export const numbers = (
  panel: Pick<Described, "description" | "title">,
  at: At,
  options: {
    readonly asks: ReadonlyArray<Asked>
    readonly noValue: string
    readonly overrides: ReadonlyArray<Override>
  }
): Stat => ({
  ...head(panel, at),
  type: "stat",
  datasource,
  targets: options.asks.map((one, index) => query(one, index, "number")),
  fieldConfig: field(
    {},
    {
      noValue: options.noValue,
      isByThreshold: true,
      overrides: [...unitsOf(options.asks), ...options.overrides]
    }
  ),
  options: {
    graphMode: "none",
    colorMode: "background",
    justifyMode: "auto",
    textMode: "value_and_name",
    wideLayout: true,
    showPercentChange: false,
    percentChangeColorMode: "standard",
    reduceOptions: { calcs: ["lastNotNull"] },
    orientation: "auto"
  }
})

/** A row for each set of labels, a column for each query. `as` is the head of the column. */
export const rows = (
  panel: Pick<Described, "description" | "title">,
  at: At,
  options: {
    readonly asks: ReadonlyArray<Asked>
    /** The labels that are columns, with their heads. */
    readonly labels: Readonly<Record<string, string>>
    /** The column by which the rows are ordered, the highest first. */
    readonly by?: string
  }
): Table => {
  const { asks, by, labels } = options
  const heads = asks.map(({ as }, index) => [`Value #${refId(index)}`, as] as const)
  const transformations: ReadonlyArray<Transformation> = [
    { id: "merge", options: {} },
    {
      id: "organize",
      options: {
        excludeByName: { Time: true },
        indexByName: Object.fromEntries(
          [...Object.keys(labels), ...heads.map(([name]) => name)].map((name, index) => [name, index])
        ),
        renameByName: { ...labels, ...Object.fromEntries(heads) }
      }
    },
    ...(by === undefined ? [] : [{ id: "sortBy" as const, options: { fields: {}, sort: [{ field: by, desc: true }] } }])
  ]
  return {
    ...head(panel, at),
    type: "table",
    datasource,
    targets: asks.map((one, index) => query(one, index, "table")),
    transformations,
    fieldConfig: field(
      { align: "auto", inspect: false },
      {
        overrides: asks.flatMap(({ as, unit }) =>
          unit === undefined
            ? []
            : [{ matcher: { id: "byName" as const, options: as }, properties: [{ id: "unit", value: unit }] }]
        )
      }
    ),
    options: { frameIndex: 0, showHeader: true, cellHeight: "sm" }
  }
}
