import { SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { assert, layer } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { FaultProxy, PgCluster } from "@sluice/testkit"
import { Effect, Fiber, Stream } from "effect"
import { atOnce, backends, eventually, onPool, pid, urlThrough } from "./support/fixture.js"

const active = (name: string) => Effect.map(backends(name), (all) => all.filter((one) => one.state === "active"))

const sleeping = (name: string, count = 1) =>
  eventually(
    "it sleeps on the server",
    Effect.map(active(name), (all) => all.length === count)
  )

const nothingRuns = (name: string) =>
  eventually(
    "nothing runs on the server",
    Effect.map(backends(name), (all) => all.every((one) => one.state === "idle"))
  )

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("interruption", (it) => {
  it.effect("a stream is left at once, in the middle of a piece and between two", () =>
    onPool({ pool: { maxSize: 1 } }, (name) =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const before = yield* pid
        const slow = sql`select i, pg_sleep(case when i > 128 then 30 else 0 end) from generate_series(1, 1000) as i`
          .stream
        type Program = Effect.Effect<void, SqlError, Sql.Sql>
        const surroundings: ReadonlyArray<(program: Program) => Program> = [
          (program) => program,
          (program) => Sql.withConnection(program),
          (program) => Sql.withTransaction(program)
        ]
        for (const around of surroundings) {
          const fiber = yield* Effect.fork(around(Stream.runDrain(slow)))
          yield* sleeping(name)
          yield* atOnce(Fiber.interrupt(fiber))
          yield* nothingRuns(name)
          yield* atOnce(around(Stream.runDrain(Stream.take(slow, 3))))
        }
        assert.strictEqual(yield* pid, before)
      })
    )
  )

  it.effect("a stream is left at once also when the server can no longer be reached", () =>
    Effect.gen(function* () {
      const cluster = yield* PgCluster.PgCluster
      const proxy = yield* FaultProxy.make({ target: cluster.primary })
      const url = yield* urlThrough(proxy)
      yield* onPool({ url, pool: { maxSize: 2, abortTimeout: "2 seconds", closeTimeout: "200 millis" } }, (name) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const slow = sql`select i, pg_sleep(case when i > 128 then 30 else 0 end) from generate_series(1, 1000) as i`
            .stream
          for (const around of [Sql.withConnection, Sql.withTransaction<Effect.Effect<void, SqlError, Sql.Sql>>]) {
            const fiber = yield* Effect.fork(around(Stream.runDrain(slow)))
            yield* sleeping(name)
            yield* proxy.blackhole({ forGood: true })
            const { error } = (yield* Sql.stats).write.closed
            yield* Fiber.interrupt(fiber)
            assert.strictEqual((yield* Sql.stats).write.closed.error, error, "the caller left before abortTimeout")
            yield* eventually(
              "the connection is given up",
              Effect.map(Sql.stats, ({ write }) => write.closed.error === error + 1)
            )
            yield* proxy.heal
            // What the frozen path has left behind on the server is not ours to see.
            yield* cluster.primary.terminateBackends({ applicationName: name })
          }
        })
      )
    }).pipe(Effect.scoped)
  )
})
