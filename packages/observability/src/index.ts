/**
 * @since 0.2.0
 */
export * as Alerts from "./Alerts.js"
export * as Board from "./Board.js"
export * as Catalog from "./Catalog.js"
export * as Grafana from "./Grafana.js"
export * as Logs from "./Logs.js"
export * as Panels from "./Panels.js"
export * as Pods from "./Pods.js"
export * as Prometheus from "./Prometheus.js"
export type * as Reason from "./Reason.js"
export * as Recorder from "./Recorder.js"
export type * as Report from "./Report.js"
export * as StatsJson from "./StatsJson.js"
export * as Telemetry from "./Telemetry.js"
export * as Thresholds from "./Thresholds.js"
export * as Top from "./Top.js"
export * as Verdict from "./Verdict.js"
