/** What only PostgreSQL has to say about silent statements. What both drivers do is in `test/fault/frozen.test.ts`. */
import { assert, layer } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { FaultProxy, PgCluster } from "@sluice/testkit"
import { Effect, Fiber, Redacted } from "effect"
import { active, onPool, reasonOf, urlThrough } from "./support/fixture.js"

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("silence", (it) => {
  it.effect("behind a transaction pooler nobody is asked, because another session may have the statement", () =>
    Effect.gen(function* () {
      const cluster = yield* PgCluster.PgCluster
      const path = yield* FaultProxy.make({ target: cluster.primary })
      const url = yield* urlThrough(path)
      const text = "select pg_sleep(1)"
      const begin = (name: string) => Effect.zipLeft(Effect.fork(reasonOf(Sql.query(text))), active(name, text))
      const end = (applicationName: string) => cluster.primary.terminateBackends({ applicationName })
      yield* onPool({ url, proxy: "pgbouncer-transaction" }, (proxied) =>
        Effect.gen(function* () {
          const behindProxy = yield* begin(proxied)
          yield* onPool({ url }, (plain) =>
            Effect.gen(function* () {
              const lost = yield* begin(plain)
              yield* path.blackhole({ new: false, forGood: true })
              assert.strictEqual((yield* Fiber.join(lost))._tag, "ConnectionLost")
              yield* end(plain)
            })
          )
          // It was frozen at the same moment.
          assert.isNull(behindProxy.unsafePoll())
          assert.strictEqual((yield* Sql.stats).control[0]!.connects, 0)
          yield* end(proxied)
          yield* path.reset
          assert.strictEqual((yield* Fiber.join(behindProxy))._tag, "ConnectionLost")
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("a role without rights sees enough of its own sessions, also where the server does not track them", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      const path = yield* FaultProxy.make({ target: primary })
      yield* primary.query("create role watched login password 'watched'")
      for (const tracked of ["on", "off"]) {
        yield* primary.query(`alter role watched set track_activities = ${tracked}`)
        const url = Redacted.make(`postgres://watched:watched@127.0.0.1:${path.port}/sluice`)
        yield* onPool({ url }, (applicationName) =>
          Effect.gen(function* () {
            yield* Sql.query("select pg_sleep(1.5)")
            assert.strictEqual((yield* Sql.stats).control[0]!.connects, 1)
            const freeze = path.blackhole({ new: false, forGood: true })
            const frozen = Effect.zipRight(Effect.zipRight(Sql.query("select 1"), freeze), Sql.query("select 1"))
            assert.strictEqual((yield* reasonOf(Sql.withConnection(frozen)))._tag, "ConnectionLost")
            yield* primary.terminateBackends({ applicationName })
          })
        )
      }
    }).pipe(Effect.scoped)
  )
})
