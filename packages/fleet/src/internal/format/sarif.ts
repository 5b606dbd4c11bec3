/** A plan as SARIF 2.1.0, for code scanning: each reason is a result. */
import type { PlanReport, Reason } from "../../PlanReport.js"

const descriptions: Readonly<Record<Reason["code"], string>> = {
  overcommitted: "The server has fewer connections than the worst moment of a deploy needs",
  "no-size-fits": "One connection in each process is too much already",
  "reserve-used": "The worst moment of a deploy uses what is kept for operators",
  "below-need": "A pool is smaller than its load needs",
  single: "A pool has one connection",
  saturated: "There are more connections than the cores of the database can work for",
  "ready-together": "It would not fit if all new pods became ready in the same moment",
  "not-counted": "Something in a file was left out of the plan"
}

const rules = Object.entries(descriptions).map(([id, text]) => ({ id, shortDescription: { text } }))

const locations = ({ source }: Reason) =>
  source === undefined
    ? []
    : [
        {
          physicalLocation: {
            artifactLocation: { uri: encodeURI(source.file.replaceAll("\\", "/")) },
            region: { startLine: source.line }
          }
        }
      ]

export const sarif = (plan: PlanReport, version: string): string =>
  JSON.stringify(
    {
      $schema: "https://json.schemastore.org/sarif-2.1.0.json",
      version: "2.1.0",
      runs: [
        {
          tool: {
            driver: { name: "sluice", version, informationUri: "https://github.com/sluice-db/sluice", rules }
          },
          results: plan.reasons.map((reason) => ({
            ruleId: reason.code,
            ruleIndex: rules.findIndex(({ id }) => id === reason.code),
            level: reason.level,
            message: { text: reason.message },
            locations: locations(reason)
          }))
        }
      ]
    },
    undefined,
    2
  )
