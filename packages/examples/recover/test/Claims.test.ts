import { assert, describe, it } from "@effect/vitest"
import * as Claims from "../src/Claims.js"
import type { Answer, Kind } from "../src/Load.js"
import type { Ran, Seen } from "../src/Scene.js"

const answer = (kind: Kind, failure?: string): Answer => ({ at: 0, kind, failure })

const seen: Seen = {
  name: "Sluice",
  answers: [answer("read"), answer("write"), answer("write", "ServerShutdown")],
  full: { read: 1_500, write: 1_600 },
  first: { read: 800, write: 900 },
  readsMeanwhile: 0,
  connectsMeanwhile: 60,
  deadHandedOut: 0,
  uncaught: 0,
  acknowledged: 1,
  lost: 0,
  twice: 0,
  sessions: 0
}

/** What the other side comes to is shown, and breaks no claim. */
const theirs: Seen = {
  ...seen,
  name: "Sequelize 6",
  answers: [answer("read", "SequelizeConnectionRefusedError"), answer("write", "TypeError")],
  full: { read: undefined, write: undefined },
  first: { read: undefined, write: undefined },
  connectsMeanwhile: 720,
  deadHandedOut: 3,
  uncaught: 1,
  lost: 1,
  twice: 1,
  sessions: 4
}

const restart: Ran = { title: "The database restarts", patience: 8_000, downMs: 3_000, ours: seen, theirs }

const failover: Ran = {
  title: "The primary crashes, and the replica is promoted",
  patience: 4_000,
  downMs: 1_000,
  ours: { ...seen, first: { read: 50, write: 300 }, full: { read: 500, write: 900 }, readsMeanwhile: 50 },
  theirs
}

const good: Claims.Evidence = { restart, failover, elapsedMs: 30_000 }

const failed = (evidence: Claims.Evidence) =>
  Claims.judge(evidence)
    .filter(({ held }) => !held)
    .map(({ claim }) => claim)

const ours = (changed: Partial<Seen>): Claims.Evidence => ({
  ...good,
  restart: { ...restart, ours: { ...seen, ...changed } }
})

const oursInFailover = (changed: Partial<Seen>): Claims.Evidence => ({
  ...good,
  failover: { ...failover, ours: { ...failover.ours, ...changed } }
})

describe("Claims", () => {
  it("all of them hold for a good run, whatever the other side has come to", () => {
    assert.deepStrictEqual(failed(good), [])
  })

  const cases: ReadonlyArray<readonly [string, string, Claims.Evidence]> = [
    [
      "writes that come back late",
      "restart: writes at full throughput ≤ 2 s after the server accepts",
      ours({ full: { read: 1_500, write: 2_001 } })
    ],
    [
      "reads that do not come back",
      "restart: reads at full throughput ≤ 2 s after the server accepts",
      ours({ full: { read: undefined, write: 1_600 } })
    ],
    [
      "a storm of connects",
      "restart: ≤ 10 connects a second for each of the two addresses",
      ours({ connectsMeanwhile: 61 })
    ],
    ["a read that fails", "restart: no read fails", ours({ answers: [answer("read", "ConnectionLost")] })],
    [
      "a write that fails while it waits",
      "restart: only writes in flight fail (≤ 10)",
      ours({ answers: [answer("write", "AcquireTimeout")] })
    ],
    [
      "more failures than connections",
      "restart: only writes in flight fail (≤ 10)",
      ours({ answers: Array.from({ length: 11 }, () => answer("write", "ConnectionLost")) })
    ],
    ["a dead connection", "restart: dead connections handed out: 0", ours({ deadHandedOut: 1 })],
    ["a lost write", "restart: acknowledged writes lost: 0, executed twice: 0", ours({ lost: 1 })],
    ["a write that was executed twice", "restart: acknowledged writes lost: 0, executed twice: 0", ours({ twice: 1 })],
    ["no write at all", "restart: acknowledged writes lost: 0, executed twice: 0", ours({ acknowledged: 0 })],
    ["a session that the server still has", "restart: sessions left after the end: 0", ours({ sessions: 1 })],
    [
      "a first write that comes late",
      "failover: first write ≤ 1 s after the promotion",
      oursInFailover({ first: { read: 50, write: 1_001 } })
    ],
    [
      "writes that do not find the new primary",
      "failover: writes at full throughput ≤ 2 s after the promotion",
      oursInFailover({ full: { read: 500, write: undefined } })
    ],
    ["no read in between", "failover: reads go on while no server takes writes", oursInFailover({ readsMeanwhile: 0 })],
    [
      "a read that fails while the roles change",
      "failover: no read fails",
      oursInFailover({ answers: [answer("read", "ServerShutdown")] })
    ],
    [
      "a write that is not held",
      "failover: only writes in flight fail (≤ 10)",
      oursInFailover({ answers: [answer("write", "DatabaseDown")] })
    ],
    ["a long run", "the demo ends within 60 s", { ...good, elapsedMs: 60_001 }]
  ]
  it.each(cases)("%s breaks its claim, and no other", (_, claim, evidence) => {
    assert.deepStrictEqual(failed(evidence), [claim])
  })

  it("the comparison says of both sides what they came to", () => {
    const rows = new Map(Claims.compare(restart).map(([name, ...both]) => [name, both]))
    assert.deepStrictEqual(rows.get("writes at full throughput"), ["1.6 s", "not within 8 s"])
    assert.deepStrictEqual(rows.get("reads that failed"), ["0", "1: SequelizeConnectionRefusedError 1"])
    assert.deepStrictEqual(rows.get("writes that failed"), ["1: ServerShutdown 1", "1: TypeError 1"])
    assert.deepStrictEqual(rows.get("connects a second while it was down"), ["20.0", "240.0"])
    assert.deepStrictEqual(rows.get("acknowledged writes lost"), ["0 of 1", "1 of 1"])
  })
})
