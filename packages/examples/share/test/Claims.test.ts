import { assert, describe, it } from "@effect/vitest"
import * as Claims from "../src/Claims.js"
import type * as Flood from "../src/Flood.js"
import type { Answer } from "../src/Load.js"

const served = (elapsed: number): Answer => ({ elapsed, failure: undefined })
const refusal = (code: string | undefined): Answer => ({ elapsed: 1, failure: { code, message: "too many clients" } })

const many = (answer: Answer) => Array.from({ length: 100 }, () => answer)

const limits: Claims.Limits = { two: 40, one: 20, places: 27, statements: 100 }

const seen: Flood.Seen = { requests: [served(10)], done: 100, waiting: 100, hold: 6, elapsed: 1_000 }

const flood: Flood.Evidence = {
  idle: [served(8)],
  before: { ...seen, requests: [served(900)] },
  after: seen,
  second: 'a second pool on one database: "pool", made here, and "pool", made there',
  opened: 10,
  closed: 10
}

const good: Claims.Evidence = {
  two: { answers: [served(1), refusal("53300")], peak: 27, done: 50 },
  one: { answers: [served(1)], peak: 20, done: 50, opened: 20, refused: 0, closed: 20 },
  flood,
  sessions: 0,
  elapsedMs: 30_000
}

/** Numbers of the claims that do not hold. */
const failed = (evidence: Claims.Evidence) =>
  Claims.judge(evidence, limits).flatMap(({ held }, index) => (held ? [] : [index + 1]))

describe("Claims", () => {
  it("all of them hold for a good run", () => {
    assert.deepStrictEqual(failed(good), [])
  })

  const cases: ReadonlyArray<readonly [string, number, Claims.Evidence]> = [
    ["a server with room for all", 1, { ...good, two: { ...good.two, answers: [served(1)] } }],
    [
      "a failure that is no refusal",
      2,
      { ...good, two: { ...good.two, answers: [refusal("53300"), refusal("57P01")] } }
    ],
    ["a failure without a code", 2, { ...good, two: { ...good.two, answers: [refusal("53300"), refusal(undefined)] } }],
    ["a request that fails on one Layer", 3, { ...good, one: { ...good.one, answers: [served(1), refusal("53300")] } }],
    ["no request on one Layer", 3, { ...good, one: { ...good.one, answers: [] } }],
    ["more connections than the Layers may have", 4, { ...good, one: { ...good.one, peak: 21 } }],
    ["a connect that the server refused", 4, { ...good, one: { ...good.one, refused: 1 } }],
    ["a job that does nothing", 5, { ...good, one: { ...good.one, done: 0 } }],
    ["a second pool that is made", 6, { ...good, flood: { ...flood, second: undefined } }],
    ["a second pool that fails for another reason", 6, { ...good, flood: { ...flood, second: "no route to host" } }],
    [
      "requests that do not wait",
      7,
      {
        ...good,
        flood: {
          ...flood,
          before: { ...seen, requests: [served(79)] },
          after: { ...seen, requests: [served(7)] }
        }
      }
    ],
    ["no line of the first flood", 7, { ...good, flood: { ...flood, before: { ...flood.before, waiting: 49 } } }],
    ["requests that wait", 8, { ...good, flood: { ...flood, after: { ...seen, requests: [served(19.1)] } } }],
    [
      "a request in a hundred that waits long",
      9,
      { ...good, flood: { ...flood, after: { ...seen, requests: [...many(served(10)), served(91), served(91)] } } }
    ],
    ["no line of the second flood", 8, { ...good, flood: { ...flood, after: { ...seen, waiting: 49 } } }],
    ["a statement that is not served", 10, { ...good, flood: { ...flood, after: { ...seen, done: 99 } } }],
    [
      "a request that fails",
      11,
      { ...good, flood: { ...flood, after: { ...seen, requests: [served(1), refusal(undefined)] } } }
    ],
    ["a connection that was not closed", 12, { ...good, flood: { ...flood, closed: 9 } }],
    ["a session that the server still has", 12, { ...good, sessions: 1 }],
    ["a long run", 13, { ...good, elapsedMs: 60_001 }]
  ]
  it.each(cases)("%s breaks claim %i, and no other", (_, claim, evidence) => {
    assert.deepStrictEqual(failed(evidence), [claim])
  })
})
