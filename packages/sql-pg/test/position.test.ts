import { assert, describe, it } from "@effect/vitest"
import { ofPrimary, ofReplica, reached, timelineOf } from "../src/internal/session/position.js"

describe("positions of PostgreSQL", () => {
  const cases: ReadonlyArray<readonly [position: string, wanted: string, boolean | undefined]> = [
    ["1:0/3000060", "1:0/3000060", true],
    ["1:0/3000061", "1:0/3000060", true],
    ["1:0/300005F", "1:0/3000060", false],
    // Hexadecimal, of different lengths, in both cases.
    ["1:0/A000000", "1:0/9FFFFFF", true],
    ["1:0/FFFFFFF", "1:0/10000000", false],
    ["1:0/abcdef", "1:0/ABCDEF", true],
    // The half before the slash counts more.
    ["1:1/0", "1:0/FFFFFFFF", true],
    ["1:0/FFFFFFFF", "1:1/0", false],
    ["1:A/0", "1:9/FFFFFFFF", true],
    // More than a number can hold.
    ["1:FFFFFFFF/FFFFFFFE", "1:FFFFFFFF/FFFFFFFF", false],
    ["1:FFFFFFFF/FFFFFFFF", "1:FFFFFFFF/FFFFFFFE", true],
    // A failover lies between them.
    ["1:0/9000000", "2:0/3000060", false],
    ["2:0/9000000", "1:0/3000060", undefined],
    ["10:0/1", "9:0/1", undefined],
    ["9:0/1", "10:0/1", false],
    // No positions.
    ["", "1:0/1", undefined],
    ["1:0/1", "", undefined],
    ["0/1", "1:0/1", undefined],
    ["1:0/1", "0/1", undefined],
    ["0:0/1", "0:0/1", undefined],
    ["1:0/1:2", "1:0/1", undefined],
    ["1:0/G", "1:0/1", undefined],
    ["1:0/123456789", "1:0/1", undefined],
    ["-1:0/1", "1:0/1", undefined],
    ["1:0", "1:0/1", undefined],
    ["1:0/1 ", "1:0/1", undefined],
    ["0-1-5", "0-1-5", undefined]
  ]
  for (const [position, wanted, expected] of cases) {
    it(`"${position}" has "${wanted}": ${expected}`, () => assert.strictEqual(reached(position, wanted), expected))
  }

  it("is the order of 64-bit numbers", () => {
    const text = (at: bigint) => `1:${(at >> 32n).toString(16).toUpperCase()}/${(at & 0xffffffffn).toString(16)}`
    const edges = [0n, 1n, 0xffffffffn, 0x100000000n, 2n ** 53n, 2n ** 64n - 1n]
    const some = edges.flatMap((edge) => [edge - 1n, edge, edge + 1n]).filter((at) => at >= 0n && at < 2n ** 64n)
    for (const one of some) for (const other of some) assert.strictEqual(reached(text(one), text(other)), one >= other)
  })

  it("behind the header of a page the primary is where the last record has ended", () => {
    const file = "00000001000000000000001A"
    const at = (inserted: string, at: number, block = "8192") => ofPrimary({ inserted, file, at, block })
    assert.strictEqual(at("0/1A000100", 256), "1:0/1A000100")
    assert.strictEqual(at("0/1A002018", 8192 + 24), "1:0/1A002000")
    assert.strictEqual(at("0/1A000028", 40), "1:0/1A000000")
    // Another size of pages: this is the middle of one.
    assert.strictEqual(at("0/1A002018", 8192 + 24, "16384"), "1:0/1A002018")
    assert.strictEqual(timelineOf({ file: "0000000C000000000000001A" }), 12)
    assert.isUndefined(ofPrimary({ inserted: null, file: null, at: null, block: "8192" }))
  })

  it("a standby that has replayed nothing says nothing", () => {
    assert.strictEqual(ofReplica({ replayed: "0/3000060", timeline: 3 }), "3:0/3000060")
    assert.isUndefined(ofReplica({ replayed: null, timeline: 3 }))
    assert.isUndefined(ofReplica({ replayed: "0/3000060", timeline: null }))
  })
})
