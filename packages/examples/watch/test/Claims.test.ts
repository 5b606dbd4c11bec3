import { assert, describe, it } from "@effect/vitest"
import type { Alerts, Verdict } from "@sluice/observability"
import { Pool } from "@sluice/pool"
import { Effect } from "effect"
import * as Claims from "../src/Claims.js"

const idleMs = 10_000

const reason: Verdict.Reason = {
  cause: "forgotten",
  level: "critical",
  where: "sessions",
  pods: ["demo"],
  title: "Nothing is done",
  evidence: "5 of 5",
  remedy: "Release them."
}

const alert: Alerts.Transition = {
  state: "fired",
  alert: "SluicePoolExhausted",
  severity: "warning",
  pod: "demo",
  database: "sessions",
  pool: "sessions",
  endpoint: "db-1",
  value: 1,
  threshold: 0,
  unit: "count",
  since: 0,
  at: 1,
  summary: "Exhausted.",
  reason,
  description: "Nothing is done: 5 of 5. Release them.",
  runbook: "https://example.org"
}

const good = Effect.gen(function* () {
  const pool = yield* Pool.make({ connect: () => Effect.void })
  const stats = yield* Pool.stats(pool)
  const read = { ...stats, size: 0, available: 0, using: 0, waiting: 0 }
  const seen: Claims.Seen = {
    incident: { name: "sessions", cause: "forgotten", says: /Nothing is done/ },
    error: "no connection. Nothing is done on them.",
    write: { ...read, size: 5, using: 5 },
    read,
    reasons: [reason],
    alert,
    hooks: { before: 6, after: 5 },
    emptyAfterMs: 10_100,
    last: { ...read, acquired: 5, connects: 5, closed: { ...stats.closed, idle: 5 } }
  }
  return seen
}).pipe(Effect.scoped, Effect.runSync)

/** Numbers of the claims that do not hold. */
const failed = (seen: Partial<Claims.Seen> = {}, sessions = 0) =>
  Claims.judge({ seen: [{ ...good, ...seen }], sessions }, idleMs).flatMap(({ held }, index) =>
    held ? [] : [index + 1]
  )

describe("Claims", () => {
  it("all of them hold for a good run", () => {
    assert.deepStrictEqual(failed(), [])
  })

  const { last, read, write } = good
  const cases: ReadonlyArray<readonly [string, number, Partial<Claims.Seen>]> = [
    ["an error that says something else", 1, { error: "no connection. More work arrives." }],
    ["a board that puts something else first", 2, { reasons: [{ ...reason, cause: "slowStatements" }] }],
    ["an alert that was not raised", 3, { alert: undefined }],
    ["an alert without a cause", 3, { alert: { ...alert, reason: undefined } }],
    ["an alert with another cause", 3, { alert: { ...alert, reason: { ...reason, cause: "waits" } } }],
    ["a pool that was not used up", 4, { write: { ...write, using: 4, available: 1 } }],
    ["a read at the replica", 5, { read: { ...read, using: 1 } }],
    ["a hook that was not told", 6, { hooks: { before: 6, after: 4 } }],
    ["a connection that stays open", 7, { last: { ...last, size: 1 } }],
    ["a connection that is closed too soon", 7, { emptyAfterMs: 5_000 }],
    ["a connection that was not closed", 8, { last: { ...last, connects: 6 } }]
  ]
  it.each(cases)("%s breaks claim %i, and no other", (_, claim, seen) => {
    assert.deepStrictEqual(failed(seen), [claim])
  })

  it("a session that the server still has breaks the last claim, and no other", () => {
    assert.deepStrictEqual(failed({}, 1), [8])
  })
})
