import { assert, describe, it } from "@effect/vitest"
import * as Claims from "../src/Claims.js"

const pool = (opened: number, closed: number) => ({ connects: opened, closed: { drain: closed } }) as any

const good: Claims.Evidence = {
  answers: [
    { at: 100, write: true, failure: undefined },
    { at: 200, write: false, failure: undefined },
    { at: 300, write: false, failure: undefined },
    { at: 1_100, write: true, failure: "ConnectionLost" },
    { at: 11_100, write: true, failure: "ServerShutdown" }
  ],
  storm: {
    sent: 2_000,
    interrupted: 2_000,
    interruptedAtWork: 900,
    nextStatus: 200,
    nextMs: 5,
    idleAfterMs: 3,
    backends: 0
  },
  flood: { queued: 2_200, written: 2_200, waiting: 2_190, interactiveP99: 20, backgroundP99: 3_000 },
  restart: { from: 1_000, acceptsAt: 2_000, until: 4_000, firstWriteMs: 40, fullMs: 700, readsMeanwhile: 9 },
  failover: { from: 11_000, acceptsAt: 12_000, until: 14_000, firstWriteMs: 300, fullMs: 900, readsMeanwhile: 9 },
  acknowledged: 1,
  found: 1,
  synced: 50,
  closed: {
    pools: { write: pool(20, 20), read: [pool(10, 10)], control: [], listen: { endpoint: "db", open: 0, connects: 0 } },
    sessions: 0,
    drainMs: 30
  },
  elapsedMs: 30_000
}

const failed = (evidence: Claims.Evidence) =>
  Claims.judge(evidence)
    .filter(({ held }) => !held)
    .map(({ claim }) => claim)

describe("Claims", () => {
  it("all of them hold for a good run", () => {
    assert.deepStrictEqual(failed(good), [])
  })

  const late = { at: 900, write: true, failure: "ConnectionLost" }
  const inRestart = (failure: string) => ({ at: 1_200, write: true, failure })
  const inFailover = (failure: string) => ({ at: 11_200, write: true, failure })
  const cases: ReadonlyArray<readonly [string, string, Claims.Evidence]> = [
    [
      "a failure before the restart",
      "failures outside the restart and the failover: 0",
      { ...good, answers: [...good.answers.slice(0, 3), late, ...good.answers.slice(3)] }
    ],
    [
      "a timeout during the restart",
      "the restart fails only what is in flight (≤ 10)",
      { ...good, answers: [...good.answers.slice(0, 4), inRestart("AcquireTimeout"), good.answers[4]!] }
    ],
    [
      "more failures than connections",
      "the restart fails only what is in flight (≤ 10)",
      {
        ...good,
        answers: [
          ...good.answers.slice(0, 4),
          ...Array.from({ length: 10 }, () => inRestart("ConnectionLost")),
          good.answers[4]!
        ]
      }
    ],
    [
      "no read while the primary restarts",
      "reads go on while there is no primary",
      { ...good, restart: { ...good.restart, readsMeanwhile: 0 } }
    ],
    [
      "no read during the failover",
      "reads go on while there is no primary",
      { ...good, failover: { ...good.failover, readsMeanwhile: 0 } }
    ],
    [
      "a payment that is refused because there is no primary",
      "the failover fails only what is in flight (≤ 10)",
      { ...good, answers: [...good.answers, inFailover("NotWritable")] }
    ],
    [
      "more failures in the failover than connections",
      "the failover fails only what is in flight (≤ 10)",
      { ...good, answers: [...good.answers, ...Array.from({ length: 10 }, () => inFailover("ConnectionLost"))] }
    ],
    [
      "a slow failover",
      "first payment ≤ 1 s after the replica is promoted",
      { ...good, failover: { ...good.failover, firstWriteMs: 1_001 } }
    ],
    [
      "a failover that is not complete",
      "full throughput ≤ 2 s after the replica is promoted",
      { ...good, failover: { ...good.failover, fullMs: undefined } }
    ],
    [
      "no payment after the restart",
      "first payment ≤ 2 s after the server accepts again",
      { ...good, restart: { ...good.restart, firstWriteMs: undefined } }
    ],
    [
      "a slow recovery",
      "full throughput ≤ 2 s after the server accepts again",
      { ...good, restart: { ...good.restart, fullMs: 2_001 } }
    ],
    ["a lost payment", "acknowledged payments lost: 0", { ...good, found: 0 }],
    [
      "handlers that go on after an abort",
      "requests aborted after 1 ms stop in the server",
      { ...good, storm: { ...good.storm, interrupted: 1_000 } }
    ],
    [
      "a refused next request",
      "the next request after them is answered at once",
      { ...good, storm: { ...good.storm, nextStatus: 503 } }
    ],
    [
      "a lease that stays",
      "connections in use by aborted requests: 0",
      { ...good, storm: { ...good.storm, idleAfterMs: undefined } }
    ],
    [
      "a statement that stays",
      "server backends left by aborted requests: 0",
      { ...good, storm: { ...good.storm, backends: 1 } }
    ],
    [
      "requests that wait behind the flood",
      "requests wait ≤ 250 ms (p99) behind a flood",
      { ...good, flood: { ...good.flood, interactiveP99: 251 } }
    ],
    ["a flood that does not end", "background work progresses", { ...good, flood: { ...good.flood, written: 2_199 } }],
    [
      "a connection that was not closed",
      "connections leaked: 0",
      {
        ...good,
        closed: {
          ...good.closed,
          pools: { write: pool(20, 19), read: [], control: [], listen: good.closed.pools.listen }
        }
      }
    ],
    [
      "a session that the server still has",
      "connections leaked: 0",
      { ...good, closed: { ...good.closed, sessions: 1 } }
    ],
    ["a long run", "the demo ends within 60 s", { ...good, elapsedMs: 60_001 }]
  ]
  it.each(cases)("%s breaks its claim, and no other", (_, claim, evidence) => {
    assert.deepStrictEqual(failed(evidence), [claim])
  })

  it("nothing served breaks the first claim", () => {
    assert.include(failed({ ...good, answers: [] }), "requests are served")
  })
})
