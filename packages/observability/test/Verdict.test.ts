/**
 * What a board says about each cause. The five incidents have the same symptom, a queue: each must be named by what else the report has.
 */
import { assert, describe, it } from "@effect/vitest"
import { type Report, Thresholds, Verdict } from "@sluice/observability"
import { Either } from "effect"
import { AT, database, doing, holder, of, pool, report, times } from "./support/reports.js"

/** A full pool with a queue. */
const queue: Partial<Report.PoolReport> = {
  using: 10,
  available: 0,
  size: 10,
  waiting: 37,
  oldestWaitMs: 4_200,
  waits: times(2_100),
  doing: doing({ busy: 9.8 }),
  lastMinute: {
    ...pool().lastMinute,
    acquired: 900,
    acquireFailures: { AcquireTimeout: 100 }
  }
}

const first = (...reports: ReadonlyArray<Report.Report>): Verdict.Reason => {
  const { reasons } = Verdict.of(reports)
  assert.isNotEmpty(reasons)
  return reasons[0]!
}

describe("Verdict", () => {
  it("of a calm pool says that all is well, and how much is in use", () => {
    const verdict = Verdict.of([of(), of({}, "pod-2")])
    assert.strictEqual(verdict.level, "ok")
    assert.deepStrictEqual(verdict.reasons, [])
    assert.strictEqual(verdict.sentence, "All is well: 4 of 20 connections of 2 pods are in use, and nobody waits.")
  })

  it("of no process says that none has reported", () => {
    assert.deepStrictEqual(Verdict.of([]), { level: "ok", sentence: "No process has reported yet.", reasons: [] })
  })

  describe("tells why callers wait", () => {
    const incidents: Record<
      string,
      readonly [changes: Partial<Report.PoolReport>, cause: Verdict.Cause, says: RegExp]
    > = {
      "statements that run for seconds": [
        { holders: Array.from({ length: 10 }, () => holder("busy", 3_900)) },
        "slowStatements",
        /held for 3.9 s, usually for 10 ms \(threshold 1 s\)/
      ],
      "statements that take ten times as long as usual, each still below a second": [
        { now: { arrivalsPerSecond: 100, holdMeanMs: 120 }, holders: [holder("busy", 110)] },
        "slowStatements",
        /held for 120 ms, usually for 10 ms/
      ],
      "slow statements in a program that has just started": [
        { usual: undefined, now: { arrivalsPerSecond: 3, holdMeanMs: 2_000 }, holders: [holder("busy", 1_500)] },
        "slowStatements",
        /held for 2 s \(threshold 1 s\)/
      ],
      "ten times as many requests as usual": [
        { now: { arrivalsPerSecond: 1_000, holdMeanMs: 11 } },
        "tooManyRequests",
        /1,000 acquires come in a second, usually 100/
      ],
      "so many requests that the server becomes slow under them": [
        { now: { arrivalsPerSecond: 2_000, holdMeanMs: 60 } },
        "tooManyRequests",
        /usually 100/
      ],
      "as many requests as always, on too few connections": [{}, "tooManyRequests", /100 acquires come in a second/],
      "transactions that wait for something else": [
        {
          doing: doing({ busy: 3, idleInTransaction: 7 }),
          now: { arrivalsPerSecond: 100, holdMeanMs: 900 },
          holders: [holder("idleInTransaction", 2_000)]
        },
        "idleInTransaction",
        /of 10 leased connections 7 are idle in a transaction, the longest lease of them for 2 s/
      ],
      "leases that nobody gives back": [
        { doing: doing({ busy: 2, forgotten: 8 }), holders: [holder("forgotten", 42_000)] },
        "forgotten",
        /nothing done on them/
      ],
      "streams that nobody reads": [{ doing: doing({ busy: 2, stream: 8 }) }, "stream", /read as streams/],
      "listeners on connections of the pool": [{ doing: doing({ busy: 4, listener: 4 }) }, "listener", /listening/],
      "a server that is being restarted": [
        {
          size: 0,
          using: 0,
          host: "down",
          doing: doing({}),
          outage: { since: AT - 8_000, until: undefined, attempts: 12, message: "connect ECONNREFUSED 10.0.0.1:5432" }
        },
        "down",
        /12 connects failed, the last one with: connect ECONNREFUSED 10.0.0.1:5432/
      ],
      "a server that has just come back, and a queue that is left": [
        {
          outage: { since: AT - 9_000, until: AT - 1_000, attempts: 9, message: "the database system is starting up" }
        },
        "wasDown",
        /the database system is starting up/
      ],
      "a server without a connection left, while some are open": [
        {
          size: 4,
          using: 4,
          host: "failing",
          outage: { since: AT - 9_000, until: undefined, attempts: 9, message: "sorry, too many clients already" }
        },
        "serverFull",
        /4 connections still open/
      ],
      "connects that take long": [
        { using: 3, size: 3, connecting: 7, doing: doing({ busy: 3 }), connectTimes: times(900) },
        "slowConnects",
        /7 connects under way; connects of the last minute took 900 ms/
      ],
      "connections that are being cancelled": [
        { using: 2, size: 10, quarantined: 8, doing: doing({ busy: 2 }) },
        "cleaning",
        /8 cancelled/
      ],
      "connections that are kept for another class": [
        { using: 6, available: 4, doing: doing({ busy: 6 }) },
        "heldBack",
        /4 idle/
      ],
      "a pool that is suspended": [{ phase: "suspended", suspendedMs: 60_000 }, "suspended", /1 min|60 s/],
      "a pool that closes": [{ phase: "draining" }, "draining", /10 connections still in use/]
    }
    for (const [what, [changes, cause, says]] of Object.entries(incidents)) {
      it(`${what}: ${cause}`, () => {
        const reason = first(of({ ...queue, ...changes }))
        assert.strictEqual(reason.cause, cause)
        assert.match(reason.evidence, says)
        assert.match(reason.remedy, /\.$/)
        assert.include(Verdict.of([of({ ...queue, ...changes })]).sentence, reason.title)
      })
    }

    it("an event loop that stands still: the stall is the reason, and the queue is none of its own", () => {
      const stalled = { ...of({ ...queue, using: 4, doing: doing({ busy: 2 }), oldestWaitMs: 2_000 }), stallMs: 2_200 }
      assert.deepStrictEqual(
        Verdict.of([stalled]).reasons.map(({ cause }) => cause),
        ["stall"]
      )
      assert.include(
        Verdict.of([{ ...of(queue), stallMs: 2_200 }]).reasons.map(({ cause }) => cause),
        "tooManyRequests"
      )
    })

    it("a queue that is over: that it was there, and what the last timeout has said", () => {
      const over = of({
        waits: times(2_100),
        lastMinute: { ...pool().lastMinute, acquireFailures: { AcquireTimeout: 5 } },
        lastTimeout: { at: AT - 20_000, message: "End transactions before slow work, or raise maxSize." }
      })
      const reason = first(over)
      assert.strictEqual(reason.cause, "waits")
      assert.strictEqual(reason.level, "warning")
      assert.include(reason.remedy, "End transactions before slow work")
    })
  })

  it("is critical when more than one acquire in a hundred fails, and a warning below that", () => {
    const failing = (failed: number) =>
      Verdict.of([
        of({
          ...queue,
          oldestWaitMs: 50,
          lastMinute: { ...pool().lastMinute, acquired: 1_000, acquireFailures: { PoolShed: failed } }
        })
      ])
    assert.strictEqual(failing(20).level, "critical")
    assert.strictEqual(failing(5).level, "warning")
  })

  describe("tells of what makes nobody wait yet", () => {
    const oddities: Record<string, readonly [report: Report.Report, cause: Verdict.Cause, level: Verdict.Level]> = {
      "most connections are in use": [of({ doing: doing({ busy: 9 }) }), "busy", "warning"],
      "a lease is held for six minutes": [of({ holders: [holder("forgotten", 360_000)] }), "longLease", "warning"],
      "the pool has found a leak": [
        of({ holders: [holder("forgotten", 60_000)], lastMinute: { ...pool().lastMinute, leaks: 1 } }),
        "leak",
        "warning"
      ],
      "a replica is 20 s behind": [of({ role: "replica", lagMs: 20_000 }), "replicaLag", "warning"],
      "a replica is 2 min behind": [of({ role: "replica", lagMs: 120_000 }), "replicaLag", "critical"],
      "a replica is behind the limit of its router": [
        of({ role: "replica", lagMs: 5_000, isLagging: true }),
        "replicaLag",
        "warning"
      ],
      "a replica cannot be reached": [
        of({
          role: "replica",
          size: 0,
          host: "down",
          outage: { since: AT - 1_000, until: undefined, attempts: 1, message: "ECONNREFUSED" }
        }),
        "replicaDown",
        "warning"
      ],
      "the control connection of a replica gets no answer": [
        of({ role: "replica", isUp: false }),
        "replicaDown",
        "warning"
      ],
      "a server has stopped answering": [of({ isSilent: true }), "silent", "warning"],
      "connections broke at once": [
        of({ lastMinute: { ...pool().lastMinute, closed: { error: 6 } } }),
        "connectionsLost",
        "warning"
      ],
      "the primary takes no writes": [report([database([pool()], { isWritable: false })]), "notWritable", "critical"],
      "a tenth of the statements is executed again": [
        report([database([pool()], { lastMinute: { retries: { total: 900, denied: 0 }, errors: { Deadlock: 900 } } })]),
        "retries",
        "warning"
      ],
      "the server has few connections left": [
        report([
          database([pool()], {
            server: { at: AT, connections: 85, maxConnections: 100, active: 3, idleInTransaction: 0 }
          })
        ]),
        "serverConnections",
        "warning"
      ],
      "the pool has been suspended for an hour": [
        of({ phase: "suspended", suspendedMs: 3_500_000 }),
        "suspended",
        "critical"
      ],
      "the process did not run for a second": [{ ...of(), stallMs: 1_000 }, "stall", "warning"]
    }
    for (const [what, [given, cause, level]] of Object.entries(oddities)) {
      it(`${what}: ${cause}, ${level}`, () => {
        const { reasons } = Verdict.of([given])
        assert.deepStrictEqual(
          reasons.map((reason) => [reason.cause, reason.level]),
          [[cause, level]]
        )
      })
    }
  })

  it("a reason that holds in many pods is told once, with all of them, the worst one first", () => {
    const reports = [of(queue, "a"), of({ ...queue, waiting: 300 }, "b"), of({}, "c")]
    const { reasons, sentence } = Verdict.of(reports)
    assert.lengthOf(reasons, 1)
    assert.deepStrictEqual(reasons[0]!.pods, ["b", "a"])
    assert.include(reasons[0]!.evidence, "300 callers wait")
    assert.include(sentence, "in 2 of 3 pods")
  })

  it("pools that together may open more than the server allows are told of before it refuses", () => {
    const server = { at: AT, connections: 40, maxConnections: 500, active: 3, idleInTransaction: 0 }
    const pods = Array.from({ length: 60 }, (_, i) =>
      report([database([pool()], { server: i === 7 ? server : undefined })], { pod: `pod-${i}` })
    )
    const { reasons, level } = Verdict.of(pods)
    assert.strictEqual(level, "critical")
    assert.deepStrictEqual(
      reasons.map(({ cause }) => cause),
      ["overcommitted"]
    )
    assert.include(reasons[0]!.title, "may open 600 connections to db-1:5432/pay, which allows 500")
    assert.strictEqual(Verdict.of(pods.slice(0, 50)).level, "ok")
  })

  it("pods that do not answer are a warning, and critical if none does", () => {
    assert.strictEqual(Verdict.of([of()], { silent: ["pod-2"] }).level, "warning")
    const none = Verdict.of([], { silent: ["pod-1", "pod-2"] })
    assert.strictEqual(none.level, "critical")
    assert.strictEqual(none.sentence, "2 of 2 pods do not answer.")
  })

  it("the thresholds of the program decide", () => {
    const thresholds = Either.getOrThrow(Thresholds.make({ leaseMs: 3_600_000 }))
    const given = [of({ holders: [holder("busy", 360_000)] })]
    assert.strictEqual(Verdict.of(given).level, "warning")
    assert.strictEqual(Verdict.of(given, { thresholds }).level, "ok")
  })
})
