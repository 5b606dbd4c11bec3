import { assert, it } from "@effect/vitest"
import { Track } from "../src/internal/routing/lag.js"
import { decode, encode } from "../src/internal/routing/token.js"

const track = () => new Track((position, wanted) => (wanted === "x" ? undefined : Number(position) >= Number(wanted)))

it("a replica is behind for as long as the primary has been seen to have more", () => {
  const primary = track()
  assert.isUndefined(primary.lagOf("5", 0, undefined))
  primary.note("10", 0)
  primary.note("20", 2_000)
  primary.note("30", 4_000)
  assert.strictEqual(primary.lagOf("30", 4_100, undefined), 0)
  assert.strictEqual(primary.lagOf("25", 4_100, undefined), 100)
  assert.strictEqual(primary.lagOf("20", 4_100, undefined), 100)
  assert.strictEqual(primary.lagOf("15", 4_100, undefined), 2_100)
  assert.strictEqual(primary.lagOf("15", 34_100, undefined), 32_100)
  // From before the first sample: it may be more.
  assert.strictEqual(primary.lagOf("5", 4_100, undefined), 4_100)
})

it("an idle primary has no replica that is behind, however long ago its last write was", () => {
  const primary = track()
  for (let at = 0; at <= 3_600_000; at += 2_000) primary.note("10", at)
  assert.strictEqual(primary.lagOf("10", 3_600_000, undefined), 0)
  primary.note("11", 3_602_000)
  assert.strictEqual(primary.lagOf("10", 3_602_500, undefined), 500)
})

it("what the server says itself counts as far as the positions do not contradict it", () => {
  const primary = track()
  primary.note("10", 0)
  primary.note("20", 2_000)
  // It had all at 0, so it is at most 4 s behind; it has missed something since 2 s, so at least 2 s.
  assert.strictEqual(primary.lagOf("15", 4_000, 2_500), 2_500)
  assert.strictEqual(primary.lagOf("15", 4_000, 0), 2_000)
  // Its clock goes wrong.
  assert.strictEqual(primary.lagOf("15", 4_000, 3_600_000), 4_000)
  assert.strictEqual(primary.lagOf("20", 4_000, 3_600_000), 0)
  primary.note("x", 6_000)
  assert.strictEqual(primary.lagOf("15", 6_000, 7), 7)
  primary.clear()
  assert.strictEqual(primary.lagOf("15", 6_000, 7), 7)
})

it("it keeps no more than twenty positions a second, and no more than 1,200, and says a tenth of a second too much at most", () => {
  const primary = track()
  for (let at = 0; at < 1_000_000; at += 10) primary.note(String(at), at)
  assert.isAtMost((primary as unknown as { readonly samples: ReadonlyArray<unknown> }).samples.length, 1_200)
  for (const behind of [10, 100, 1_000, 50_000]) {
    const lag = primary.lagOf(String(999_990 - behind), 999_990, undefined)!
    assert.isAtLeast(lag, behind - 10)
    assert.isAtMost(lag, behind + 100)
  }
})

it("a write that comes soon after a look is not overlooked", () => {
  const primary = track()
  primary.note("10", 0)
  primary.note("11", 20)
  primary.note("11", 320)
  assert.strictEqual(primary.lagOf("10", 320, undefined), 300)
})

it("a token is read as it was written, whatever is in it", () => {
  for (const position of ["1:0/3000060", "0-1-5,1-1-7", "a~b%c d;é\u0000".replace("é", "e")]) {
    const token = encode({ database: "PostgreSQL", history: "7423~", position })
    assert.match(token, /^[\w.!*'()%~-]+$/)
    assert.deepStrictEqual(decode(token), { database: "PostgreSQL", history: "7423~", position })
  }
  for (const bad of [
    "",
    "~",
    "1~a~b",
    "1~a~b~",
    "1~a~b~c~d",
    "2~a~b~c",
    "1~a~b~%",
    "1~a~b~%2",
    "1~a~b~c d",
    "1~a~b~é"
  ]) {
    assert.isUndefined(decode(bad), bad)
  }
})
