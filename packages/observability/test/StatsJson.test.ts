import { assert, describe, it } from "@effect/vitest"
import { type Report, StatsJson } from "@sluice/observability"
import { Either } from "effect"
import { AT, database, holder, of, pool, report } from "./support/reports.js"

const refusal = (text: string) =>
  Either.match(StatsJson.decode(text), {
    onLeft: ({ message, reason }) => [reason, message] as const,
    onRight: () => assert.fail("it was taken")
  })

const changed = (change: (report: any) => void): string => {
  const copy = JSON.parse(StatsJson.encode(of()))
  change(copy)
  return JSON.stringify(copy)
}

describe("StatsJson", () => {
  it("gives back what was sent, also what is not known", () => {
    const reports: ReadonlyArray<Report.Report> = [
      of(),
      report([]),
      report([
        database(
          [
            pool({
              lagMs: 12,
              holders: [{ ...holder("forgotten", 5_000), activity: "busy: select ?", span: "checkout" }],
              queues: [{ priority: "background", depth: 3, oldestMs: 40 }],
              outage: { since: AT, until: undefined, attempts: 3, message: "ECONNREFUSED" },
              whatIf: [{ maxSize: 1, waited: 0.5, waitP99Ms: 12.5, utilization: 1 }]
            })
          ],
          {
            server: { at: AT, connections: 3, maxConnections: 100, active: 1, idleInTransaction: undefined },
            errors: { Deadlock: 2 }
          }
        )
      ])
    ]
    for (const sent of reports) {
      const read = Either.getOrThrow(StatsJson.decode(StatsJson.encode(sent)))
      assert.deepEqual(JSON.parse(StatsJson.encode(read)), JSON.parse(StatsJson.encode(sent)))
    }
  })

  it("leaves out what is in it besides a report", () => {
    const read = Either.getOrThrow(StatsJson.decode(changed((report) => (report.databases[0].pools[0].extra = "<b>"))))
    assert.notInclude(StatsJson.encode(read), "extra")
  })

  it("refuses what is no report, and says why", () => {
    assert.deepStrictEqual(refusal("<html>")[0], "json")
    for (const other of ["null", "[]", "42", "{}", '"text"']) assert.strictEqual(refusal(other)[0], "shape", other)
    assert.deepStrictEqual(refusal('{"version":2}'), [
      "version",
      "no report: it is of version 2, and this board reads version 1: use the same version of Sluice"
    ])
    const broken: Record<string, (report: any) => void> = {
      "databases.0.pools.0.using": (report) => delete report.databases[0].pools[0].using,
      "databases.0.pools.0.waits.p95Ms": (report) => (report.databases[0].pools[0].waits.p95Ms = null),
      "databases.0.pools.0.role": (report) => (report.databases[0].pools[0].role = "master"),
      "databases.0.name": (report) => (report.databases[0].name = "x".repeat(10_001)),
      "databases.0.pools.0.waitsWithin": (report) =>
        (report.databases[0].pools[0].waitsWithin = Array(1_001).fill({ ms: 1, count: 1 }))
    }
    for (const [path, change] of Object.entries(broken)) {
      const [reason, message] = refusal(changed(change))
      assert.strictEqual(reason, "shape", path)
      assert.include(message, `no report: ${path}`)
      assert.isBelow(message.length, 350)
    }
  })

  it("does not read a text that is too long", () => {
    assert.strictEqual(refusal(" ".repeat(StatsJson.longest + 1))[0], "size")
  })
})
