import { assert, describe, it } from "@effect/vitest"
import * as Claims from "../src/Claims.js"

const refusal: Claims.Outcome = { errno: 1040, message: "Too many connections" }

const good: Claims.Evidence = {
  oneEach: [0, refusal, refusal, refusal],
  pooled: [0, 1, 2, 3],
  opened: 2,
  failures: 0,
  closed: 2,
  sessions: 0
}

/** Numbers of the claims that do not hold. */
const failed = (evidence: Claims.Evidence) =>
  Claims.judge(evidence, 4, 2).flatMap(({ held }, index) => (held ? [] : [index + 1]))

describe("Claims", () => {
  it("all of them hold for a good run", () => {
    assert.deepStrictEqual(failed(good), [])
  })

  const other: Claims.Outcome = { errno: 1045, message: "Access denied" }
  const cases: ReadonlyArray<readonly [string, number, Claims.Evidence]> = [
    ["a server with room for most", 1, { ...good, oneEach: [0, 1, refusal, refusal] }],
    ["another error than 1040", 2, { ...good, oneEach: [0, refusal, refusal, other] }],
    ["a request that is refused by the pool", 3, { ...good, pooled: [0, 1, 2, other] }],
    ["an answer to another request", 3, { ...good, pooled: [0, 1, 3, 2] }],
    ["a request without an answer", 3, { ...good, pooled: [0, 1, 2] }],
    ["more connections than the pool may have", 4, { ...good, opened: 3, closed: 3 }],
    ["a connect of the pool that the server refused", 4, { ...good, failures: 1 }],
    ["a connection that was not closed", 5, { ...good, closed: 1 }],
    ["a session that the server still has", 5, { ...good, sessions: 1 }]
  ]
  it.each(cases)("%s breaks claim %i, and no other", (_, claim, evidence) => {
    assert.deepStrictEqual(failed(evidence), [claim])
  })
})
