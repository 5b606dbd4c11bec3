/** What only many processes together can show, or the server that they share. */
import type { Database, Report, Server } from "../../Report.js"
import type { Thresholds } from "../../Thresholds.js"
import { count, percent } from "../words.js"
import { type Finding, levelOf } from "./finding.js"

/** The connections to one server. */
interface Shared {
  /** What the server has said last. */
  server: Server | undefined
  /** What the pools may open together. */
  max: number
  readonly pods: Set<string>
}

/** The server that a database has counted the connections of: its primary. */
const endpointOf = ({ pools }: Database): string | undefined => pools.find(({ role }) => role === "primary")?.endpoint

const byServer = (reports: ReadonlyArray<Report>): ReadonlyMap<string, Shared> => {
  const all = new Map<string, Shared>()
  const at = (endpoint: string): Shared => {
    const known = all.get(endpoint) ?? { server: undefined, max: 0, pods: new Set() }
    all.set(endpoint, known)
    return known
  }
  for (const { databases, pod } of reports) {
    for (const database of databases) {
      if (database.system === undefined) continue
      for (const { endpoint, max, phase } of database.pools) {
        const shared = at(endpoint)
        if (phase !== "closed") shared.max += max
        shared.pods.add(pod)
      }
      const endpoint = endpointOf(database)
      const { server } = database
      if (endpoint === undefined || server === undefined) continue
      const shared = at(endpoint)
      if (shared.server === undefined || server.at > shared.server.at) shared.server = server
    }
  }
  return all
}

const serverFindings = (endpoint: string, { max, pods, server }: Shared, thresholds: Thresholds): Array<Finding> => {
  if (server === undefined || server.maxConnections <= 0) return []
  const { connections, maxConnections } = server
  const found: Array<Finding> = []
  const share = connections / maxConnections
  const level = levelOf(share, thresholds.serverConnections)
  if (level !== "ok") {
    found.push({
      cause: "serverConnections",
      level,
      where: endpoint,
      pods: [],
      title: `${endpoint} has few connections left: ${connections} of ${maxConnections} are open`,
      evidence: `${percent(share)} (threshold ${percent(thresholds.serverConnections[level])}), of which these pools may have ${max}`,
      remedy: "Find who else connects to it, lower maxSize, or let the server allow more.",
      weight: share
    })
  }
  if (max > maxConnections) {
    found.push({
      cause: "overcommitted",
      level: "critical",
      where: endpoint,
      pods: [],
      title: `The pools together may open ${max} connections to ${endpoint}, which allows ${maxConnections}`,
      evidence: `maxSize of all pools in ${count(pods.size, "pod")} is ${max}`,
      remedy: "Lower maxSize or the number of processes before the load needs them all: then the server would refuse.",
      weight: max / maxConnections
    })
  }
  return found
}

export const fleet = (
  reports: ReadonlyArray<Report>,
  silent: ReadonlyArray<string>,
  thresholds: Thresholds
): ReadonlyArray<Finding> => {
  const found = [...byServer(reports)].flatMap(([endpoint, shared]) => serverFindings(endpoint, shared, thresholds))
  if (silent.length > 0) {
    found.push({
      cause: "podSilent",
      level: reports.length === 0 ? "critical" : "warning",
      where: undefined,
      pods: [...silent],
      title: `${silent.length} of ${count(silent.length + reports.length, "pod")} ${silent.length === 1 ? "does" : "do"} not answer`,
      evidence: `${silent.slice(0, 5).join(", ")}${silent.length > 5 ? ` and ${silent.length - 5} more` : ""}`,
      remedy: "Look whether these processes run, and whether their board can be reached from here.",
      weight: silent.length
    })
  }
  return found
}
