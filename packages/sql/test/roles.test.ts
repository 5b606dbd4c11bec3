import { assert, describe, it } from "@effect/vitest"
import type { ServerState } from "../src/driver/Driver.js"
import { decide, type Host, isForeign, type Verdict } from "../src/internal/routing/roles.js"

/**
 * What servers say, and who takes the writes then. `a` is the first one of the configuration. A round of questions has begun at 10.
 */
const standby: Partial<ServerState> = { isWritable: false }
const writer: Partial<ServerState> = { isWritable: true }
const timeline = (generation: number, history = "1"): Partial<ServerState> => ({
  isWritable: true,
  generation,
  history
})

const host = (
  target: string,
  state: Partial<ServerState> | undefined,
  more: Partial<Host<string>> = {}
): Host<string> => ({
  target,
  isNamed: target === "a",
  state:
    state === undefined
      ? undefined
      : {
          isWritable: false,
          isReplica: false,
          generation: undefined,
          history: undefined,
          instance: undefined,
          sharesWrites: false,
          position: undefined,
          lag: undefined,
          ...state
        },
  askedAt: 11,
  saidAt: 11,
  wasReadOnly: state?.isWritable === false,
  ...more
})

const promoted = { wasReadOnly: true }
const to = (target: string): Verdict<string> => ({ _tag: "Primary", target })
const none: Verdict<string> = { _tag: "None" }
const keep: Verdict<string> = { _tag: "Keep" }

const given: ReadonlyArray<readonly [string, ReadonlyArray<Host<string>>, Verdict<string>]> = [
  ["everything is as configured", [host("a", writer), host("b", standby)], to("a")],
  ["the primary does not answer, and its replica is one still", [host("a", undefined), host("b", standby)], keep],
  ["nobody has answered", [host("a", undefined), host("b", undefined)], keep],
  ["the primary takes no writes any more", [host("a", standby), host("b", standby)], none],
  ["the replica was promoted, the primary is gone", [host("a", undefined), host("b", writer, promoted)], to("b")],
  ["the replica was promoted, the primary is a standby", [host("a", standby), host("b", writer, promoted)], to("b")],
  [
    "a replica that nobody has set to read-only has not been promoted, while the primary is away",
    [host("a", undefined), host("b", writer)],
    keep
  ],
  [
    "but it is the primary if the one that was named replicates",
    [host("a", { isReplica: true }), host("b", writer)],
    to("b")
  ],
  ["and while the primary is there", [host("a", writer), host("b", writer)], to("a")],
  [
    "the primary has not been asked yet",
    [host("a", undefined, { askedAt: undefined, saidAt: undefined }), host("b", timeline(2))],
    keep
  ],
  ["the later timeline is right", [host("a", timeline(1)), host("b", timeline(2))], to("b")],
  ["also when the earlier one is told later", [host("a", timeline(3)), host("b", timeline(2))], to("a")],
  [
    "two of one timeline cannot be told apart",
    [host("a", timeline(2)), host("b", timeline(2))],
    { _tag: "Conflict", targets: ["a", "b"] }
  ],
  [
    "two without timelines neither, when one was promoted",
    [host("a", writer), host("b", writer, promoted)],
    { _tag: "Conflict", targets: ["a", "b"] }
  ],
  [
    "what the primary has said before the round does not contradict the promotion",
    [host("a", writer, { saidAt: 9 }), host("b", writer, promoted)],
    keep
  ],
  [
    "servers that agree about each write may all take them, and the present one goes on",
    [host("a", { ...writer, sharesWrites: true }), host("b", { ...writer, sharesWrites: true }, promoted)],
    to("a")
  ],
  [
    "two addresses of one server are no conflict",
    [host("a", { ...timeline(2), instance: "x" }), host("b", { ...timeline(2), instance: "x" })],
    to("a")
  ],
  [
    "two servers of one timeline are, also when they say that they are two",
    [host("a", { ...timeline(2), instance: "x" }), host("b", { ...timeline(2), instance: "y" })],
    { _tag: "Conflict", targets: ["a", "b"] }
  ],
  [
    "a server of another cluster is no primary, however late its timeline",
    [host("a", timeline(1, "1")), host("b", timeline(9, "2"))],
    to("a")
  ]
]

const found: ReadonlyArray<readonly [string, ReadonlyArray<Host<string>>, string | undefined, Verdict<string>]> = [
  ["the one that takes writes", [host("a", standby), host("b", writer)], undefined, to("b")],
  ["before all have answered, too", [host("a", undefined), host("b", writer)], undefined, to("b")],
  ["none does", [host("a", standby), host("b", standby)], undefined, none],
  ["two do", [host("a", writer), host("b", writer)], undefined, { _tag: "Conflict", targets: ["a", "b"] }],
  [
    "one does, under two names",
    [host("a", { ...writer, instance: "x" }), host("b", { ...writer, instance: "x" })],
    undefined,
    to("a")
  ],
  ["the one that does is still there", [host("a", writer), host("b", writer)], "b", to("b")],
  ["it is gone, and the other was promoted", [host("a", writer, promoted), host("b", undefined)], "b", to("a")]
]

describe("roles that the configuration has given", () => {
  for (const [name, hosts, verdict] of given) {
    it(name, () => assert.deepStrictEqual(decide(hosts, "a", "given", 10), verdict))
  }
  it("a server of another cluster is known by its history, and one that tells none is not", () => {
    assert.isTrue(isForeign(host("b", timeline(1, "2")), "1"))
    assert.isFalse(isForeign(host("b", timeline(1, "1")), "1"))
    assert.isFalse(isForeign(host("b", writer), "1"))
    assert.isFalse(isForeign(host("b", undefined), "1"))
  })
})

describe("roles that are found", () => {
  for (const [name, hosts, current, verdict] of found) {
    it(name, () => assert.deepStrictEqual(decide(hosts, current, "found", 10), verdict))
  }
})
