import { assert, describe } from "@effect/vitest"
import { Effect, Fiber, Tracer } from "effect"
import { Pool } from "../src/index.js"
import { settle, test } from "./support/Fixture.js"

/** A tracer that keeps every span. */
const tracing = () => {
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      const span: Tracer.Span = {
        _tag: "Span",
        name,
        spanId: String(spans.length),
        traceId: "trace",
        parent,
        context,
        status: { _tag: "Started", startTime },
        attributes,
        links,
        sampled: true,
        kind,
        end: (endTime, exit) => void Object.assign(span, { status: { _tag: "Ended", startTime, endTime, exit } }),
        attribute: (key, value) => void attributes.set(key, value),
        event: () => {},
        addLinks: () => {}
      }
      spans.push(span)
      return span
    },
    context: (f) => f()
  })
  return { tracer, waits: () => spans.filter(({ name }) => name === "sluice.acquire") }
}

describe("a wait for a connection", () => {
  for (const [verb, use] of [
    ["use", (pool: Pool.Pool<any>) => Pool.use(pool, () => Effect.void, { priority: "high" })],
    ["share", (pool: Pool.Pool<any>) => Pool.share(pool, () => Effect.void, { priority: "high" })],
    ["acquire", (pool: Pool.Pool<any>) => Effect.scoped(Pool.acquire(pool, { priority: "high" }))]
  ] as const) {
    test(`${verb}: has a span under that of its caller, if it was longer than a millisecond`, { maxSize: 1 }, (f) =>
      Effect.gen(function* () {
        const { tracer, waits } = tracing()
        const traced = Effect.withTracer(Effect.withSpan(use(f.pool), "handler"), tracer)
        yield* f.warm(1)
        yield* traced
        assert.lengthOf(waits(), 0)
        const short = yield* f.hold()
        const soon = yield* Effect.fork(traced)
        yield* settle
        yield* f.pass(1)
        yield* short.release
        yield* Fiber.join(soon)
        assert.lengthOf(waits(), 0)
        const lease = yield* f.hold()
        yield* f.park()
        const fiber = yield* Effect.fork(traced)
        yield* settle
        yield* f.pass(30)
        yield* lease.release
        yield* Fiber.join(fiber)
        const [wait] = waits()
        assert.lengthOf(waits(), 1)
        assert.deepStrictEqual(Object.fromEntries(wait!.attributes), {
          "sluice.wait_ms": 30,
          "sluice.priority": "high",
          "sluice.queue.depth": 2
        })
        assert.isTrue(wait!.parent._tag === "Some" && (wait!.parent.value as Tracer.Span).name === "handler")
        assert.isTrue(
          wait!.status._tag === "Ended" && wait!.status.endTime - wait!.status.startTime === BigInt(30_000_000)
        )
      })
    )
  }
})
