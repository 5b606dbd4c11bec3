/** A plan as Markdown: for the summary of a job or a comment. */
import type { PlanReport } from "../../PlanReport.js"
import { prose, markdown as table } from "./table.js"
import { headline, limitsLine, momentHead, momentRows, serviceHead, serviceRow, where } from "./text.js"

export const tables = (plan: PlanReport): ReadonlyArray<string> => [
  ...table(serviceHead, plan.services.map(serviceRow)),
  "",
  ...table(momentHead(plan), momentRows(plan))
]

export const statements = (plan: PlanReport): ReadonlyArray<string> => [
  "```sql",
  ...plan.connectionLimits.map(({ statement }) => statement),
  "```"
]

export const markdown = (plan: PlanReport, explain: boolean): string =>
  [
    `## Connection plan: ${prose(headline(plan))}`,
    "",
    `${limitsLine(plan)}.`,
    "",
    ...tables(plan),
    ...(plan.reasons.length === 0 ? [] : [""]),
    ...plan.reasons.map((reason) => `- **${reason.level}**: ${prose(`${reason.message}${where(reason)}`)}`),
    ...(plan.connectionLimits.length === 0
      ? []
      : ["", "As a backstop, the database can hold each role to its plan:", "", ...statements(plan)]),
    ...(explain ? ["", "### How each number was found", ""] : []),
    ...(explain
      ? table(
          ["number", "value", "how"],
          plan.steps.map(({ how, name, value }) => [name, value, how])
        )
      : [])
  ].join("\n")
