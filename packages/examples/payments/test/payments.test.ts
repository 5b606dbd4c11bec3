import { randomUUID } from "node:crypto"
import { HttpServer } from "@effect/platform"
import { assert, describe, layer } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Effect, Fiber, Layer, Logger, Metric, Schedule } from "effect"
import * as App from "../src/App.js"
import * as Live from "../src/Live.js"
import * as Load from "../src/Load.js"
import * as Payments from "../src/Payments.js"
import * as Schema from "../src/Schema.js"
import * as Sync from "../src/Sync.js"

const url = HttpServer.addressFormattedWith(Effect.succeed)
const payment = () => ({ id: randomUUID() as string, amount: 1250, currency: "EUR" })
const pay = (to: string, json: unknown) => Load.send(`${to}/payments`, { method: "POST", json })
const until = <E, R>(condition: Effect.Effect<boolean, E, R>) =>
  Effect.repeat(condition, { until: (met) => met, schedule: Schedule.spaced("5 millis") })

describe("payments", () => {
  layer(PgCluster.layer({ replicas: 1 }), { excludeTestServices: true, timeout: "60 seconds" })((it) => {
    const program = Layer.unwrapEffect(Effect.map(PgCluster.PgCluster, (cluster) => Live.layer(cluster, { port: 0 })))

    it.effect("a payment is made once: 201, then 200 for the same id, and GET finds it at once", () =>
      Effect.gen(function* () {
        const to = yield* url
        const json = payment()
        const first = yield* pay(to, json)
        assert.deepStrictEqual([first.status, first.body], [201, { ...json, state: "paid" }])
        const found = yield* Load.send(`${to}/payments/${json.id}`)
        assert.deepStrictEqual([found.status, found.body], [200, { ...json, state: "paid" }])
        const again = yield* pay(to, { ...json, amount: 9 })
        assert.deepStrictEqual([again.status, again.body], [200, { ...json, state: "paid" }])
      }).pipe(Effect.provide(program))
    )

    it.effect("what cannot be read is answered with 400 and the reason, what does not exist with 404", () =>
      Effect.gen(function* () {
        const to = yield* url
        for (const json of [{}, { ...payment(), amount: -1 }, { ...payment(), amount: 1.5 }, "not a payment"]) {
          const answer = yield* pay(to, json)
          assert.deepStrictEqual([answer.status, answer.body.error], [400, "BadRequest"], JSON.stringify(json))
        }
        const noUuid = yield* Load.send(`${to}/payments/1`)
        assert.deepStrictEqual([noUuid.status, noUuid.body.error], [400, "BadRequest"])
        const unknown = yield* Load.send(`${to}/payments/${randomUUID()}`)
        assert.deepStrictEqual([unknown.status, unknown.body.error], [404, "PaymentNotFound"])
        assert.strictEqual((yield* Load.send(`${to}/nowhere`)).status, 404)
      }).pipe(Effect.provide(program))
    )

    it.effect("GET /stats shows size, available, using and waiting of both pools", () =>
      Effect.gen(function* () {
        const { body, status } = yield* Load.send(`${yield* url}/stats`)
        assert.strictEqual(status, 200)
        for (const pool of [body.write, ...body.read]) {
          for (const word of ["size", "available", "using", "waiting"]) assert.isNumber(pool[word], word)
          assert.strictEqual(pool.max, Live.maxSize)
        }
        assert.strictEqual(body.read.length, 1)
      }).pipe(Effect.provide(program))
    )

    it.effect("the sync hands over what was paid, as background work on the same pool", () =>
      Effect.gen(function* () {
        const to = yield* url
        const before = (yield* Metric.value(Sync.synced)).count
        const json = payment()
        yield* pay(to, json)
        // The oldest come first, so everything from the start is handed over before it.
        const handedOver = Effect.map(
          Sql.query<{ synced: boolean }>("select synced from payments where id = $1", [json.id]),
          ([row]) => row?.synced === true
        )
        yield* Effect.repeat(Sync.round, { until: (rows) => rows.length === 0 })
        yield* until(handedOver)
        assert.isAbove((yield* Metric.value(Sync.synced)).count, before)
      }).pipe(Effect.provide(program))
    )

    it.effect("a saturated pool is answered with 503, Retry-After and the reason, and the next request is served", () =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const tiny = PgSql.layer({
          primary: { url: primary.url },
          duplicates: "allow",
          pool: { maxSize: 1, maxWaiters: 1, acquireTimeout: "5 seconds" }
        })
        yield* Effect.gen(function* () {
          yield* Schema.create
          const to = yield* url
          const holder = yield* Effect.fork(Sql.query("select pg_sleep(30)"))
          const waiter = yield* Effect.fork(Sql.query("select 1"))
          yield* until(Effect.map(Sql.stats, ({ write }) => write.using === 1 && write.waiting === 1))
          const { body, headers, status } = yield* pay(to, payment())
          assert.deepStrictEqual([status, body.error, headers["retry-after"]], [503, "PoolSaturated", "1"])
          yield* Fiber.interrupt(holder)
          yield* Fiber.join(waiter)
          assert.strictEqual((yield* pay(to, payment())).status, 201)
        }).pipe(
          Effect.provide(Layer.provideMerge(App.layer({ port: 0 }), tiny)),
          Effect.provide(Logger.remove(Logger.defaultLogger)) // the refusal is also logged
        )
      })
    )

    it.effect(
      "a client that hangs up leaves nothing: no connection in use, no place in line, no statement on the server",
      () =>
        Effect.gen(function* () {
          const { primary } = yield* PgCluster.PgCluster
          const to = yield* url
          const read = (metric: Metric.Metric.Counter<number>) => Effect.map(Metric.value(metric), ({ count }) => count)
          const before = yield* read(App.aborted)
          const beforeAtWork = yield* read(Payments.abortedAtWork)
          yield* Load.impatient(to, 100, "1 minute", Effect.void)
          // All of them reached their handlers and were stopped there, the halves included; some in their transaction.
          yield* until(Effect.map(read(App.aborted), (count) => count - before === 100))
          assert.isAbove((yield* read(Payments.abortedAtWork)) - beforeAtWork, 0)
          yield* until(
            Effect.map(
              Sql.stats,
              ({ write }) => write.using + write.waiting + write.quarantined + write.resetting === 0
            )
          )
          const busy = (yield* primary.activity).filter(
            ({ applicationName, query, state }) =>
              applicationName === Live.applicationName && state !== "idle" && query.includes("pg_sleep")
          )
          assert.deepStrictEqual(busy, [])
          assert.strictEqual((yield* pay(to, payment())).status, 201)
        }).pipe(Effect.provide(program))
    )
  })
})
