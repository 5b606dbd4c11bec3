import { assert, describe, it } from "@effect/vitest"
import * as Claims from "../src/Claims.js"
import type { Ran } from "../src/Flood.js"

const all = { answered: 5, dropped: 0 }

const healed: Ran = {
  sent: 2_000,
  arrived: 1_500,
  gets: all,
  posts: all,
  using: 0,
  statements: 0,
  after: 20,
  next: 30
}

const good: Claims.Evidence = {
  leaking: { ...healed, using: 10, next: undefined },
  fixed: { ...healed, posts: { answered: 0, dropped: 5 } },
  ours: { ...healed, sent: 10_000 },
  opened: 10,
  closed: 10,
  sessions: 0
}

/** Numbers of the claims that do not hold. */
const failed = (evidence: Claims.Evidence) =>
  Claims.judge(evidence, 10).flatMap(({ held }, index) => (held ? [] : [index + 1]))

describe("Claims", () => {
  it("all of them hold for a good run", () => {
    assert.deepStrictEqual(failed(good), [])
  })

  const { fixed, leaking, ours } = good
  const cases: ReadonlyArray<readonly [string, number, Claims.Evidence]> = [
    ["a middleware that gives one connection back", 1, { ...good, leaking: { ...leaking, using: 9 } }],
    ["connections that are not lost, but at work", 1, { ...good, leaking: { ...leaking, statements: 3 } }],
    ["a request that is served after the leak", 2, { ...good, leaking: { ...leaking, next: 20 } }],
    ["a fix that leaks", 3, { ...good, fixed: { ...fixed, using: 1 } }],
    ["a flood that hardly arrived at the fix", 3, { ...good, fixed: { ...fixed, arrived: 99 } }],
    ["a fix that answers a POST", 4, { ...good, fixed: { ...fixed, posts: { answered: 1, dropped: 4 } } }],
    ["a fix that was not asked", 4, { ...good, fixed: { ...fixed, posts: { answered: 0, dropped: 0 } } }],
    ["a fix that answers no GET either", 4, { ...good, fixed: { ...fixed, gets: { answered: 0, dropped: 5 } } }],
    ["a connection of ours that does not come back", 5, { ...good, ours: { ...ours, using: 1 } }],
    ["a statement that runs on", 5, { ...good, ours: { ...ours, statements: 1 } }],
    ["a flood that hardly arrived", 5, { ...good, ours: { ...ours, arrived: 99 } }],
    ["a healthy POST that was dropped", 6, { ...good, ours: { ...ours, posts: { answered: 4, dropped: 1 } } }],
    ["a healthy GET that was dropped", 6, { ...good, ours: { ...ours, gets: { answered: 4, dropped: 1 } } }],
    ["no healthy POST at all", 6, { ...good, ours: { ...ours, posts: { answered: 0, dropped: 0 } } }],
    ["a next request without an answer", 7, { ...good, ours: { ...ours, next: undefined } }],
    ["a next request that waits", 7, { ...good, ours: { ...ours, next: 1_001 } }],
    ["more connections than the pool may have", 8, { ...good, opened: 11, closed: 11 }],
    ["a connection that was not closed", 8, { ...good, closed: 9 }],
    ["a session that the server still has", 8, { ...good, sessions: 1 }]
  ]
  it.each(cases)("%s breaks claim %i, and no other", (_, claim, evidence) => {
    assert.deepStrictEqual(failed(evidence), [claim])
  })
})
