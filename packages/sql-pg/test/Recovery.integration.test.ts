import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { PgCluster } from "@sluice/testkit"
import { Effect, Exit, Fiber, Stream } from "effect"
import * as SlowProxy from "../../sql/test/support/slowProxy.js"
import { driver } from "../src/internal/driver.js"
import * as endpoint from "../src/internal/endpoint.js"
import { eventually, onPool, pid, urlThrough } from "./support/fixture.js"

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("recovery", (it) => {
  it.effect("a statement that fails ends only when the server is ready for the next one", () =>
    Effect.gen(function* () {
      const cluster = yield* PgCluster.PgCluster
      const proxy = yield* SlowProxy.make(cluster.primary)
      const at = yield* endpoint.resolve({ url: yield* urlThrough(proxy) })
      const connection = yield* driver.connect(at.primary, { broken: () => {}, fatal: () => {}, isEnding: () => false })
      const run = (sql: string) => Effect.exit(driver.execute(connection, sql, [], "rows"))
      proxy.delays.ready = 20
      assert.isTrue(Exit.isFailure(yield* run("select 1 / 0")))
      assert.strictEqual(driver.status(connection), "idle")
      yield* run("begin")
      assert.strictEqual(driver.status(connection), "transaction")
      yield* run("select 1 / 0")
      assert.strictEqual(driver.status(connection), "failed")
    }).pipe(Effect.scoped)
  )

  it.effect(
    "a cancel that overtakes its statement is sent again; one that comes after the piece of a stream does no harm",
    () =>
      Effect.gen(function* () {
        const cluster = yield* PgCluster.PgCluster
        const proxy = yield* SlowProxy.make(cluster.primary)
        const url = yield* urlThrough(proxy)
        yield* onPool({ url, pool: { maxSize: 1 } }, () =>
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            const before = yield* pid
            proxy.delays.split = true
            const interrupted = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
              Effect.gen(function* () {
                const fiber = yield* Effect.fork(effect)
                yield* eventually(
                  "it was sent",
                  Effect.map(Sql.stats, ({ write }) => write.using === 1)
                )
                yield* Effect.sleep("5 millis")
                yield* Fiber.interrupt(fiber)
                assert.strictEqual(yield* pid, before)
              })
            proxy.delays.first = 150
            yield* interrupted(Sql.query("select pg_sleep(30)"))
            proxy.delays.first = 0
            proxy.delays.later = 150
            yield* interrupted(Stream.runDrain(sql`select pg_sleep(0.0005) from generate_series(1, 1000)`.stream))
          })
        )
      }).pipe(Effect.scoped)
  )
})
