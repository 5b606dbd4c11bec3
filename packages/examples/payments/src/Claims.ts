/** Judges the demo: what is claimed, what was measured, and whether the claim held. */
import type { Claim } from "@sluice/example-program/work"
import type { SqlStats } from "@sluice/sql/Sql"
import { maxSize } from "./Live.js"
import * as Meter from "./Meter.js"

/** The primary is away, and payments are possible again: it has started again, or the replica has taken its place. */
export interface Outage {
  readonly from: number
  readonly acceptsAt: number
  /** From this moment on a failure is not blamed on the outage. */
  readonly until: number
  /** Both from the moment the server accepts payments again; `undefined` if that took longer than the limit. */
  readonly firstWriteMs: number | undefined
  readonly fullMs: number | undefined
  readonly readsMeanwhile: number
}

/** What the phases of the demo have measured. Times are milliseconds. */
export interface Evidence {
  readonly answers: ReadonlyArray<Meter.Answer>
  readonly storm: {
    readonly sent: number
    /** Number of handlers that the server interrupted, and of those among them that had begun their transaction. */
    readonly interrupted: number
    readonly interruptedAtWork: number
    /** Status and time of the first request after the storm. */
    readonly nextStatus: number
    readonly nextMs: number
    /** From the end of the storm's clients until nothing was leased; `undefined` if that took longer than the limit. */
    readonly idleAfterMs: number | undefined
    /** Sessions on the servers that were not idle one second after the storm. */
    readonly backends: number
  }
  readonly flood: {
    readonly queued: number
    readonly written: number
    /** Most callers that waited at once. */
    readonly waiting: number
    readonly interactiveP99: number
    readonly backgroundP99: number
  }
  readonly restart: Outage
  readonly failover: Outage
  readonly acknowledged: number
  /** Number of acknowledged payments that were found on the server that is left. */
  readonly found: number
  readonly synced: number
  /** The pools after the program's scope has closed, and the sessions that are still on the servers. */
  readonly closed: { readonly pools: SqlStats; readonly sessions: number; readonly drainMs: number }
  readonly elapsedMs: number
}

/** Milliseconds that a request may wait for a connection while thousands of background statements wait as well. */
export const interactiveBound = 250

/** The failures that a crash of the server may cause in a request whose statement was running there. */
const ofACrash = new Set(["ConnectionLost", "ServerShutdown", "CommitUnknown"])

export const judge = (evidence: Evidence): ReadonlyArray<Claim> => {
  const { acknowledged, answers, closed, failover, flood, found, restart, storm } = evidence
  const failed = answers.filter(({ failure }) => failure !== undefined)
  const during = ({ from, until }: Outage) => Meter.between(failed, from, until)
  const inRestart = during(restart)
  const inFailover = during(failover)
  const others = failed.filter((answer) => !inRestart.includes(answer) && !inFailover.includes(answer))
  const writes = answers.filter(({ failure, write }) => write && failure === undefined).length
  const served = answers.length - failed.length
  const pools = [closed.pools.write, ...closed.pools.read]
  const opened = pools.reduce((sum, pool) => sum + pool.connects, 0)
  const shut = pools.reduce((sum, pool) => sum + Object.values(pool.closed).reduce((a, b) => a + b, 0), 0)
  return [
    {
      claim: "requests are served",
      measured: `${count(served)}: ${count(writes)} payments, ${count(served - writes)} reads`,
      held: writes > 0 && served > writes
    },
    {
      claim: "failures outside the restart and the failover: 0",
      measured: because(others),
      held: others.length === 0
    },
    {
      claim: `the restart fails only what is in flight (≤ ${maxSize})`,
      measured: because(inRestart),
      held: onlyInFlight(inRestart)
    },
    {
      claim: "reads go on while there is no primary",
      measured: [restart, failover]
        .map(({ acceptsAt, from, readsMeanwhile }) => `${count(readsMeanwhile)} in ${ms(acceptsAt - from)}`)
        .join("; "),
      held: restart.readsMeanwhile > 0 && failover.readsMeanwhile > 0
    },
    {
      claim: "first payment ≤ 2 s after the server accepts again",
      measured: ms(restart.firstWriteMs),
      held: within(restart.firstWriteMs, 2_000)
    },
    {
      claim: "full throughput ≤ 2 s after the server accepts again",
      measured: ms(restart.fullMs),
      held: within(restart.fullMs, 2_000)
    },
    {
      claim: `the failover fails only what is in flight (≤ ${maxSize})`,
      measured: because(inFailover),
      held: onlyInFlight(inFailover)
    },
    {
      claim: "first payment ≤ 1 s after the replica is promoted",
      measured: ms(failover.firstWriteMs),
      held: within(failover.firstWriteMs, 1_000)
    },
    {
      claim: "full throughput ≤ 2 s after the replica is promoted",
      measured: ms(failover.fullMs),
      held: within(failover.fullMs, 2_000)
    },
    {
      claim: "acknowledged payments lost: 0",
      measured: `${acknowledged - found} of ${count(acknowledged)}`,
      held: found === acknowledged
    },
    {
      claim: "requests aborted after 1 ms stop in the server",
      measured: `${count(storm.interrupted)} of ${count(storm.sent)}, ${count(storm.interruptedAtWork)} of them in their transaction`,
      // Not all of them: on a machine that stands still for a moment, a few are answered before they hang up.
      held: storm.interrupted >= storm.sent * 0.95 && storm.interruptedAtWork > 0
    },
    {
      claim: "the next request after them is answered at once",
      measured: `${storm.nextStatus} in ${ms(storm.nextMs)}`,
      held: storm.nextStatus === 200 && storm.nextMs <= 1_000
    },
    {
      claim: "connections in use by aborted requests: 0",
      measured: storm.idleAfterMs === undefined ? "still in use after 5 s" : `0 after ${ms(storm.idleAfterMs)}`,
      held: storm.idleAfterMs !== undefined
    },
    {
      claim: "server backends left by aborted requests: 0",
      measured: `${storm.backends} one second later`,
      held: storm.backends === 0
    },
    {
      claim: `requests wait ≤ ${interactiveBound} ms (p99) behind a flood`,
      measured: `${ms(flood.interactiveP99)}; background ${ms(flood.backgroundP99)}, ${count(flood.waiting)} in line`,
      held: flood.interactiveP99 <= interactiveBound && flood.waiting >= 2_000
    },
    {
      claim: "background work progresses",
      measured: `${count(flood.written)} of ${count(flood.queued)} written; ${count(evidence.synced)} by the sync`,
      held: flood.written === flood.queued && evidence.synced > 0
    },
    {
      claim: "connections leaked: 0",
      measured: `${opened - shut} of ${opened}; ${closed.sessions} sessions on the servers; closed in ${ms(closed.drainMs)}`,
      held: opened > 0 && opened === shut && closed.sessions === 0
    },
    {
      claim: "the demo ends within 60 s",
      measured: ms(evidence.elapsedMs),
      held: evidence.elapsedMs <= 60_000
    }
  ]
}

/** One line for each claim. If a measurement does not fit beside its claim, all measurements go below their claims. */
export const render = (
  claims: ReadonlyArray<Claim>,
  columns: number
): ReadonlyArray<{ text: string; held: boolean }> => {
  const width = Math.max(...claims.map(({ claim }) => claim.length))
  const fits = claims.every(({ measured }) => 4 + width + 2 + measured.length <= columns)
  return claims.map(({ claim, held, measured }) => ({
    held,
    text: `${held ? "✓" : "✗"} ${fits ? `${claim.padEnd(width)}  ${measured}` : `${claim}\n      ${measured}`}`
  }))
}

const onlyInFlight = (failures: ReadonlyArray<Meter.Answer>) =>
  failures.length <= maxSize && failures.every(({ failure }) => ofACrash.has(failure ?? ""))

const because = (failed: ReadonlyArray<Meter.Answer>) =>
  failed.length === 0 ? "0" : `${failed.length}: ${Meter.reasons(failed)}`
const within = (value: number | undefined, limit: number) => value !== undefined && value <= limit
const count = (n: number) => n.toLocaleString("en-US")
export const ms = (value: number | undefined) =>
  value === undefined ? "never" : value < 1_000 ? `${Math.round(value)} ms` : `${(value / 1_000).toFixed(1)} s`
