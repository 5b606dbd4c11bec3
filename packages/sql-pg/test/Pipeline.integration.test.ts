import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { FaultProxy, PgCluster } from "@sluice/testkit"
import { Effect, Exit, Fiber, Random, Stream } from "effect"
import { atOnce, booksBalance, eventually, onPool, table, urlThrough } from "./support/fixture.js"
import { connectionWithin, learn, oneConnection, onPacked } from "./support/packing.js"

const pidOf = "select pg_backend_pid() as pid, $1::int as n"

const times = <A>(n: number, f: (i: number) => A) => Array.from({ length: n }, (_, i) => f(i))

const all = <A, E, R>(effects: Iterable<Effect.Effect<A, E, R>>) => Effect.all(effects, { concurrency: "unbounded" })

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("packed reads", (it) => {
  it.effect("reads that are known to be short share a connection, and leave in one write", () =>
    onPacked({ pool: { maxSize: 10 } }, ({ packs }) =>
      Effect.gen(function* () {
        yield* learn(pidOf, [0])
        const before = packs()
        const rows = yield* all(times(64, (n) => Sql.query<{ pid: number; n: number }>(pidOf, [n])))
        assert.strictEqual(packs() - before, 64)
        assert.deepStrictEqual(
          rows.map(([row]) => row!.n),
          times(64, (n) => n)
        )
        assert.strictEqual(new Set(rows.map(([row]) => row!.pid)).size, 1)
        assert.strictEqual((yield* Sql.stats).write.size, 1)
      })
    )
  )

  it.effect("the writes of one tick are one write", () =>
    Effect.gen(function* () {
      const { connection, read } = yield* oneConnection
      yield* read(pidOf, [0])
      let writes = 0
      const { stream } = connection.wire as any
      const { _write, _writev } = stream
      const counted = (write: Function) =>
        function (this: unknown, ...args: Array<unknown>) {
          writes++
          return write.apply(this, args)
        }
      stream._write = counted(_write)
      stream._writev = counted(_writev)
      yield* all(times(50, (n) => read(pidOf, [n])))
      assert.strictEqual(writes, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("10,000 mixed reads and failures: every answer goes to its caller", () =>
    onPacked({ pool: { maxSize: 3 } }, ({ packs }) =>
      Effect.gen(function* () {
        const { client: sql } = yield* Sql.Sql
        const kinds: Array<(n: number) => Effect.Effect<void, unknown, Sql.Sql>> = [
          (n: number) =>
            Effect.map(Sql.query<any>("select $1::int as n", [n]), ([row]) => assert.strictEqual(row.n, n)),
          (n: number) =>
            Effect.map(
              Sql.query<any>("select g as n, $1::text as t from generate_series(1, $2::int) g", [`t${n}`, n % 7]),
              (rows) => {
                assert.strictEqual(rows.length, n % 7)
                for (const row of rows) assert.strictEqual(row.t, `t${n}`)
              }
            ),
          (n: number) =>
            Effect.map(sql`select ${n}::int as n, 'x'`.values, (rows) => assert.deepStrictEqual(rows, [[n, "x"]])),
          (n: number) =>
            Effect.map(Effect.flip(Sql.query("select $1::int / 0", [n])), (error) =>
              assert.strictEqual((SqlReason.of(error).cause as any).code, "22012")
            ),
          (n: number) =>
            Effect.map(Sql.query<any>(`select $1::int as n /* ${n % 300} */`, [n]), ([row]) =>
              assert.strictEqual(row.n, n)
            )
        ]
        for (const kind of kinds) for (let i = 0; i < 5; i++) yield* kind(i)
        yield* Effect.forEach(
          times(10_000, (n) => n),
          (n) => Effect.flatMap(Random.nextIntBetween(0, kinds.length), (kind) => kinds[kind]!(n)),
          { concurrency: 200, discard: true }
        ).pipe(Effect.withRandom(Random.make("packed")))
        assert.isAbove(packs(), 5_000)
      })
    )
  )

  it.effect("a failure does not touch its neighbours", () =>
    Effect.gen(function* () {
      const { connection, read } = yield* oneConnection
      const exits = yield* all(times(40, (n) => Effect.exit(read("select 10 / $1::int as n", [n % 4]))))
      for (const [n, exit] of exits.entries()) assert.strictEqual(Exit.isFailure(exit), n % 4 === 0)
      assert.strictEqual(connection.status(), "idle")
    }).pipe(Effect.scoped)
  )

  it.effect("a text that cannot be prepared fails for its own reason, for each of its callers", () =>
    Effect.gen(function* () {
      const { connection, read } = yield* oneConnection
      const reads = times(10, (n) => Effect.flip(read("select $1::int + nope as n", [n])))
      for (const error of yield* all(reads)) assert.strictEqual((SqlReason.of(error).cause as any).code, "42703")
      assert.strictEqual((yield* read("select 1 as n"))[0].n, 1)
      assert.strictEqual(connection.status(), "idle")
    }).pipe(Effect.scoped)
  )

  it.effect("the neighbours of a cancelled read never notice, and the connection is kept", () =>
    Effect.gen(function* () {
      const { connection, driver, read } = yield* oneConnection
      const { processID } = connection.client
      for (let round = 0; round < 20; round++) {
        const slow = yield* Effect.fork(read("select pg_sleep(30)"))
        const neighbours = yield* Effect.fork(all(times(30, (n) => read(pidOf, [n]))))
        while (connection.depth < 31) yield* Effect.yieldNow()
        yield* atOnce(Fiber.interrupt(slow))
        const rows = yield* atOnce(Fiber.join(neighbours))
        for (const [n, [row]] of rows.entries()) assert.deepStrictEqual(row, { pid: processID, n })
        yield* eventually(
          "it is open again",
          Effect.sync(() => driver.packing.admits(connection))
        )
      }
    }).pipe(Effect.scoped)
  )

  it.effect("a read that is hit by the cancel of its neighbour is sent again, and its caller does not notice", () =>
    Effect.gen(function* () {
      const { connection, driver, read } = yield* oneConnection
      const other = yield* oneConnection
      const slow = yield* Effect.fork(read("select pg_sleep(30)"))
      const innocent = yield* Effect.fork(read("select pg_sleep(0.2), 7 as n"))
      while (connection.depth < 2) yield* Effect.yieldNow()
      yield* Fiber.interrupt(slow)
      yield* eventually(
        "the innocent one runs",
        Effect.sync(() => connection.aborting !== undefined && connection.depth === 1)
      )
      assert.isFalse(driver.packing.admits(connection))
      // As if the cancel had come a moment later.
      yield* other.read("select pg_cancel_backend($1)", [connection.client.processID])
      assert.strictEqual((yield* Fiber.join(innocent))[0].n, 7)
      assert.strictEqual(connection.held.length, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("reads that come during a cancel are held back, and sent in the order of asking", () =>
    Effect.gen(function* () {
      const { connection, read } = yield* oneConnection
      const slow = yield* Effect.fork(read("select pg_sleep(30)"))
      while (connection.depth < 1) yield* Effect.yieldNow()
      yield* Fiber.interrupt(slow)
      while (connection.aborting === undefined) yield* Effect.sleep(0)
      const order: Array<number> = []
      const reads = yield* Effect.fork(
        all(times(10, (n) => Effect.map(read("select $1::int as n", [n]), ([row]) => order.push(row.n))))
      )
      while (connection.held.length < 10) yield* Effect.yieldNow()
      yield* Fiber.join(reads)
      assert.deepStrictEqual(
        order,
        times(10, (n) => n)
      )
    }).pipe(Effect.scoped)
  )

  it.effect("a read that somebody else cancels fails as it would alone", () =>
    Effect.gen(function* () {
      const { connection, read } = yield* oneConnection
      const other = yield* oneConnection
      const slow = yield* Effect.fork(Effect.flip(read("select pg_sleep(30)")))
      yield* eventually(
        "it was cancelled",
        Effect.map(
          other.read(
            "select pg_cancel_backend(pid) as done from pg_stat_activity where pid = $1 and query like '%pg_sleep%'",
            [connection.client.processID]
          ),
          (rows) => rows.length === 1
        )
      )
      assert.strictEqual(SqlReason.of(yield* Fiber.join(slow))._tag, "Cancelled")
    }).pipe(Effect.scoped)
  )

  it.effect("a short read whose caller leaves is not cancelled: its answer is thrown away", () =>
    Effect.gen(function* () {
      const { connection, driver, read } = yield* oneConnection
      let cancels = 0
      const watch = setInterval(() => {
        if (connection.aborting !== undefined) cancels++
      }, 1)
      for (let i = 0; i < 50; i++) {
        const leaving = yield* Effect.fork(read(pidOf, [i]))
        while (connection.depth === 0) yield* Effect.yieldNow()
        yield* Fiber.interrupt(leaving)
        yield* driver.abort(connection)
        assert.strictEqual(connection.status(), "idle")
      }
      clearInterval(watch)
      assert.isAtMost(cancels, 2)
    }).pipe(Effect.scoped)
  )

  it.effect("3,000 packed reads interrupted at any moment: no stray cancel, nothing leaks, nothing runs on", () =>
    onPacked({ pool: { maxSize: 4 } }, ({ packs }) =>
      Effect.gen(function* () {
        const text = "select pg_sleep($1::float8), $2::int as n"
        yield* learn(text, [0, 0])
        let answered = 0
        yield* Effect.forEach(
          times(3_000, (n) => n),
          (n) =>
            Effect.gen(function* () {
              const seconds = n % 100 === 0 ? 20 : (yield* Random.nextIntBetween(0, 3)) / 1_000
              const fiber = yield* Effect.fork(Sql.query<{ n: number }>(text, [seconds, n]))
              if (seconds < 1 && n % 3 === 0) {
                const [row] = yield* Fiber.join(fiber)
                assert.strictEqual(row!.n, n)
                answered++
              } else {
                yield* Effect.sleep(yield* Random.nextIntBetween(0, 12))
                const exit = yield* atOnce(Fiber.interrupt(fiber))
                if (Exit.isFailure(exit)) assert.isTrue(Exit.isInterrupted(exit), String(exit.cause))
              }
            }),
          { concurrency: 40, discard: true }
        )
        assert.isAbove(answered, 900)
        assert.isAbove(packs(), 2_000)
        yield* booksBalance
        assert.isAtMost((yield* Sql.stats).write.size, 4)
      })
    )
  )

  it.effect("what is not a short read of its own, of class normal or better, is never packed", () =>
    onPacked({ pool: { maxSize: 4 } }, ({ packs }) =>
      Effect.gen(function* () {
        yield* table("packed_items", "id int primary key")
        const client = (yield* Sql.Sql).client
        const query = (sql: string) => Sql.query(sql)
        const five = <A, E, R>(what: Effect.Effect<A, E, R>) => Effect.replicateEffect(what, 5, { discard: true })
        yield* learn("select 1 as n")
        const before = packs()
        yield* five(query("insert into packed_items values (1) on conflict do nothing"))
        yield* five(query("update packed_items set id = id returning id"))
        yield* five(query("select id from packed_items for update"))
        yield* five(query("with a as (select 1) select * from a"))
        yield* five(query("select 1; select 2"))
        yield* five(Sql.withTransaction(query("select 1 as n")))
        yield* five(Sql.withConnection(query("select 1 as n")))
        yield* five(Sql.withPriority("low")(query("select 1 as n")))
        yield* five(Sql.withPriority("background")(query("select 1 as n")))
        yield* five(Sql.query("select 1 as n", [], { prepare: false }))
        yield* five(Stream.runDrain(client.unsafe("select 1 as n").stream))
        yield* five(Effect.scoped(Effect.flatMap(client.reserve, (c) => c.execute("select 1 as n", [], undefined))))
        assert.strictEqual(packs(), before)
        yield* Sql.withPriority("high")(query("select 1 as n"))
        assert.strictEqual(packs(), before + 1)
      })
    )
  )

  it.effect("100 callers of a slow statement spread over the connections", () =>
    onPool({ pool: { maxSize: 10 } }, () =>
      Effect.gen(function* () {
        const slow = (n: number) =>
          Sql.query<{ pid: number }>("select pg_backend_pid() as pid, pg_sleep(0.02), $1::int as n", [n])
        yield* Effect.replicateEffect(slow(0), 5)
        const rows = yield* all(times(100, slow))
        const uses = new Map<number, number>()
        for (const [row] of rows) uses.set(row!.pid, (uses.get(row!.pid) ?? 0) + 1)
        assert.isAtLeast(uses.size, 8)
        assert.isBelow(Math.max(...uses.values()), 25)
      })
    )
  )

  it.effect("nothing joins a read that takes longer than its text has led to expect", () =>
    Effect.gen(function* () {
      const { connection, driver, read } = yield* connectionWithin({ short: 1, ahead: 2 })
      const reading = yield* Effect.fork(read("select pg_sleep(0.3)"))
      yield* eventually(
        "it is closed to others",
        Effect.sync(() => connection.depth === 1 && !driver.packing.admits(connection))
      )
      assert.isNull(reading.unsafePoll())
      yield* Fiber.join(reading)
      assert.isTrue(driver.packing.admits(connection))
    }).pipe(Effect.scoped)
  )

  it.effect("neither a long way nor idle time makes a short read look slow, and it does not hide a slow one", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      const proxy = yield* FaultProxy.make({ target: primary })
      yield* proxy.delay(10)
      const limits = { short: 8, ahead: Infinity }
      yield* onPacked(
        { url: yield* urlThrough(proxy), pool: { maxSize: 1 } },
        ({ packs }) =>
          Effect.gen(function* () {
            const slow = "select pg_sleep(0.02), $1::int as n"
            for (let i = 0; i < 20; i++) {
              yield* Sql.query(pidOf, [i])
              if (i < 6) yield* Sql.query(slow, [i])
              yield* Effect.sleep(10)
            }
            const before = packs()
            yield* all(times(20, (n) => Sql.query(pidOf, [n])))
            assert.strictEqual(packs() - before, 20)
            yield* Sql.query(slow, [0])
            assert.strictEqual(packs() - before, 20)
          }),
        limits
      )
    }).pipe(Effect.scoped)
  )

  it.effect("pipeline: false gives each statement a connection for itself", () =>
    onPool({ pool: { maxSize: 4 }, pipeline: false }, () =>
      Effect.gen(function* () {
        yield* learn(pidOf, [0])
        yield* all(times(4, () => Sql.query("select pg_sleep(0.05)")))
        const { write } = yield* Sql.stats
        assert.isAbove(write.size, 1)
        const held = yield* all(times(write.size, (n) => Sql.query<{ pid: number }>(pidOf, [n])))
        assert.strictEqual(new Set(held.map(([row]) => row!.pid)).size, write.size)
      })
    )
  )

  it.effect("a session that is cleaned after each use can be shared", () =>
    onPacked({ pool: { maxSize: 2 }, resetOnRelease: "always" }, () =>
      Effect.gen(function* () {
        yield* learn(pidOf, [0])
        for (let round = 0; round < 20; round++) {
          const rows = yield* all(times(20, (n) => Sql.query<{ n: number }>(pidOf, [n])))
          assert.deepStrictEqual(
            rows.map(([row]) => row!.n),
            times(20, (n) => n)
          )
        }
      })
    )
  )

  it.effect("a connection that is lost fails every read on it once, and the pool goes on", () =>
    onPacked({ pool: { maxSize: 2 } }, ({ applicationName }) =>
      Effect.gen(function* () {
        const other = yield* oneConnection
        yield* learn("select pg_sleep($1::float8)", [0])
        let settled = 0
        const reads = yield* Effect.fork(
          all(
            times(30, () =>
              Effect.tap(Effect.flip(Sql.query("select pg_sleep($1::float8)", [10])), () =>
                Effect.sync(() => settled++)
              )
            )
          )
        )
        yield* eventually(
          "it was ended",
          Effect.map(
            other.read(
              "select pg_terminate_backend(pid) as done from pg_stat_activity where application_name = $1 and query like '%pg_sleep%' and state = 'active'",
              [applicationName]
            ),
            (rows) => rows.length > 0
          )
        )
        for (const error of yield* Fiber.join(reads)) {
          const reason = SqlReason.of(error)
          assert.include(["ConnectionLost", "ServerShutdown"], reason._tag)
          assert.include(["A", "R"], reason.retry)
        }
        assert.strictEqual(settled, 30)
        const [row] = yield* Sql.query<{ n: number }>("select 5 as n")
        assert.strictEqual(row!.n, 5)
      }).pipe(Effect.scoped)
    )
  )

  it.effect("more texts than a connection keeps: all are answered, and the server keeps a hundred", () =>
    Effect.gen(function* () {
      const { read } = yield* oneConnection
      for (let round = 0; round < 3; round++) {
        const rows = yield* all(times(350, (n) => read(`select $1::int as n, ${n % 175} as text`, [n])))
        for (const [n, [row]] of rows.entries()) assert.deepStrictEqual(row, { n, text: n % 175 })
      }
      for (let n = 0; n < 300; n++) assert.strictEqual((yield* read(`select ${n} as n`))[0].n, n)
      const [kept] = yield* read("select count(*)::int as n from pg_prepared_statements")
      assert.isAtMost(kept.n, 100)
    }).pipe(Effect.scoped)
  )

  it.effect("the parts of pg that packing stands on are there", () =>
    Effect.gen(function* () {
      const { connection, read } = yield* oneConnection
      assert.isTrue((connection.client as any).pipeline)
      yield* read("select 1 as n")
      const { stream } = connection.wire
      const first = yield* Effect.fork(read("select pg_sleep(0.05)"))
      while (connection.depth < 1) yield* Effect.yieldNow()
      yield* Effect.sleep(5)
      const written = stream.bytesWritten
      const second = yield* Effect.fork(read("select 1 as n"))
      while (connection.depth < 2) yield* Effect.yieldNow()
      yield* Effect.promise(() => Promise.resolve())
      // Sent although the first has no answer yet.
      assert.isAbove(stream.bytesWritten, written)
      assert.strictEqual(connection.depth, 2)
      yield* Fiber.joinAll([first, second])
    }).pipe(Effect.scoped)
  )
})
