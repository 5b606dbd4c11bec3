import { assert, it } from "@effect/vitest"
import { Router, Sql, SqlReason } from "@sluice/sql"
import { Effect, Fiber, Layer, Tracer } from "effect"
import * as FakeDriver from "./support/fakeDriver.js"
import { advance, idle, layer, played, tick } from "./support/sql.js"

/** A tracer, and what spans it was told of. */
const traced = () => {
  const events: Array<readonly [span: string, event: string, attributes: unknown]> = []
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => ({
      _tag: "Span",
      name,
      spanId: name,
      traceId: "trace",
      parent,
      context,
      status: { _tag: "Started", startTime },
      attributes: new Map(),
      links,
      sampled: true,
      kind,
      end: () => {},
      attribute: () => {},
      event: (event, _, attributes) => void events.push([name, event, attributes]),
      addLinks: () => {}
    }),
    context: (f) => f()
  })
  return { events, tracer }
}

it.effect("each retry is an event of the statement's span, with the reason of the failure before it", () => {
  const fake = FakeDriver.make()
  const { events, tracer } = traced()
  const lost = () =>
    SqlReason.toError(
      SqlReason.make("ConnectionLost", { connection: "none", retry: "always", code: "08006" }),
      "the connection is lost"
    )
  fake.failures.set("a", [lost(), lost()])
  return Effect.gen(function* () {
    yield* played(Effect.withTracer(Effect.withSpan(Sql.query("a"), "handler"), tracer))
    const retry = [
      "sql.execute",
      "sluice.retry",
      { "error.type": "ConnectionLost", "db.response.status_code": "08006" }
    ]
    assert.deepStrictEqual(events, [retry, retry] as any)
    yield* idle
  }).pipe(Effect.provide(layer(fake)))
})

it.effect("where a read goes, and why, is an event of its span", () => {
  const fake = FakeDriver.make()
  const { events, tracer } = traced()
  fake.standbys.add("r1")
  return Effect.gen(function* () {
    yield* played(Effect.withTracer(Effect.withSpan(Sql.read(Sql.query("a")), "handler"), tracer))
    const at = { "sluice.endpoint": "r1", "sluice.role": "replica", "sluice.reason": "read" }
    assert.deepStrictEqual(events, [["sql.execute", "sluice.route", at]] as any)
    events.length = 0
    fake.down.add("r1")
    yield* advance(2_500)
    yield* played(Effect.withTracer(Effect.withSpan(Sql.read(Sql.query("a")), "handler"), tracer))
    const instead = { "sluice.endpoint": "primary", "sluice.role": "primary", "sluice.reason": "no_replica" }
    assert.deepStrictEqual(events, [["sql.execute", "sluice.route", instead]] as any)
    events.length = 0
    yield* played(Effect.withTracer(Effect.withSpan(Sql.query("a"), "handler"), tracer))
    assert.deepStrictEqual(events, [], "a write goes to the primary, which needs no reason")
    yield* idle
  }).pipe(Effect.provide(layer(fake, { replicas: ["r1"] }).pipe(Layer.provide(Router.layer(Router.leastBusy())))))
})

it.effect("that a write has waited for a server that takes writes is an event of its span", () => {
  const fake = FakeDriver.make()
  const { events, tracer } = traced()
  fake.standbys.add("r1")
  return Effect.gen(function* () {
    yield* Sql.query("a")
    fake.standbys.add("primary")
    yield* advance(3_000)
    const write = yield* Effect.fork(Effect.withTracer(Effect.withSpan(Sql.write(Sql.query("a")), "handler"), tracer))
    yield* tick
    fake.standbys.delete("r1")
    yield* played(Fiber.join(write))
    const [span, event, attributes] = events.at(-1)!
    assert.deepStrictEqual([span, event], ["sql.execute", "sluice.failover"])
    assert.include(attributes as object, { "sluice.endpoint": "r1" })
    yield* idle
  }).pipe(Effect.provide(layer(fake, { replicas: ["r1"], pool: { acquireTimeout: "20 seconds" } })))
})
