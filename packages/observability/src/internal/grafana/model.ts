/** The parts of Grafana's dashboards that ours has. A test holds these types against Grafana's own. */

export interface DataSource {
  readonly type: "prometheus"
  readonly uid: string
}

export interface Query {
  readonly refId: string
  readonly datasource: DataSource
  readonly editorMode: "code"
  readonly expr: string
  readonly legendFormat: string
  /** One value, for tables and numbers; else a curve. */
  readonly instant: boolean
  readonly range: boolean
  readonly format: "time_series" | "table"
}

export interface Step {
  readonly value: number | null
  readonly color: string
}

export interface Property {
  readonly id: string
  readonly value: unknown
}

export interface Override {
  readonly matcher: { readonly id: "byFrameRefID" | "byName"; readonly options: string }
  readonly properties: ReadonlyArray<Property>
}

export interface Curve {
  readonly drawStyle: "line"
  readonly lineWidth: number
  readonly fillOpacity: number
  readonly showPoints: "never"
  readonly spanNulls: boolean
  readonly stacking: { readonly mode: "none" | "normal"; readonly group: string }
  readonly thresholdsStyle: { readonly mode: "off" | "dashed" }
}

export interface FieldConfig<Custom> {
  readonly defaults: {
    readonly unit?: string
    readonly min?: number
    readonly noValue?: string
    readonly color: { readonly mode: "palette-classic" | "thresholds" }
    readonly thresholds: { readonly mode: "absolute"; readonly steps: ReadonlyArray<Step> }
    readonly custom: Custom
  }
  readonly overrides: ReadonlyArray<Override>
}

export interface GridPos {
  readonly h: number
  readonly w: number
  readonly x: number
  readonly y: number
}

interface Common {
  readonly id: number
  readonly title: string
  readonly description: string
  readonly gridPos: GridPos
}

interface WithQueries extends Common {
  readonly datasource: DataSource
  readonly targets: ReadonlyArray<Query>
}

export interface TimeSeries extends WithQueries {
  readonly type: "timeseries"
  readonly fieldConfig: FieldConfig<Curve>
  readonly options: {
    readonly legend: {
      readonly displayMode: "table"
      readonly placement: "bottom"
      readonly showLegend: boolean
      readonly calcs: ReadonlyArray<string>
    }
    readonly tooltip: { readonly mode: "multi"; readonly sort: "desc" }
  }
}

export interface Stat extends WithQueries {
  readonly type: "stat"
  readonly fieldConfig: FieldConfig<Record<string, never>>
  readonly options: {
    readonly graphMode: "none"
    readonly colorMode: "background"
    readonly justifyMode: "auto"
    readonly textMode: "value_and_name"
    readonly wideLayout: boolean
    readonly showPercentChange: boolean
    readonly percentChangeColorMode: "standard"
    readonly reduceOptions: { readonly calcs: ReadonlyArray<string> }
    readonly orientation: "auto"
  }
}

export interface Transformation {
  readonly id: "merge" | "organize" | "sortBy"
  readonly options: unknown
}

export interface Table extends WithQueries {
  readonly type: "table"
  readonly transformations: ReadonlyArray<Transformation>
  readonly fieldConfig: FieldConfig<{ readonly align: "auto"; readonly inspect: boolean }>
  readonly options: {
    readonly frameIndex: number
    readonly showHeader: boolean
    readonly cellHeight: "sm"
  }
}

export interface Text extends Common {
  readonly type: "text"
  readonly options: { readonly mode: "markdown"; readonly content: string }
}

export type GrafanaPanel = TimeSeries | Stat | Table | Text

export interface Variable {
  readonly type: "datasource" | "query"
  readonly name: string
  readonly label: string
  readonly query: string | { readonly query: string; readonly refId: string; readonly qryType: number }
  readonly definition?: string
  readonly datasource?: DataSource
  readonly refresh?: 1 | 2
  readonly sort?: 1
  readonly multi: boolean
  readonly includeAll: boolean
  readonly allValue?: string
  readonly regex: string
  readonly options: ReadonlyArray<never>
}

/**
 * A dashboard, as Grafana imports it.
 */
export interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly description: string
  readonly tags: ReadonlyArray<string>
  readonly timezone: "browser"
  readonly editable: boolean
  readonly graphTooltip: 1
  readonly time: { readonly from: string; readonly to: string }
  readonly refresh: string
  readonly schemaVersion: number
  readonly annotations: { readonly list: ReadonlyArray<never> }
  readonly templating: { readonly list: ReadonlyArray<Variable> }
  readonly panels: ReadonlyArray<GrafanaPanel>
}
