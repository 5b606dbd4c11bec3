/** What a request may ask for, and what is answered to what has no meaning. */
import { HttpApp, HttpRouter, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { RequestConnection } from "@sluice/http"
import { Deadline, Pool, Priority } from "@sluice/pool"
import { Sql } from "@sluice/sql"
import { Clock, Effect, type Runtime } from "effect"
import * as FakeDriver from "../../sql/test/support/fakeDriver.js"
import { idle, layer } from "../../sql/test/support/sql.js"

/** What the statements of a handler would be asked with. */
const seen = Effect.gen(function* () {
  const deadline = yield* Deadline.CurrentDeadline
  const now = Deadline.nowOf(yield* Clock.clockWith(Effect.succeed))()
  return HttpServerResponse.unsafeJson({
    priority: yield* Priority.CurrentPriority,
    rest: deadline === Deadline.never ? null : deadline - now
  })
})

/** Asks an application without sockets, on the clock of the test. */
const asker = (options: RequestConnection.RequestOptions, handler: HttpApp.Default<any, any> = seen) =>
  Effect.gen(function* () {
    const middleware = yield* RequestConnection.make(options)
    const runtime = yield* Effect.runtime<Sql.Sql>()
    const app = HttpRouter.empty.pipe(HttpRouter.all("/", handler), HttpRouter.use(middleware))
    const handle = HttpApp.toWebHandlerRuntime(runtime as Runtime.Runtime<any>)(app as any)
    return (headers: Record<string, string> = {}, method = "GET") =>
      Effect.promise(async () => {
        const response = await handle(new Request("http://test/", { headers, method }))
        const text = await response.text()
        return { status: response.status, headers: response.headers, body: text === "" ? undefined : JSON.parse(text) }
      })
  })

const onFake = <A, E>(effect: Effect.Effect<A, E, Sql.Sql>) => {
  const fake = FakeDriver.make()
  return effect.pipe(Effect.zipLeft(idle), Effect.provide(layer(fake)))
}

describe("a header for the deadline", () => {
  it.effect("says milliseconds or a moment, and shortens the deadline of the route", () =>
    onFake(
      Effect.gen(function* () {
        const ask = yield* asker({ deadline: "5 seconds", deadlineHeader: "X-Deadline" })
        assert.strictEqual((yield* ask()).body.rest, 5_000)
        assert.strictEqual((yield* ask({ "x-deadline": "1500" })).body.rest, 1_500)
        assert.strictEqual((yield* ask({ "x-deadline": "60000" })).body.rest, 5_000)
        // The clock of the test begins in 1970.
        assert.strictEqual((yield* ask({ "x-deadline": "1970-01-01T00:00:02Z" })).body.rest, 2_000)
        assert.strictEqual((yield* ask({ "x-deadline": "1970-01-01T01:00:02.500+01:00" })).body.rest, 2_500)
      })
    )
  )

  const meaningless = {
    "in the past": "1969-12-31T23:59:59Z",
    now: "0",
    "in a thousand years": "2970-01-01T00:00:00Z",
    "too long": "99999999999",
    "longer than any number": "9".repeat(400),
    negative: "-5",
    words: "soon",
    empty: "",
    "two of them": "1500, 2000",
    "a part of a date": "1970-01-01",
    "no moment": "1970-13-45T99:99:99Z",
    long: "x".repeat(5_000)
  }
  for (const [what, value] of Object.entries(meaningless)) {
    it.effect(`is answered with 400 when it is ${what}`, () =>
      onFake(
        Effect.gen(function* () {
          let handled = 0
          const handler = Effect.sync(() => {
            handled++
            return HttpServerResponse.empty()
          })
          const ask = yield* asker({ deadlineHeader: "x-deadline" }, handler)
          const { body, status } = yield* ask({ "x-deadline": value })
          assert.strictEqual(status, 400)
          assert.strictEqual(body.error, "BadRequest")
          assert.match(body.problems.join(), /^x-deadline must be/)
          assert.isBelow(body.problems.join().length, 200)
          assert.strictEqual(handled, 0)
        })
      )
    )
  }
})

describe("a header for the priority", () => {
  it.effect("can lower the priority of the route and not raise it; another word is answered with 400", () =>
    onFake(
      Effect.gen(function* () {
        const ask = yield* asker({ priority: "high", priorityHeader: "x-priority" })
        assert.strictEqual((yield* ask()).body.priority, "high")
        assert.strictEqual((yield* ask({ "x-priority": "background" })).body.priority, "background")
        assert.strictEqual((yield* ask({ "x-priority": "critical" })).body.priority, "high")
        const { body, status } = yield* ask({ "x-priority": "urgent" })
        assert.deepStrictEqual([status, body.problems.length], [400, 1])
        const normal = yield* asker({ priorityHeader: "x-priority" })
        assert.strictEqual((yield* normal({ "x-priority": "high" })).body.priority, "normal")
      })
    )
  )

  it.effect("is not read unless the program names one", () =>
    onFake(
      Effect.gen(function* () {
        const ask = yield* asker({})
        const { body } = yield* ask({ "x-priority": "background", "x-deadline": "1" })
        assert.deepStrictEqual(body, { priority: "normal", rest: null })
      })
    )
  )
})

describe("the acquire timeout", () => {
  it.effect("of the program around the middleware stays in force", () =>
    onFake(
      Effect.gen(function* () {
        const timeout = Effect.map(Pool.CurrentAcquireTimeout, (timeout) => HttpServerResponse.unsafeJson({ timeout }))
        const ask = yield* Sql.withAcquireTimeout("7 seconds")(asker({}, timeout))
        assert.strictEqual((yield* ask()).body.timeout, "7 seconds")
      })
    )
  )
})
