import { assert, describe, it } from "@effect/vitest"
import { RoundTrip, Text, Texts } from "../src/internal/texts.js"

describe("what is known about texts", () => {
  const harmless = [
    "select 1",
    "  SELECT * from a where b = $1",
    "values (1), (2)",
    "table a",
    "select 1;",
    "select a\nfrom b order by c"
  ]
  const harmful = [
    "insert into a values (1)",
    "update a set b = 1 returning *",
    "with a as (delete from b returning *) select * from a",
    "select * from a for update",
    "select * from a where b = 1 FOR NO KEY UPDATE skip locked",
    "select * from a for share",
    "select * from a for  key share",
    "select * into b from a",
    "select 1; drop table a",
    "begin",
    "set a = 1",
    "explain select 1",
    "call f()",
    "selecting",
    "/* select */ update a set b = 1",
    `select ${"1,".repeat(6_000)}1`
  ]
  for (const sql of harmless) it(`"${sql}" may be packed`, () => assert.isTrue(new Texts().of(sql).harmless))
  for (const sql of harmful) {
    it(`"${sql.slice(0, 60)}" is never packed`, () => assert.isFalse(new Texts().of(sql).harmless))
  }

  it("a text is short after three short answers, not before", () => {
    const text = new Text(true)
    text.observe(0.1)
    text.observe(0.1)
    assert.isFalse(text.isShorter(1))
    text.observe(0.1)
    assert.isTrue(text.isShorter(1))
  })

  it("one answer of 20 ms takes a text out, and many short ones bring it back", () => {
    const text = new Text(true)
    for (let i = 0; i < 100; i++) text.observe(0.05)
    assert.isTrue(text.isShorter(1))
    text.observe(20)
    assert.isFalse(text.isShorter(1))
    for (let i = 0; i < 3; i++) text.observe(0.05)
    assert.isFalse(text.isShorter(1))
    for (let i = 0; i < 20; i++) text.observe(0.05)
    assert.isTrue(text.isShorter(1))
  })

  it("the texts in use are kept, and the others are forgotten", () => {
    const texts = new Texts()
    const used = texts.of("select used")
    const first = texts.of("select 0")
    for (let i = 1; i < 5_000; i++) {
      texts.of(`select ${i}`)
      assert.strictEqual(texts.of("select used"), used)
    }
    assert.notStrictEqual(texts.of("select 0"), first)
  })

  it("the round trip is what an empty statement takes; a faster answer of any other lowers it, a slower one does not raise it", () => {
    const trip = new RoundTrip()
    trip.atMost(5)
    assert.strictEqual(trip.ms, 0)
    trip.measured(4)
    assert.strictEqual(trip.ms, 4)
    trip.atMost(50)
    assert.strictEqual(trip.ms, 4)
    trip.atMost(2)
    assert.strictEqual(trip.ms, 2)
    trip.measured(10)
    assert.strictEqual(trip.ms, 3)
  })
})
