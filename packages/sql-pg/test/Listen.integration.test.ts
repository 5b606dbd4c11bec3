import { AsyncLocalStorage } from "node:async_hooks"
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Sql, type SqlHooks, SqlReason } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { FaultProxy, PgCluster } from "@sluice/testkit"
import { Clock, Effect, Exit, Fiber, Layer, Redacted, Runtime, Scope, Stream } from "effect"
import { fast } from "./support/fastClock.js"
import { atOnce, backends, eventually, onPool, pid, reasonOf, urlThrough } from "./support/fixture.js"
import { logged } from "./support/logged.js"

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

const listen = Effect.map(Sql.stats, ({ listen: { connects, open } }) => ({ connects, open }))

const closed = eventually(
  "the connection is closed",
  Effect.map(listen, ({ open }) => open === 0)
)

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("listen", (it) => {
  it.effect("the connection that listens runs no statement of the program, and has no onConnect", () => {
    const names: Array<string> = []
    const onConnect = ({ sql }: SqlHooks.Connection) =>
      Effect.zipRight(
        Effect.map(sql<{ pid: number }>`select pg_backend_pid() as pid`, ([row]) => names.push(String(row!.pid))),
        sql`set application_name = 'has its onConnect'`
      )
    return onPool({ pool: { maxSize: 1 }, hooks: { onConnect } }, (name) =>
      Effect.gen(function* () {
        const sql = yield* PgClient.PgClient
        const fiber = yield* Effect.fork(Stream.runDrain(sql.listen("hooked")))
        yield* listening(name, 'LISTEN "hooked"')
        assert.lengthOf(names, 1)
        assert.deepStrictEqual(yield* sql`show application_name`, [{ application_name: "has its onConnect" }])
        yield* Fiber.interrupt(fiber)
      })
    )
  })

  it.effect("each listener gets its notifications in its own async context", () =>
    onPool({}, (name) =>
      Effect.gen(function* () {
        const sql = yield* PgClient.PgClient
        const runtime = yield* Effect.runtime<never>()
        const storage = new AsyncLocalStorage<number>()
        const seen: Array<readonly [listener: number, store: number | undefined]> = []
        const fibers = [0, 1, 2].map((listener) =>
          storage.run(listener, () =>
            Runtime.runFork(runtime)(
              Stream.runForEach(sql.listen("contexts"), () =>
                Effect.sync(() => seen.push([listener, storage.getStore()]))
              )
            )
          )
        )
        yield* listening(name, 'LISTEN "contexts"')
        for (let sent = 1; sent <= 3; sent++) {
          yield* sql.notify("contexts", "now")
          yield* came("all have heard it", () => seen.length === 3 * sent)
        }
        for (const [listener, store] of seen) assert.strictEqual(store, listener)
        yield* Fiber.interruptAll(fibers)
      })
    )
  )

  it.effect(
    "all listeners of a client share one connection, which no pool counts: maxSize 1 goes on with its statements",
    () =>
      onPool({ pool: { maxSize: 1, acquireTimeout: "2 seconds" } }, (name) =>
        Effect.gen(function* () {
          const sql = yield* PgClient.PgClient
          assert.deepStrictEqual(yield* listen, { connects: 0, open: 0 })
          const odd = 'odd "name"'
          const a = yield* collect(sql.listen(odd))
          const b = yield* collect(sql.listen(odd))
          const other = yield* collect(PgSql.listen("other"))
          yield* listening(name, 'LISTEN "other"')
          assert.deepStrictEqual(yield* listen, { connects: 1, open: 1 })
          assert.strictEqual((yield* Sql.stats).write.using, 0)
          const [own, inTransaction] = yield* Effect.all([pid, Sql.withTransaction(pid)])
          assert.strictEqual(own, inTransaction)
          yield* sql.notify(odd, "it's")
          yield* sql.notify(odd, "")
          yield* Sql.withTransaction(sql.notify("other", "1"))
          yield* came("all have come", () => a.got.length + b.got.length + other.got.length === 5)
          assert.deepStrictEqual(
            [a.got, b.got],
            [
              ["it's", ""],
              ["it's", ""]
            ]
          )
          assert.deepInclude(other.got[0], { _tag: "Notification", channel: "other", payload: "1", processId: own })
          assert.strictEqual((yield* backends(name)).length, 2)
          yield* Fiber.interruptAll([a.fiber, b.fiber, other.fiber])
        })
      )
  )

  it.effect("a listener that ends leaves the others alone; the connection stays for the next one for a while", () =>
    onPool({}, (name) =>
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
        yield* listening(name, 'UNLISTEN "c"')
        const again = yield* collect(sql.listen("e"))
        yield* listening(name, 'LISTEN "e"')
        assert.deepStrictEqual(yield* listen, { connects: 1, open: 1 })
        yield* Fiber.interrupt(again.fiber)
      })
    )
  )

  it.effect("when its backend was ended it listens again, to all channels, and says what may be missing", () =>
    logged((entries) =>
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
          assert.isTrue(events.got.every((one) => one._tag !== "Resubscribed" || one.lostForMs >= 0))
          assert.deepStrictEqual(plain.got, ["d1", "d2"])
          assert.deepStrictEqual(yield* listen, { connects: 3, open: 1 })
          const warned = entries.filter(({ level, text }) => level === "Warning" && text.includes("listens"))
          assert.deepStrictEqual(
            warned.map(({ text }) => text.includes("listens again. ")),
            [false, true, false, true]
          )
          // A listener that begins later has missed nothing that it was promised.
          const later = yield* collect(PgSql.listen("c"))
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
  )

  it.effect("Sql.reset replaces the connection, and each listener is told; Sql.suspend does not affect it", () =>
    onPool({}, (name) =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const events = yield* collect(PgSql.listen("c"))
        yield* listening(name, 'LISTEN "c"')
        yield* Sql.reset()
        yield* came("it listens again", () => events.got.length === 1)
        assert.strictEqual(events.got[0]!._tag, "Resubscribed")
        assert.deepStrictEqual(yield* listen, { connects: 2, open: 1 })
        yield* Sql.suspend()
        const other = yield* collect(PgSql.listen("d"))
        yield* listening(name, 'LISTEN "d"')
        yield* primary.query("select pg_notify('c', 'x'), pg_notify('d', 'y')")
        yield* came("both have come", () => events.got.length === 2 && other.got.length === 1)
        yield* Sql.resume
        yield* Fiber.interruptAll([events.fiber, other.fiber])
      })
    )
  )

  it.effect(
    "Sql.drain ends what listens with PoolClosed before the work that is under way, and closes the connection",
    () =>
      onPool({}, (name) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(Effect.flip(Stream.runDrain(PgSql.listen("c"))))
          yield* listening(name, 'LISTEN "c"')
          const work = yield* Effect.fork(Sql.withConnection(Effect.zipRight(pid, Fiber.join(fiber))))
          yield* eventually(
            "the work has begun",
            Effect.map(Sql.stats, ({ write }) => write.using === 1)
          )
          yield* Sql.drain({ within: "30 seconds" })
          assert.strictEqual(SqlReason.of(yield* Fiber.join(work))._tag, "PoolClosed")
          yield* closed
          assert.strictEqual((yield* reasonOf(Stream.runDrain(PgSql.listen("c"))))._tag, "PoolClosed")
        })
      )
  )

  it.effect("while the server is away it goes on trying; a listener that begins meanwhile gets a typed failure", () =>
    Effect.gen(function* () {
      const cluster = yield* PgCluster.PgCluster
      const proxy = yield* FaultProxy.make({ target: cluster.primary })
      const url = yield* urlThrough(proxy)
      yield* onPool({ url, pool: { acquireTimeout: "1 second" } }, (name) =>
        Effect.gen(function* () {
          const sql = yield* PgClient.PgClient
          const old = yield* collect(PgSql.listen("c"))
          yield* listening(name, 'LISTEN "c"')
          yield* proxy.refuse
          yield* proxy.reset
          yield* closed
          const reason = yield* reasonOf(Stream.runDrain(PgSql.listen("c")))
          assert.strictEqual(reason._tag, "ConnectFailed")
          assert.strictEqual(reason.code, "ECONNREFUSED")
          yield* proxy.heal
          yield* came("it listens again", () => old.got.length === 1)
          yield* eventually("the pool works again", Effect.map(Effect.exit(pid), Exit.isSuccess))
          yield* sql.notify("c", "back")
          yield* came("it has come", () => old.got.length === 2)
          assert.deepStrictEqual(
            old.got.map(({ _tag }) => _tag),
            ["Resubscribed", "Notification"]
          )
          yield* Fiber.interrupt(old.fiber)
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect(
    "on a path that swallows everything each wait has its bound: connect, acquire timeout, deadline, interruption",
    () =>
      Effect.gen(function* () {
        const cluster = yield* PgCluster.PgCluster
        const proxy = yield* FaultProxy.make({ target: cluster.primary })
        const url = yield* urlThrough(proxy)
        const run = Stream.runDrain(PgSql.listen("c"))
        const silent = (
          pool: NonNullable<PgSql.PgSqlConfig["pool"]>,
          body: Effect.Effect<void, unknown, Sql.Sql | PgClient.PgClient>
        ) =>
          Effect.zipRight(
            proxy.blackhole(),
            onPool({ url, startup: "lazy", pool: { minIdle: 0, validateTimeout: "50 millis", ...pool } }, () => body)
          ).pipe(Effect.ensuring(Effect.zipRight(proxy.reset, Effect.ignore(proxy.heal))))
        yield* silent(
          { connectTimeout: "200 millis", acquireTimeout: "1 minute" },
          Effect.gen(function* () {
            const error = yield* Effect.flip(run)
            assert.strictEqual(SqlReason.of(error)._tag, "ConnectFailed")
            assert.include(error.message, "no answer within 200 ms")
          })
        )
        yield* silent(
          { connectTimeout: "1 minute", acquireTimeout: "200 millis" },
          Effect.gen(function* () {
            const error = yield* Effect.flip(run)
            assert.strictEqual(SqlReason.of(error)._tag, "AcquireTimeout")
            assert.include(error.message, "within 200 ms")
            const declared = Sql.withAcquireTimeout("1 minute")(Sql.withDeadline(Date.now() + 200)(run))
            assert.strictEqual((yield* reasonOf(Effect.uninterruptible(declared)))._tag, "StatementTimeout")
            const fiber = yield* Effect.fork(Sql.withAcquireTimeout("1 minute")(run))
            yield* eventually(
              "it connects",
              Effect.map(proxy.connections, (n) => n > 0)
            )
            yield* atOnce(Fiber.interrupt(fiber))
          })
        )
      }).pipe(Effect.scoped)
  )

  it.effect(
    "at the deadline of its caller a listener that hears fails with StatementTimeout, and takes nothing from others",
    () =>
      onPool({}, (name) =>
        Effect.gen(function* () {
          const sql = yield* PgClient.PgClient
          const other = yield* collect(PgSql.listen("c"))
          yield* listening(name, 'LISTEN "c"')
          const reason = yield* reasonOf(Sql.withDeadline(Date.now() + 300)(Stream.runDrain(PgSql.listen("c"))))
          assert.strictEqual(reason._tag, "StatementTimeout")
          yield* sql.notify("c", "x")
          yield* came("it has come", () => other.got.length === 1)
          yield* Fiber.interrupt(other.fiber)
        })
      )
  )

  it.effect("names that no server keeps are refused, by listen and by notify, and odd ones work", () =>
    onPool({}, (name) =>
      Effect.gen(function* () {
        const sql = yield* PgClient.PgClient
        const bad: ReadonlyArray<readonly [unknown, RegExp]> = [
          ["", /is empty/],
          ["a\0b", /NUL/],
          ["\ud800", /surrogate/],
          ["x".repeat(64), /has 64 bytes, of which PostgreSQL keeps 63/],
          ["é".repeat(32), /has 64 bytes/],
          [undefined, /is no text/]
        ]
        for (const [channel, says] of bad) {
          for (const verb of [
            Stream.runDrain(PgSql.listen(channel as string)),
            Stream.runDrain(sql.listen(channel as string)),
            sql.notify(channel as string, "x")
          ]) {
            const error = yield* Effect.flip(verb)
            assert.strictEqual(SqlReason.of(error)._tag, "InvalidUse")
            assert.match(error.message, says)
          }
        }
        assert.deepStrictEqual(yield* listen, { connects: 0, open: 0 })
        const odd = ["x".repeat(63), `${"é".repeat(31)}x`, 'a"b""c', "a'b;--\n", "UPPER lower", "*", "listen", "🐘"]
        const all = yield* Effect.forEach(odd, (channel) => collect(sql.listen(channel)))
        yield* listening(name, 'LISTEN "🐘"')
        yield* Effect.forEach(odd, (channel) => sql.notify(channel, channel))
        yield* came("all have come", () => all.every(({ got }) => got.length === 1))
        assert.deepStrictEqual(
          all.flatMap(({ got }) => got),
          odd
        )
        yield* Fiber.interruptAll(all.map(({ fiber }) => fiber))
      })
    )
  )

  it.effect(
    "a payload is sent up to the last byte that the server takes, and refused beyond it, without being shown",
    () =>
      onPool({}, (name) =>
        Effect.gen(function* () {
          const sql = yield* PgClient.PgClient
          const { fiber, got } = yield* collect(sql.listen("c"))
          yield* listening(name, 'LISTEN "c"')
          const longest = `${"é".repeat(3_999)}x`
          yield* sql.notify("c", longest)
          yield* came("it has come", () => got.length === 1)
          assert.strictEqual(got[0], longest)
          const error = yield* Effect.flip(sql.notify("c", `${longest}y`))
          assert.strictEqual(SqlReason.of(error)._tag, "InvalidData")
          assert.include(error.message, "has 8000 bytes, and PostgreSQL takes 7999")
          assert.notInclude(error.message, "éé")
          yield* Fiber.interrupt(fiber)
        })
      )
  )

  it.effect("a listener that does not read is told how much it has lost, in its place; the others lose nothing", () =>
    logged((entries) =>
      onPool({}, (name) =>
        Effect.gen(function* () {
          const { primary } = yield* PgCluster.PgCluster
          const go = yield* Effect.makeLatch(false)
          const slow: Array<PgSql.ListenEvent> = []
          const fiber = yield* Effect.fork(
            Stream.runForEach(PgSql.listen("c"), (event) =>
              Effect.zipRight(
                Effect.sync(() => slow.push(event)),
                go.await
              )
            )
          )
          const other = yield* collect(PgSql.listen("c"))
          yield* listening(name, 'LISTEN "c"')
          yield* primary.query("select pg_notify('c', 'first')")
          yield* came("it has begun to read", () => slow.length === 1)
          const many = "select count(pg_notify('c', n::text)) from generate_series(1, 10500) n"
          yield* primary.query(many)
          yield* came("the other has all of them", () => other.got.length === 10_501)
          yield* go.open
          yield* came("it has read what was kept", () => slow.length === 10_002)
          assert.deepStrictEqual(slow.at(-1), { _tag: "Overflowed", channel: "c", missed: 500 })
          yield* primary.query("select pg_notify('c', 'last')")
          yield* came("it goes on", () => slow.length === 10_003)
          assert.strictEqual(entries.filter(({ text }) => text.includes("does not read its notifications")).length, 1)
          yield* Fiber.interruptAll([fiber, other.fiber])
        })
      )
    )
  )

  it.effect("a server that ends idle sessions does not end the one that listens", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      yield* primary.query("create role idler login superuser password 'sluice'")
      yield* primary.query("alter role idler set idle_session_timeout = '200ms'")
      const url = Redacted.make(Redacted.value(primary.url).replace("//sluice:", "//idler:"))
      yield* onPool({ url, pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          const { fiber, got } = yield* collect(PgSql.listen("c"))
          yield* eventually(
            "it is heard",
            Effect.zipRight(
              primary.query("select pg_notify('c', '')"),
              Effect.sync(() => got.length > 0)
            )
          )
          const ended = Effect.map(Sql.stats, ({ write }) => write.closed.error)
          const before = yield* ended
          yield* pid
          yield* eventually(
            "a session that became idle later was ended",
            Effect.map(ended, (n) => n > before)
          )
          assert.deepStrictEqual(yield* listen, { connects: 1, open: 1 })
          yield* Fiber.interrupt(fiber)
        })
      )
    })
  )

  it.effect("LISTEN that is sent as a statement reaches nobody, which is said once; listen itself says nothing", () =>
    logged((entries) =>
      onPool({ pool: { maxSize: 1 } }, (name) =>
        Effect.gen(function* () {
          const { fiber } = yield* collect(PgSql.listen("c"))
          yield* listening(name, 'LISTEN "c"')
          const warned = () => entries.filter(({ level, text }) => level === "Warning" && text.includes("PgSql.listen"))
          assert.lengthOf(warned(), 0)
          yield* Sql.query("listen c")
          yield* Sql.withTransaction(Sql.query("listen d"))
          yield* came("it was said", () => warned().length > 0)
          assert.lengthOf(warned(), 1)
          const [left] = yield* Sql.query<{ n: number }>("select count(*)::int as n from pg_listening_channels()")
          assert.strictEqual(left!.n, 0)
          yield* Fiber.interrupt(fiber)
        })
      )
    )
  )

  /** On a clock that is ten times as fast, on a machine that may be slow. */
  const patient = { connectTimeout: "5 minutes", acquireTimeout: "5 minutes" } as const

  it.effect("the connection is closed ten seconds after the last listener has left, and opened again", () =>
    onPool({ pool: patient }, (name) =>
      Effect.gen(function* () {
        for (const connects of [1, 2]) {
          const { fiber } = yield* collect(PgSql.listen("c"))
          yield* listening(name, 'LISTEN "c"')
          assert.deepStrictEqual(yield* listen, { connects, open: 1 })
          yield* Fiber.interrupt(fiber)
          yield* closed
        }
      }).pipe(Effect.withClock(Clock.make()))
    ).pipe(fast(10))
  )

  it.effect("a path that has silently stopped delivering is noticed, and each listener is told", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: (yield* PgCluster.PgCluster).primary })
      const url = yield* urlThrough(proxy)
      yield* onPool({ url, pool: patient }, (name) =>
        Effect.gen(function* () {
          const { got, fiber } = yield* collect(PgSql.listen("c"))
          yield* listening(name, 'LISTEN "c"')
          yield* proxy.blackhole({ established: true, new: false })
          yield* came("it listens again", () => got.length === 1)
          assert.strictEqual(got[0]!._tag, "Resubscribed")
          yield* Fiber.interrupt(fiber)
          yield* proxy.reset
          yield* proxy.heal
        }).pipe(Effect.withClock(Clock.make()))
      )
    }).pipe(Effect.scoped, fast(10))
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
      yield* atOnce(Scope.close(scope, Exit.void))
      assert.strictEqual(SqlReason.of(yield* Fiber.join(fiber))._tag, "PoolClosed")
      assert.isEmpty(yield* backends(name))
      assert.strictEqual(
        SqlReason.of(yield* Effect.provide(Effect.flip(Stream.runDrain(PgSql.listen("c"))), context))._tag,
        "PoolClosed"
      )
    })
  )
})
