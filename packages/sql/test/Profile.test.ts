import { assert, describe, it } from "@effect/vitest"
import { Profile } from "@sluice/sql/driver"

describe("what is known about texts", () => {
  it("a text is short after three short answers, not before", () => {
    const text = new Profile.Profile(true)
    text.observe(0.1)
    text.observe(0.1)
    assert.isFalse(text.isShorter(1))
    text.observe(0.1)
    assert.isTrue(text.isShorter(1))
  })

  it("one answer of 20 ms may be a stall of the machine; two in a row take a text out, and many short ones bring it back", () => {
    const text = new Profile.Profile(true)
    for (let i = 0; i < 100; i++) text.observe(0.05)
    assert.isTrue(text.isShorter(1))
    text.observe(20)
    assert.isTrue(text.isShorter(1))
    text.observe(20)
    assert.isFalse(text.isShorter(1))
    for (let i = 0; i < 3; i++) text.observe(0.05)
    assert.isFalse(text.isShorter(1))
    for (let i = 0; i < 40; i++) text.observe(0.05)
    assert.isTrue(text.isShorter(1))
  })

  it("a text that is slow one time in ten is taken out, one that is slow one time in a hundred is not", () => {
    const after = (every: number) => {
      const text = new Profile.Profile(true)
      let out = 0
      for (let i = 1; i <= 2_000; i++) {
        text.observe(i % every === 0 ? 20 : 0.05)
        if (!text.isShorter(1)) out++
      }
      return out
    }
    assert.isAbove(after(10), 1_000)
    // Before the third answer nothing is known.
    assert.strictEqual(after(100), 2)
  })

  it("what a text is expected to be among others is a mean of many answers, in which a bunch counts as one of its kind", () => {
    const text = new Profile.Profile(true)
    // Sixteen answers that are read at once: the first has the time of all.
    const works: Array<number> = []
    for (let i = 0; i < 100; i++) {
      for (let answer = 0; answer < 16; answer++) text.observe(answer === 0 ? 0.8 : 0.005)
      works.push(text.work)
    }
    for (const work of works.slice(10)) {
      assert.isAbove(work, 0.03)
      assert.isBelow(work, 0.07)
    }
  })

  it("the texts in use are kept, and the others are forgotten", () => {
    const texts = new Profile.Profiles(() => true)
    const used = texts.of("select used")
    const first = texts.of("select 0")
    for (let i = 1; i < 5_000; i++) {
      texts.of(`select ${i}`)
      assert.strictEqual(texts.of("select used"), used)
    }
    assert.notStrictEqual(texts.of("select 0"), first)
  })

  it("the round trip is what an empty statement takes; a faster answer of any other lowers it, a slower one does not raise it", () => {
    const trip = new Profile.RoundTrip()
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

  it("the latency is that of the last second: many answers in a moment count like one, and one after a pause counts fully", () => {
    const trip = new Profile.RoundTrip()
    let now = 50_000
    const answered = (took: number, pause: number) => {
      now += pause
      trip.answered(took, now)
    }
    answered(2, 0)
    assert.closeTo(trip.latency, 2, 0.1)
    for (let i = 0; i < 10_000; i++) answered(100, 0.001)
    assert.isBelow(trip.latency, 4)
    // A server that has become slow is known as such after some seconds.
    for (let i = 0; i < 300; i++) answered(100, 10)
    assert.isAbove(trip.latency, 90)
    // One that nobody asks is asked by a probe, and good for more at once.
    answered(1, 4_000)
    assert.isBelow(trip.latency, 25)
    assert.strictEqual(trip.ms, 0)
  })
})
