/** Compares both sides, and judges ours: what is claimed, what was measured, and whether the claim held. */
import type { Claim } from "@sluice/example-program/work"
import * as Load from "./Load.js"
import type { Ran, Seen } from "./Scene.js"

/** What the demo has measured. Times are milliseconds. */
export interface Evidence {
  readonly restart: Ran
  readonly failover: Ran
  readonly elapsedMs: number
}

/** Connections of each pool. */
const maxSize = 10

/** The failures that the end of the server may cause in a statement that runs there. */
const inFlight = new Set(["ConnectionLost", "ServerShutdown"])

const count = (n: number) => n.toLocaleString("en-US")

/** A time, or that it was awaited in vain. */
const time = (ms: number | undefined, patience: number) =>
  ms === undefined
    ? `not within ${patience / 1_000} s`
    : ms < 1_000
      ? `${Math.round(ms)} ms`
      : `${(ms / 1_000).toFixed(1)} s`

const perSecond = (n: number, ms: number) => n / (ms / 1_000)

/** The same numbers of both sides: the name of the number, ours, theirs. */
export const compare = ({ downMs, ours, patience, theirs }: Ran): ReadonlyArray<readonly [string, string, string]> => {
  const both = (name: string, of: (seen: Seen) => string) => [name, of(ours), of(theirs)] as const
  return [
    both("first write after a server takes writes", ({ first }) => time(first.write, patience)),
    both("writes at full throughput", ({ full }) => time(full.write, patience)),
    both("reads at full throughput", ({ full }) => time(full.read, patience)),
    both("reads that failed", ({ answers }) => Load.reasons(Load.failed(answers, "read"))),
    both("writes that failed", ({ answers }) => Load.reasons(Load.failed(answers, "write"))),
    both("requests served", ({ answers }) => count(answers.length - Load.failed(answers).length)),
    both("reads served while it was down", ({ readsMeanwhile }) => count(readsMeanwhile)),
    both(
      "connects a second while it was down",
      ({ connectsMeanwhile }) => `${perSecond(connectsMeanwhile, downMs).toFixed(1)}`
    ),
    both("dead connections handed out", ({ deadHandedOut }) => String(deadHandedOut)),
    both("acknowledged writes lost", ({ acknowledged, lost }) => `${lost} of ${count(acknowledged)}`),
    both("writes executed twice", ({ twice }) => String(twice)),
    both("exceptions that nobody could catch", ({ uncaught }) => String(uncaught)),
    both("sessions left after the end", ({ sessions }) => String(sessions))
  ]
}

/** Claims that hold whatever has happened to the server. */
const always = (what: string, { ours }: Ran): ReadonlyArray<Claim> => {
  const reads = Load.failed(ours.answers, "read")
  const writes = Load.failed(ours.answers, "write")
  return [
    { claim: `${what}: no read fails`, measured: Load.reasons(reads), held: reads.length === 0 },
    {
      claim: `${what}: only writes in flight fail (≤ ${maxSize})`,
      measured: Load.reasons(writes),
      held: writes.length <= maxSize && writes.every(({ failure }) => inFlight.has(failure ?? ""))
    },
    {
      claim: `${what}: dead connections handed out: 0`,
      measured: String(ours.deadHandedOut),
      held: ours.deadHandedOut === 0
    },
    {
      claim: `${what}: acknowledged writes lost: 0, executed twice: 0`,
      measured: `${ours.lost} of ${count(ours.acknowledged)} lost, ${ours.twice} twice`,
      held: ours.acknowledged > 0 && ours.lost === 0 && ours.twice === 0
    },
    {
      claim: `${what}: sessions left after the end: 0`,
      measured: String(ours.sessions),
      held: ours.sessions === 0
    }
  ]
}

const within = (ms: number | undefined, limit: number) => ms !== undefined && ms <= limit

export const judge = ({ elapsedMs, failover, restart }: Evidence): ReadonlyArray<Claim> => {
  const { downMs, ours, patience } = restart
  const connects = perSecond(ours.connectsMeanwhile, downMs)
  return [
    {
      claim: "restart: writes at full throughput ≤ 2 s after the server accepts",
      measured: time(ours.full.write, patience),
      held: within(ours.full.write, 2_000)
    },
    {
      claim: "restart: reads at full throughput ≤ 2 s after the server accepts",
      measured: time(ours.full.read, patience),
      held: within(ours.full.read, 2_000)
    },
    {
      claim: "restart: ≤ 10 connects a second for each of the two addresses",
      measured: `${connects.toFixed(1)} a second for both`,
      held: connects <= 20
    },
    ...always("restart", restart),
    {
      claim: "failover: first write ≤ 1 s after the promotion",
      measured: time(failover.ours.first.write, failover.patience),
      held: within(failover.ours.first.write, 1_000)
    },
    {
      claim: "failover: writes at full throughput ≤ 2 s after the promotion",
      measured: time(failover.ours.full.write, failover.patience),
      held: within(failover.ours.full.write, 2_000)
    },
    {
      claim: "failover: reads go on while no server takes writes",
      measured: `${count(failover.ours.readsMeanwhile)} in ${time(failover.downMs, 0)}`,
      held: failover.ours.readsMeanwhile > 0
    },
    ...always("failover", failover),
    { claim: "the demo ends within 60 s", measured: time(elapsedMs, 0), held: elapsedMs <= 60_000 }
  ]
}
