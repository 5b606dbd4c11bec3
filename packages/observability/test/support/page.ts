/** The page with what to do about each alert, made of their definitions. */
import { Either } from "effect"
import { KEEP, percent, type Unit } from "../../src/internal/alerts/definitions.js"
import { parseRules } from "../../src/internal/alerts/options.js"
import { anchorOf, expressionOf } from "../../src/internal/alerts/ruleFile.js"
import { duration } from "../../src/internal/words.js"

const shown: Readonly<Record<Unit, (value: number) => string>> = {
  share: percent,
  seconds: (value) => duration(value * 1_000),
  count: String
}

const subjects = {
  pool: "Each pool of a process.",
  process: "Each process.",
  server:
    "Each server, with the pools of all processes to it. The process itself knows only its own pools, unless it is given the reports of others."
}

/** A sentence for people instead of one with placeholders. */
const plain = (summary: string): string =>
  summary.replace("{pool}", "*name*").replace("{endpoint}", "*host*").replace("{value}", "*value*")

export const page = (): string => {
  const { alerts, target } = Either.getOrThrow(parseRules())
  const rows = alerts.map((alert) => {
    const limits = alert.when.map(({ above }) => shown[alert.unit](above))
    const after = alert.forMs === 0 ? "at once" : duration(alert.forMs)
    return `| [${alert.name}](#${anchorOf(alert)}) | ${alert.severity} | ${limits[0]} | ${after} |`
  })
  const sections = alerts.map((alert) =>
    [
      `## ${alert.name}`,
      `${plain(alert.summary)}`,
      `**Cause.** ${alert.cause}`,
      `**What to do.** ${alert.remedy}`,
      `**For.** ${subjects[alert.of]}`,
      `\`\`\`promql\n${expressionOf(alert, target)}\n\`\`\``
    ].join("\n\n")
  )
  return `${[
    "# Alerts",
    "What each alert means and what to do. The page is made of the same definitions as the rules for Prometheus ([rules.yml](rules.yml), made by `Alerts.rules`) and the alerts of the process itself (`Alerts.stream`); the numbers are the default thresholds.",
    `An alert ends when its condition has not held for ${duration(KEEP)}. There is no alert about a grant of the fleet's budget that is stale, because there is no such budget yet.`,
    "The alerts of servers, replicas and retries need `Telemetry.layer` at level `full`; the others are content with `basic`.",
    ["| alert | severity | above | after |", "| --- | --- | --- | --- |", ...rows].join("\n"),
    ...sections
  ].join("\n\n")}\n`
}
