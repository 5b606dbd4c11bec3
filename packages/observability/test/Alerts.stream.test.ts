import { assert, describe, it } from "@effect/vitest"
import { Alerts, type Report } from "@sluice/observability"
import { Chunk, Effect, Exit, Fiber, Layer, Stream, TestClock } from "effect"
import { doing, holder, of, pool } from "./support/reports.js"

/** What the reports say from now on, how often they were read, and the alerts of them. */
const watched = () => {
  let now: ReadonlyArray<Report.Report> = [of()]
  let looks = 0
  const reports = Effect.sync(() => {
    looks++
    return now
  })
  return {
    reports,
    looks: () => looks,
    say: (...next: ReadonlyArray<Report.Report>) =>
      Effect.sync(() => {
        now = next
      })
  }
}

/** A pool of which one connection has been leased for too long: an alert at once. */
const long = { oldestLeaseMs: 400_000 }

describe("Alerts.stream", () => {
  it.effect("tells that an alert has begun, and that it has ended, with the numbers and what to do", () =>
    Effect.gen(function* () {
      const { reports, say } = watched()
      const fiber = yield* Effect.fork(Stream.runCollect(Stream.take(Alerts.stream({}, { reports }), 2)))
      yield* TestClock.adjust("5 seconds")
      yield* say(of({ ...long, name: "$& orders" }))
      yield* TestClock.adjust("3 seconds")
      yield* say(of({ name: "$& orders" }))
      yield* TestClock.adjust("61 seconds")
      const [fired, resolved] = Chunk.toReadonlyArray(yield* Fiber.join(fiber))
      assert.deepInclude(fired, {
        state: "fired",
        alert: "SluiceLeaseLong",
        severity: "warning",
        pod: "pod-1",
        database: "pay",
        pool: "$& orders",
        value: 400,
        threshold: 300,
        unit: "seconds",
        since: 6_000,
        at: 6_000,
        summary: "Pool $& orders: a connection has been leased for 7 min."
      })
      assert.match(fired!.runbook, /^https:.*\/docs\/alerts\.md#sluiceleaselong$/)
      assert.deepInclude(resolved, { state: "resolved", alert: "SluiceLeaseLong", value: 400, since: 6_000 })
      // A minute after the first look at which all was well.
      assert.strictEqual(resolved!.at, 69_000)
    })
  )

  it.effect("of a pool that refuses callers says what has made them wait, as a verdict does", () =>
    Effect.gen(function* () {
      const { reports, say } = watched()
      const refusing = {
        using: 10,
        available: 0,
        size: 10,
        waiting: 5,
        doing: doing({ busy: 2, idleInTransaction: 8 }),
        now: { arrivalsPerSecond: 100, holdMeanMs: 900 },
        holders: [holder("idleInTransaction", 2_000)],
        lastMinute: { ...pool().lastMinute, acquired: 90, acquireFailures: { AcquireTimeout: 10 } }
      }
      yield* say(of(refusing, "pod-1"), of({}, "pod-2"))
      const fiber = yield* Effect.fork(Stream.runCollect(Stream.take(Alerts.stream({}, { reports }), 2)))
      yield* TestClock.adjust("1 seconds")
      const transitions = Chunk.toReadonlyArray(yield* Fiber.join(fiber))
      assert.sameMembers(
        transitions.map(({ alert }) => alert),
        ["SluicePoolExhausted", "SluicePoolRefuses"]
      )
      for (const { description, reason } of transitions) {
        assert.strictEqual(reason?.cause, "idleInTransaction")
        for (const part of [reason!.title, reason!.evidence, reason!.remedy]) assert.include(description, part)
      }
    })
  )

  it.effect("is raised by thresholds of the program's own, and for a capacity of its own", () =>
    Effect.gen(function* () {
      const { reports } = watched()
      const strict = Alerts.stream({ leaseMs: 7 }, { reports, capacity: 9, runbooks: "https://wiki/x" })
      const fiber = yield* Effect.fork(Stream.runCollect(Stream.take(strict, 2)))
      yield* TestClock.adjust("61 seconds")
      const all = Chunk.toReadonlyArray(yield* Fiber.join(fiber))
      assert.deepStrictEqual(
        all.map(({ alert, pod, runbook, threshold }) => [alert, pod, threshold, runbook]),
        [
          ["SluiceLeaseLong", "pod-1", 0.007, "https://wiki/x#sluiceleaselong"],
          ["SluiceFleetOvercommitted", undefined, 1, "https://wiki/x#sluicefleetovercommitted"]
        ]
      )
    })
  )

  it.effect("a reader who never comes back holds up no look, and what waits for it is bounded", () =>
    Effect.gen(function* () {
      const { looks, reports } = watched()
      // Six hundred other pods at each look, each with an alert.
      const changing = Effect.map(reports, () => Array.from({ length: 600 }, (_, i) => of(long, `pod-${looks()}-${i}`)))
      const seen: Array<string | undefined> = []
      const go = yield* Effect.makeLatch(false)
      const reading = Stream.runForEach(Alerts.stream({}, { reports: changing }), ({ pod }) =>
        Effect.zipRight(
          go.await,
          Effect.sync(() => void seen.push(pod))
        )
      )
      const fiber = yield* Effect.fork(reading)
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(looks(), 4)
      yield* go.open
      yield* Effect.iterate(0, {
        while: () => seen.at(-1) !== "pod-4-599",
        body: (turns) => Effect.as(Effect.yieldNow(), turns + 1)
      })
      // The thousand that waited, and those that the reader had taken already when it stopped.
      assert.isAtLeast(seen.length, 1_000)
      assert.isBelow(seen.length, 2_000)
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("fails with every problem of the thresholds and options", () =>
    Effect.gen(function* () {
      const { reports } = watched()
      const failure = (stream: Stream.Stream<unknown, unknown>) => Effect.flip(Stream.runDrain(stream))
      assert.propertyVal(yield* failure(Alerts.stream({ leaseMs: 0 }, { reports })), "_tag", "InvalidThresholds")
      const problems = yield* failure(Alerts.stream({ waitP95Ms: 80 }, { reports, capacity: 0, runbooks: "wiki" }))
      assert.propertyVal(problems, "_tag", "InvalidAlerts")
      assert.lengthOf((problems as Alerts.InvalidAlerts).problems, 3)
    })
  )
})

describe("Alerts.layer", () => {
  it.effect("gives each transition to the receiver, and ends with its scope", () =>
    Effect.gen(function* () {
      const { looks, reports, say } = watched()
      yield* say(of(long))
      const received: Array<string> = []
      const receiver = Effect.succeed(({ alert }: Alerts.Transition) => Effect.sync(() => void received.push(alert)))
      yield* Effect.scoped(
        Effect.zipRight(Layer.build(Alerts.layer(receiver, {}, { reports })), TestClock.adjust("3 seconds"))
      )
      assert.deepStrictEqual(received, ["SluiceLeaseLong"])
      const before = looks()
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(looks(), before)
    })
  )

  it.effect("a receiver that dies ends nothing", () =>
    Effect.gen(function* () {
      const { reports, say } = watched()
      const received: Array<string> = []
      const receiver = Effect.succeed(({ alert }: Alerts.Transition) =>
        Effect.sync(() => {
          received.push(alert)
          throw new Error("no paper")
        })
      )
      yield* Layer.build(Alerts.layer(receiver, {}, { reports }))
      yield* say(of(long))
      yield* TestClock.adjust("3 seconds")
      yield* say(of(long), of(long, "pod-2"))
      yield* TestClock.adjust("3 seconds")
      assert.lengthOf(received, 2)
    }).pipe(Effect.scoped)
  )

  it.effect("does not start with thresholds that cannot work", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        Layer.build(
          Alerts.layer(
            Effect.succeed(() => Effect.void),
            { retries: 2 },
            { reports: watched().reports }
          )
        )
      )
      assert.isTrue(Exit.isFailure(exit))
    }).pipe(Effect.scoped)
  )
})
