import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { FaultProxy, PgCluster } from "@sluice/testkit"
import { Duration, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { backends, eventually, onPool, reasonOf, urlThrough } from "./support/fixture.js"

const collect = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
  Effect.gen(function* () {
    const got: Array<A> = []
    const fiber = yield* Effect.fork(Stream.runForEach(stream, (a) => Effect.sync(() => got.push(a))))
    return { got, fiber }
  })

/** Backends that have been told to listen and wait. */
const listening = (name: string, last: string) =>
  eventually(
    `it says ${last}`,
    Effect.map(backends(name), (all) => all.some((one) => one.query === last && one.state === "idle"))
  )

const came = (what: string, condition: () => boolean) => eventually(what, Effect.sync(condition))

const using = Effect.map(Sql.stats, ({ write }) => write.using)

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("listen", (it) => {
  it.effect("notifications arrive, empty ones too, for every listener, on one connection that counts as leased", () =>
    onPool({}, (name) =>
      Effect.gen(function* () {
        const sql = yield* PgClient.PgClient
        const odd = 'odd "name"'
        const a = yield* collect(sql.listen(odd))
        const b = yield* collect(sql.listen(odd))
        const other = yield* collect(PgSql.listen("other"))
        yield* listening(name, 'LISTEN "other"')
        assert.strictEqual(yield* using, 1)
        yield* sql.notify(odd, "it's")
        yield* sql.notify(odd, "")
        yield* sql.notify("other", "1")
        yield* came("all have come", () => a.got.length + b.got.length + other.got.length === 5)
        assert.deepStrictEqual(
          [a.got, b.got],
          [
            ["it's", ""],
            ["it's", ""]
          ]
        )
        assert.deepInclude(other.got[0], { _tag: "Notification", channel: "other", payload: "1" })
        yield* Fiber.interruptAll([a.fiber, b.fiber, other.fiber])
      })
    )
  )

  it.effect("a listener that ends leaves the others alone; after the last one the connection goes back, clean", () =>
    onPool({ resetOnRelease: "never", pool: { maxSize: 2 } }, (name) =>
      Effect.gen(function* () {
        const sql = yield* PgClient.PgClient
        const a = yield* collect(sql.listen("c"))
        const b = yield* collect(sql.listen("c"))
        const other = yield* collect(sql.listen("d"))
        yield* listening(name, 'LISTEN "d"')
        yield* Fiber.interrupt(a.fiber)
        yield* Fiber.interrupt(other.fiber)
        yield* listening(name, 'UNLISTEN "d"')
        yield* sql.notify("c", "still")
        yield* came("it has come", () => b.got.length === 1)
        assert.deepStrictEqual(a.got, [])
        yield* Fiber.interrupt(b.fiber)
        yield* eventually(
          "the lease is over",
          Effect.map(using, (n) => n === 0)
        )
        const left = yield* Effect.forEach(
          [1, 2],
          () => Sql.query<{ n: number }>("select count(*)::int as n, pg_sleep(0.02) from pg_listening_channels()"),
          { concurrency: 2 }
        )
        assert.deepStrictEqual(
          left.map(([row]) => row!.n),
          [0, 0]
        )
      })
    )
  )

  it.effect("after its backend was ended it listens again, to all channels, and says what may be missing", () =>
    onPool({}, (name) =>
      Effect.gen(function* () {
        const cluster = yield* PgCluster.PgCluster
        const sql = yield* PgClient.PgClient
        const events = yield* collect(PgSql.listen("c"))
        const plain = yield* collect(sql.listen("d"))
        yield* listening(name, 'LISTEN "d"')
        for (const round of [1, 2]) {
          yield* cluster.primary.terminateBackends({ applicationName: name })
          yield* came(
            "it listens again",
            () => events.got.filter((one) => one._tag === "Resubscribed").length === round
          )
          yield* listening(name, 'LISTEN "d"')
          yield* sql.notify("c", `c${round}`)
          yield* sql.notify("d", `d${round}`)
          yield* came("they have come", () => events.got.length === 2 * round && plain.got.length === round)
        }
        assert.deepStrictEqual(
          events.got.map((one) => (one._tag === "Notification" ? one.payload : one._tag)),
          ["Resubscribed", "c1", "Resubscribed", "c2"]
        )
        assert.isTrue(events.got.every((one) => one._tag === "Notification" || one.lostForMs >= 0))
        assert.deepStrictEqual(plain.got, ["d1", "d2"])
        assert.strictEqual(yield* using, 1)
        // Who begins to listen later has missed nothing that it was promised.
        const later = yield* collect(PgSql.listen("c"))
        yield* sql.notify("c", "x")
        yield* eventually(
          "it has come",
          Effect.zipRight(
            sql.notify("c", "x"),
            Effect.sync(() => later.got.length > 0)
          )
        )
        assert.isTrue(later.got.every((one) => one._tag === "Notification"))
        yield* Fiber.interruptAll([events.fiber, plain.fiber, later.fiber])
      })
    )
  )

  it.effect("while the server is away it goes on trying; who begins to listen meanwhile gets a typed failure", () =>
    Effect.gen(function* () {
      const cluster = yield* PgCluster.PgCluster
      const proxy = yield* FaultProxy.make({ target: cluster.primary })
      const url = yield* urlThrough(proxy)
      yield* onPool({ url, pool: { acquireTimeout: "200 millis", validateTimeout: "100 millis" } }, (name) =>
        Effect.gen(function* () {
          const sql = yield* PgClient.PgClient
          const old = yield* collect(PgSql.listen("c"))
          yield* listening(name, 'LISTEN "c"')
          yield* proxy.refuse
          yield* proxy.reset
          yield* eventually(
            "the loss is noticed",
            Effect.map(Sql.stats, ({ write }) => write.size === write.connecting)
          )
          const [away, reason] = yield* Effect.timed(reasonOf(Stream.runDrain(PgSql.listen("c"))))
          assert.include(["AcquireTimeout", "DatabaseDown"], reason._tag)
          yield* proxy.heal
          yield* came("it listens again", () => old.got.length === 1)
          yield* sql.notify("c", "back")
          yield* came("it has come", () => old.got.length === 2)
          const [resubscribed] = old.got
          // The loss began before that attempt, and ended after it.
          assert.isTrue(resubscribed?._tag === "Resubscribed" && resubscribed.lostForMs >= Duration.toMillis(away) - 1)
          yield* Fiber.interrupt(old.fiber)
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("when the Layer ends, what listens fails with PoolClosed, and the end does not wait for it", () =>
    Effect.gen(function* () {
      const cluster = yield* PgCluster.PgCluster
      const name = `listen-${process.pid}`
      const scope = yield* Scope.make()
      const context = yield* Scope.extend(
        Layer.build(
          PgSql.layer({
            url: cluster.primary.url,
            applicationName: name,
            duplicates: "allow",
            pool: { drainTimeout: "30 seconds" }
          })
        ),
        scope
      )
      const fiber = yield* Effect.fork(Effect.provide(Effect.flip(Stream.runDrain(PgSql.listen("c"))), context))
      yield* listening(name, 'LISTEN "c"')
      const [elapsed] = yield* Effect.timed(Scope.close(scope, Exit.void))
      assert.isBelow(Duration.toMillis(elapsed), 15_000, "half of drainTimeout")
      assert.strictEqual(SqlReason.of(yield* Fiber.join(fiber))._tag, "PoolClosed")
      assert.isEmpty(yield* backends(name))
      assert.strictEqual(
        SqlReason.of(yield* Effect.provide(Effect.flip(Stream.runDrain(PgSql.listen("c"))), context))._tag,
        "PoolClosed"
      )
    })
  )
})
