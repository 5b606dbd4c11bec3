/** What the routers choose, without a pool. */
import { assert, describe, it } from "@effect/vitest"
import { Router, SqlReason, type Topology } from "@sluice/sql"
import { Context } from "effect"

const target = (label: string, fields: Partial<Topology.Target> = {}): Topology.Target => ({
  label,
  role: "replica",
  isUp: true,
  isSilent: false,
  isLagging: false,
  share: 1,
  latency: 1,
  lag: 0,
  position: undefined,
  upSince: 0,
  using: 0,
  available: 0,
  waiting: 0,
  max: 10,
  ...fields
})

const primary = target("primary", { role: "primary" })

const TIMES = 4_000

/** How often each target was chosen, of `TIMES` reads. */
const chosen = (router: Router.Service, replicas: ReadonlyArray<Topology.Target>) => {
  const snapshot: Topology.Snapshot = { primary, isWritable: true, replicas, at: 0 }
  const counts: Record<string, number> = {}
  for (let i = 0; i < TIMES; i++) {
    const label = router.choose("read", undefined, snapshot, Infinity, Context.empty())?.label ?? "none"
    counts[label] = (counts[label] ?? 0) + 1
  }
  return counts
}

const routers = { leastBusy: Router.leastBusy, roundRobin: Router.roundRobin, random: Router.random }

for (const [name, make] of Object.entries(routers)) {
  describe(name, () => {
    it("sends writes to the primary, and reads to each of the replicas that are alike", () => {
      const replicas = ["a", "b", "c"].map((label) => target(label))
      const snapshot: Topology.Snapshot = { primary, isWritable: true, replicas, at: 0 }
      assert.strictEqual(make().choose("write", undefined, snapshot, Infinity, Context.empty()), primary)
      const counts = chosen(make(), replicas)
      assert.deepStrictEqual(Object.keys(counts).sort(), ["a", "b", "c"])
      for (const count of Object.values(counts)) assert.isAbove(count, TIMES / 4)
    })

    for (const [what, fields] of [
      ["down", { isUp: false }],
      ["silent", { isSilent: true }],
      ["too far behind", { isLagging: true }]
    ] as const) {
      it(`never chooses a replica that is ${what}, and says so when there is no other one`, () => {
        assert.deepStrictEqual(Object.keys(chosen(make(), [target("a", fields), target("b"), target("c")])).sort(), [
          "b",
          "c"
        ])
        assert.deepStrictEqual(chosen(make(), [target("a"), target("b", fields)]), { a: TIMES })
        assert.deepStrictEqual(chosen(make(), [target("a", fields), target("b", fields)]), { none: TIMES })
        assert.deepStrictEqual(chosen(make(), [target("a", fields)]), { none: TIMES })
      })
    }

    it("says that there is none where there is no replica", () => {
      assert.deepStrictEqual(chosen(make(), []), { none: TIMES })
    })

    it("spares a replica that has come back, and uses it all the same when it is the only one", () => {
      const { back, warm } = chosen(make(), [target("back", { share: 0.1 }), target("warm")]) as any
      assert.isBelow(back, TIMES * 0.2)
      assert.isAbove(back, 0)
      assert.strictEqual(back + warm, TIMES)
      assert.deepStrictEqual(chosen(make(), [target("back", { share: 0.1 }), target("down", { isUp: false })]), {
        back: TIMES
      })
    })

    it("knows the words of libpq", () => {
      const replicas = [target("a"), target("b")]
      for (const word of ["primary", "read-write"] as const) {
        assert.deepStrictEqual(chosen(make({ target: word }), replicas), { primary: TIMES })
      }
      for (const word of ["standby", "read-only", "prefer-standby"] as const) {
        assert.deepStrictEqual(Object.keys(chosen(make({ target: word }), replicas)).sort(), ["a", "b"])
      }
      assert.deepStrictEqual(Object.keys(chosen(make({ target: "any" }), replicas)).sort(), ["a", "b", "primary"])
      assert.deepStrictEqual(chosen(make({ target: "any" }), []), { primary: TIMES })
    })

    it("refuses options that cannot work, all at once and by name", () => {
      for (const options of [
        { maxLag: 1, primaryReadShare: 0, ramp: 0 },
        { maxLag: "1 day", primaryReadShare: 1, ramp: "10 minutes", target: "any" },
        { maxLag: "off" }
      ] as ReadonlyArray<Router.ReadOptions>) {
        make(options)
      }
      let error: unknown
      try {
        make({
          maxlag: 1,
          maxLag: "2 days",
          primaryReadShare: 1.1,
          ramp: "11 minutes",
          target: "secondary"
        } as object)
      } catch (thrown) {
        error = thrown
      }
      const reason = SqlReason.of(error)
      assert.strictEqual(reason._tag, "InvalidOptions")
      assert.deepStrictEqual((reason.cause as { problems?: unknown }).problems, [
        "maxlag is no option here: did you mean maxLag?",
        'maxLag must be "off" or a duration from 1 millisecond to 1 day, and is "2 days"',
        "primaryReadShare must be a number from 0 to 1, and is 1.1",
        'ramp must be a duration from 0 to 10 minutes, and is "11 minutes"',
        'target must be one of "any", "read-write", "read-only", "primary", "standby", "prefer-standby", and is "secondary"'
      ])
    })
  })
}

describe("leastBusy", () => {
  for (const [what, busier, idler] of [
    ["more leases", { using: 3 }, { using: 2 }],
    ["more waiters", { using: 2, waiting: 3 }, { using: 4 }]
  ] as const) {
    it(`never chooses the busier one of two: ${what}`, () => {
      assert.deepStrictEqual(chosen(Router.leastBusy(), [target("a", busier), target("b", idler)]), { b: TIMES })
      assert.deepStrictEqual(chosen(Router.leastBusy(), [target("a", idler), target("b", busier)]), { a: TIMES })
    })
  }

  it("chooses one with a longer latency only to find out whether it is fast again: about once in a hundred times", () => {
    for (const busier of [{ using: 1 }, { using: 3 }]) {
      const slow = target("slow", { ...busier, latency: 10 })
      const counts = chosen(Router.leastBusy(), [slow, target("fast", { using: 3, latency: 1 })])
      assert.isAbove(counts["slow"] ?? 0, 0)
      assert.isBelow(counts["slow"]! / TIMES, 0.02)
    }
  })

  it("compares the two that can be read from when a third one is out", () => {
    const out = { isUp: false }
    const others = [target("b", { using: 5 }), target("c", { using: 1 })]
    for (let at = 0; at < 3; at++) {
      const targets = [...others.slice(0, at), target("a", out), ...others.slice(at)]
      assert.deepStrictEqual(chosen(Router.leastBusy(), targets), { c: TIMES })
    }
  })

  it("never chooses the busiest one of three, and shares among the others", () => {
    const counts = chosen(Router.leastBusy(), [target("a"), target("b", { using: 5 }), target("c", { using: 1 })])
    assert.deepStrictEqual(Object.keys(counts).sort(), ["a", "c"])
    // Two of the three pairs have the idle one in them.
    assert.closeTo(counts["a"]! / TIMES, 2 / 3, 0.1)
  })

  it("does not tell apart latencies of which none is twice the other, or none was measured", () => {
    for (const latencies of [
      [1, 1.9],
      [0, 50]
    ]) {
      const counts = chosen(
        Router.leastBusy(),
        latencies.map((latency, i) => target(`${i}`, { latency }))
      )
      for (const count of Object.values(counts)) assert.closeTo(count / TIMES, 0.5, 0.1)
    }
    const [near, far] = [target("near", { latency: 1 }), target("far", { latency: 2 })]
    assert.isAbove(chosen(Router.leastBusy(), [near, far])["near"]! / TIMES, 0.98)
  })
})
