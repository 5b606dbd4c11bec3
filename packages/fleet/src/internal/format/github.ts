/** A plan as commands of a GitHub workflow: each reason becomes an annotation, at its file and line if it has one. */
import type { PlanReport, Reason } from "../../PlanReport.js"
import { headline } from "./text.js"

const data = (text: string): string => text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A")
const property = (text: string): string => data(text).replaceAll(":", "%3A").replaceAll(",", "%2C")

const commands = { error: "error", warning: "warning", note: "notice" } as const

/** What is marked: a reason of a plan, or why there is none. */
type Marked = Omit<Reason, "code" | "service"> & { readonly code: string }

export const annotation = ({ code, level, message, source }: Marked): string => {
  const at = source === undefined ? "" : `file=${property(source.file)},line=${source.line},`
  return `::${commands[level]} ${at}title=${property(`sluice plan: ${code}`)}::${data(message)}`
}

export const github = (plan: PlanReport): string => {
  const command = { fits: "notice", warning: "notice", fails: "error" }[plan.verdict]
  return [...plan.reasons.map(annotation), `::${command} title=sluice plan::${data(headline(plan))}`].join("\n")
}
