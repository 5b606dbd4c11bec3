/**
 * Our dashboard held against the types of Grafana's own SDK by the compiler. Those types name their words by enums; in JSON, which is what
 * Grafana reads, they are the words themselves.
 */
import type * as common from "@grafana/grafana-foundation-sdk/common"
import type * as sdk from "@grafana/grafana-foundation-sdk/dashboard"
import type * as prometheus from "@grafana/grafana-foundation-sdk/prometheus"
import type * as stat from "@grafana/grafana-foundation-sdk/stat"
import type * as table from "@grafana/grafana-foundation-sdk/table"
import type * as text from "@grafana/grafana-foundation-sdk/text"
import type * as timeseries from "@grafana/grafana-foundation-sdk/timeseries"
import type { Dashboard } from "../../src/Grafana.js"
import type { GrafanaPanel, Query, Stat, Table, Text, TimeSeries, Variable } from "../../src/internal/grafana/model.js"

/** A type as its values are in JSON: without methods, read only, words instead of enums. */
type Json<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer N extends number}`
      ? N
      : T
    : T extends ReadonlyArray<infer One>
      ? ReadonlyArray<Json<One>>
      : T extends object
        ? { readonly [K in keyof T as T[K] extends (...args: any) => any ? never : K]: Json<T[K]> }
        : T

/** The names in ours that Grafana does not know. */
type Unknown<Ours, Theirs> = Exclude<Ours extends unknown ? keyof Ours : never, keyof Theirs>

/** Compiles if every name of ours is one of Grafana's, and every value is one that Grafana takes. */
type Fits<Ours extends Json<Theirs>, Theirs> = [Unknown<Ours, Theirs>] extends [never]
  ? true
  : { readonly unknown: Unknown<Ours, Theirs> }

type Options<P extends GrafanaPanel> = P["options"]

type Custom<P extends TimeSeries | Table> = P["fieldConfig"]["defaults"]["custom"]

export const fits: readonly [
  Fits<Omit<Dashboard, "panels" | "templating">, Omit<sdk.Dashboard, "panels" | "templating">>,
  Fits<Omit<Dashboard["panels"][number], "options" | "targets">, Omit<sdk.Panel, "options" | "targets">>,
  Fits<Dashboard["panels"][number]["gridPos"], sdk.GridPos>,
  Fits<TimeSeries["fieldConfig"]["defaults"], sdk.FieldConfig>,
  Fits<Variable, sdk.VariableModel>,
  Fits<Query, prometheus.Dataquery>,
  Fits<Options<TimeSeries>, timeseries.Options>,
  Fits<Options<TimeSeries>["legend"], common.VizLegendOptions>,
  Fits<Options<TimeSeries>["tooltip"], common.VizTooltipOptions>,
  Fits<Options<Stat>, stat.Options>,
  Fits<Options<Table>, table.Options>,
  Fits<Options<Text>, text.Options>,
  Fits<Custom<TimeSeries>, common.GraphFieldConfig>,
  Fits<Custom<Table>, common.TableFieldOptions>
] = [true, true, true, true, true, true, true, true, true, true, true, true, true, true]
