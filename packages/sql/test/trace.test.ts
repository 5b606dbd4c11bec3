import { assert, it } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { Effect, Tracer } from "effect"
import * as FakeDriver from "./support/fakeDriver.js"
import { idle, layer, played } from "./support/sql.js"

it.effect("each retry is an event of the statement's span, with the reason of the failure before it", () => {
  const fake = FakeDriver.make()
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
