/** What of a report is not for everybody: texts of statements, names of spans, and messages that may quote them. */
import type { Report } from "../../Report.js"

/** The report for readers who may see numbers alone. */
export const without = (report: Report): Report => ({
  ...report,
  databases: report.databases.map((database) => ({
    ...database,
    pools: database.pools.map((pool) => ({
      ...pool,
      holders: pool.holders.map((holder) => ({ ...holder, activity: undefined, span: undefined })),
      lastTimeout: pool.lastTimeout === undefined ? undefined : { ...pool.lastTimeout, message: "" },
      outage: pool.outage === undefined ? undefined : { ...pool.outage, message: "" }
    }))
  }))
})
