/** Short reads of several callers on one connection: what holds for each of our drivers that packs. */
import { assert, layer, type Vitest } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { limits as shortOnly } from "@sluice/sql/driver/Packing"
import { FaultProxy } from "@sluice/testkit"
import { Effect, Exit, Fiber, type Layer, Random, Stream } from "effect"
import { atOnce } from "../../packages/sql/test/support/checks.js"
import { booksBalance, eventually, unique } from "./contract.js"
import { databases, Server } from "./databases.js"
import * as Drivers from "./drivers.js"
import { connectionOf, learn, onLayer, onPacked, type Packer, packers } from "./packing.js"

const times = <A>(n: number, f: (i: number) => A) => Array.from({ length: n }, (_, i) => f(i))

const all = <A, E, R>(effects: Iterable<Effect.Effect<A, E, R>>) => Effect.all(effects, { concurrency: "unbounded" })

const codeOf = (error: unknown): unknown => (SqlReason.of(error as any).cause as any).code

const isTrue = (what: string, condition: () => boolean) => eventually(what, Effect.sync(condition))

const suite = (it: Vitest.MethodsNonLive<Server, true>, packer: Packer): void => {
  const { texts } = packer

  const connection = connectionOf(packer)

  /** A connection on which a read sleeps that has been prepared before, as the oldest. */
  const asleep = (seconds: number) =>
    Effect.gen(function* () {
      const packed = yield* connection
      yield* packed.read(texts.sleep, [0, 0])
      const slow = yield* Effect.fork(packed.read(texts.sleep, [seconds, 1]))
      yield* isTrue("it was sent", () => packed.line.pipeline.depth === 1)
      return { ...packed, slow }
    })

  /** The server is at work for the client of this name. */
  const sleeps = (name: string) =>
    Effect.flatMap(Server, (server) =>
      eventually(
        "it sleeps on the server",
        Effect.map(server.sessions(name), (all) => all.some((one) => one.isRunning && one.text.includes("sleep(")))
      )
    )

  it.effect("reads that are known to be short share a connection", () =>
    onPacked(packer, { pool: { maxSize: 10 } }, ({ packs }) =>
      Effect.gen(function* () {
        yield* learn(texts.session, [0])
        const before = packs()
        const rows = yield* all(times(64, (n) => Sql.query<{ id: number; n: number }>(texts.session, [n])))
        assert.strictEqual(packs() - before, 64)
        assert.deepStrictEqual(
          rows.map(([row]) => row!.n),
          times(64, (n) => n)
        )
        assert.strictEqual(new Set(rows.map(([row]) => row!.id)).size, 1)
        assert.strictEqual((yield* Sql.stats).write.size, 1)
        // The other verb, which gives more than the rows.
        const results = yield* all(times(64, (n) => Sql.execute<{ n: number }>(texts.session, [n])))
        assert.strictEqual(packs() - before, 128)
        assert.deepStrictEqual(
          results.map(({ rows }) => rows[0]!.n),
          times(64, (n) => n)
        )
      })
    )
  )

  it.effect("the writes of one tick are one write", () =>
    Effect.gen(function* () {
      const { line, read } = yield* connection
      let writes = 0
      const stream = line.socket as any
      const { _write, _writev } = stream
      const counted = (write: Function) =>
        function (this: unknown, ...args: Array<unknown>) {
          writes++
          return write.apply(this, args)
        }
      stream._write = counted(_write)
      stream._writev = counted(_writev)
      yield* all(times(50, (n) => read(texts.session, [n])))
      assert.strictEqual(writes, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("a read is sent although the one before it has no answer yet", () =>
    Effect.gen(function* () {
      const { line, read, slow } = yield* asleep(1)
      const written = line.socket.bytesWritten
      const second = yield* Effect.fork(read(texts.session, [1]))
      yield* isTrue("the second was sent", () => line.pipeline.depth === 2)
      assert.isAbove(line.socket.bytesWritten, written)
      assert.isNull(slow.unsafePoll())
      const [first] = yield* Fiber.join(slow)
      const [next] = yield* Fiber.join(second)
      assert.strictEqual(next.id, first.id)
    }).pipe(Effect.scoped)
  )

  it.effect("5,000 mixed reads and failures: every answer goes to its caller", () =>
    onPacked(packer, { pool: { maxSize: 3 } }, ({ packs }) =>
      Effect.gen(function* () {
        const { client } = yield* Sql.Sql
        const kinds: Array<(n: number) => Effect.Effect<void, unknown, Sql.Sql>> = [
          (n) => Effect.map(Sql.query<any>(texts.number(), [n]), ([row]) => assert.strictEqual(row.n, n)),
          (n) =>
            Effect.map(Sql.query<any>(texts.rows, [`t${n}`, n % 7]), (rows) => {
              assert.strictEqual(rows.length, n % 7)
              for (const row of rows) assert.strictEqual(row.t, `t${n}`)
            }),
          (n) =>
            Effect.map(client.unsafe(texts.number("values"), [n]).values, (rows) =>
              assert.deepStrictEqual(rows, [[n]])
            ),
          (_) =>
            Effect.map(Effect.flip(Sql.query(texts.failing, [0])), (error) =>
              assert.strictEqual(codeOf(error), texts.failure)
            ),
          (n) => Effect.map(Sql.query<any>(texts.number(String(n % 300)), [n]), ([row]) => assert.strictEqual(row.n, n))
        ]
        for (const kind of kinds) for (let i = 0; i < 5; i++) yield* kind(i)
        yield* Effect.forEach(
          times(5_000, (n) => n),
          (n) => Effect.flatMap(Random.nextIntBetween(0, kinds.length), (kind) => kinds[kind]!(n)),
          { concurrency: 200, discard: true }
        ).pipe(Effect.withRandom(Random.make("packed")))
        assert.isAbove(packs(), 2_500)
      })
    )
  )

  it.effect("a failure does not touch its neighbours", () =>
    Effect.gen(function* () {
      const { line, read } = yield* connection
      const exits = yield* all(times(40, (n) => Effect.exit(read(texts.failing, [n % 4]))))
      for (const [n, exit] of exits.entries()) assert.strictEqual(Exit.isFailure(exit), n % 4 === 0)
      assert.strictEqual(line.status(), "idle")
    }).pipe(Effect.scoped)
  )

  it.effect("a text that cannot be prepared fails for its own reason, for each of its callers", () =>
    Effect.gen(function* () {
      const { line, read } = yield* connection
      const errors = yield* all(times(10, (n) => Effect.flip(read(texts.wrong, [n]))))
      for (const error of errors) assert.strictEqual(codeOf(error), texts.wrongness)
      assert.strictEqual((yield* read("select 1 as n"))[0].n, 1)
      assert.strictEqual(line.status(), "idle")
    }).pipe(Effect.scoped)
  )

  it.effect("a statement that the server has forgotten is prepared again, and no caller notices", () =>
    Effect.gen(function* () {
      const packed = yield* connection
      for (let round = 0; round < 3; round++) {
        yield* packer.forget(packed, texts.session)
        const rows = yield* all(times(20, (n) => packed.read(texts.session, [n])))
        for (const [n, [row]] of rows.entries()) assert.deepStrictEqual(row, { id: packed.id, n })
      }
      assert.strictEqual(packed.line.pipeline.depth, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("the neighbours of a cancelled read never notice, and the connection is kept", () =>
    Effect.gen(function* () {
      const { admits, id, line, read } = yield* connection
      yield* read(texts.sleep, [0, 0])
      for (let round = 0; round < 20; round++) {
        const slow = yield* Effect.fork(read(texts.sleep, [30, 0]))
        const neighbours = yield* Effect.fork(all(times(30, (n) => read(texts.session, [n]))))
        while (line.pipeline.depth < 31) yield* Effect.yieldNow()
        yield* atOnce(Fiber.interrupt(slow))
        const rows = yield* atOnce(Fiber.join(neighbours))
        for (const [n, [row]] of rows.entries()) assert.deepStrictEqual(row, { id, n })
        yield* isTrue("it is open again", admits)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("a read that is hit by the cancel of its neighbour is sent again, and its caller does not notice", () =>
    Effect.gen(function* () {
      const { admits, id, line, name, read, slow } = yield* asleep(30)
      const innocent = yield* Effect.fork(read(texts.sleep, [1.5, 7]))
      yield* isTrue("both were sent", () => line.pipeline.depth === 2)
      yield* Fiber.interrupt(slow)
      yield* isTrue("the innocent one runs", () => line.pipeline.isAborting && line.pipeline.depth === 1)
      assert.isFalse(admits())
      yield* sleeps(name)
      // As if the cancel had come a moment later.
      yield* Effect.flatMap(Server, (server) => server.query(packer.cancel(id)))
      assert.strictEqual((yield* Fiber.join(innocent))[0].n, 7)
      assert.strictEqual(line.pipeline.heldBack, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("reads that come during a cancel are held back, and sent in the order of asking", () =>
    Effect.gen(function* () {
      const { admits, line, read, slow } = yield* asleep(30)
      yield* Fiber.interrupt(slow)
      while (!line.pipeline.isAborting) yield* Effect.sleep(0)
      assert.isFalse(admits())
      const order: Array<number> = []
      const reads = yield* Effect.fork(
        all(times(10, (n) => Effect.map(read(texts.session, [n]), ([row]) => order.push(row.n))))
      )
      while (line.pipeline.heldBack < 10) yield* Effect.yieldNow()
      yield* Fiber.join(reads)
      assert.deepStrictEqual(
        order,
        times(10, (n) => n)
      )
    }).pipe(Effect.scoped)
  )

  it.effect("a read that is held back during a cancel, and whose caller leaves meanwhile, is not sent", () =>
    Effect.gen(function* () {
      const { line, owed, read, slow } = yield* asleep(30)
      yield* Fiber.interrupt(slow)
      while (!line.pipeline.isAborting) yield* Effect.sleep(0)
      const leaving = yield* Effect.fork(read(texts.session, [1]))
      const staying = yield* Effect.fork(read(texts.session, [2]))
      while (line.pipeline.heldBack < 2) yield* Effect.yieldNow()
      yield* Fiber.interrupt(leaving)
      assert.strictEqual((yield* Fiber.join(staying))[0].n, 2)
      assert.strictEqual(owed(), 0)
    }).pipe(Effect.scoped)
  )

  it.effect("a read that somebody else cancels fails as it would alone", () =>
    Effect.gen(function* () {
      const { id, name, slow } = yield* asleep(30)
      yield* sleeps(name)
      yield* Effect.flatMap(Server, (server) => server.query(packer.cancel(id)))
      assert.strictEqual(SqlReason.of(yield* Effect.flip(Fiber.join(slow)))._tag, "Cancelled")
    }).pipe(Effect.scoped)
  )

  it.effect("a short read whose caller leaves is not cancelled: its answer is thrown away", () =>
    Effect.gen(function* () {
      const { abort, line, read } = yield* connection
      let round = 0
      const cancelled = new Set<number>()
      const watch = setInterval(() => {
        if (line.pipeline.isAborting) cancelled.add(round)
      }, 1)
      for (; round < 50; round++) {
        const leaving = yield* Effect.fork(read(texts.session, [round]))
        while (line.pipeline.depth === 0) yield* Effect.yieldNow()
        yield* Fiber.interrupt(leaving)
        yield* abort
        assert.strictEqual(line.status(), "idle")
      }
      clearInterval(watch)
      // A busy machine makes some of them long, and those are cancelled.
      assert.isBelow(cancelled.size, 25)
    }).pipe(Effect.scoped)
  )

  it.effect("1,500 packed reads interrupted at any moment: no stray cancel, nothing leaks, nothing runs on", () =>
    onPacked(packer, { pool: { maxSize: 4 } }, ({ packs }) =>
      Effect.gen(function* () {
        yield* learn(texts.busy, [0, 0])
        let answered = 0
        yield* Effect.forEach(
          times(1_500, (n) => n),
          (n) =>
            Effect.gen(function* () {
              const seconds = n % 100 === 0 ? 20 : (yield* Random.nextIntBetween(0, 3)) / 1_000
              const fiber = yield* Effect.fork(Sql.query<{ n: number }>(texts.busy, [seconds, n]))
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
        assert.isAbove(answered, 450)
        assert.isAbove(packs(), 1_000)
        yield* booksBalance
        assert.isAtMost((yield* Sql.stats).write.size, 4)
      })
    )
  )

  it.effect("what is not a short read of its own, of class normal or better, is never packed", () =>
    onPacked(packer, { pool: { maxSize: 4 } }, ({ packs }) =>
      Effect.gen(function* () {
        const table = unique("packed")
        yield* Sql.query(`create table ${table} (id int primary key)`)
        const client = (yield* Sql.Sql).client
        const query = (sql: string) => Sql.query(sql)
        const five = <A, E, R>(what: Effect.Effect<A, E, R>) => Effect.replicateEffect(what, 5, { discard: true })
        yield* learn("select 1 as n")
        yield* learn(texts.rows, ["x", 1])
        const before = packs()
        for (const text of texts.alone(table)) yield* five(query(text))
        yield* five(query(`select id from ${table} for update`))
        yield* five(query("with a as (select 1) select * from a"))
        yield* five(query("select 1; select 2"))
        yield* five(Sql.withTransaction(query("select 1 as n")))
        yield* five(Sql.withConnection(query("select 1 as n")))
        yield* five(Sql.withPriority("low")(query("select 1 as n")))
        yield* five(Sql.withPriority("background")(query("select 1 as n")))
        yield* five(Sql.query("select 1 as n", [], { prepare: false }))
        // Known to be short, with a parameter that is not.
        yield* five(Sql.query(texts.rows, ["x".repeat(65_537), 1]))
        yield* five(Stream.runDrain(client.unsafe("select 1 as n").stream))
        yield* five(Effect.scoped(Effect.flatMap(client.reserve, (c) => c.execute("select 1 as n", [], undefined))))
        assert.strictEqual(packs(), before)
        yield* Sql.withPriority("high")(query("select 1 as n"))
        yield* Sql.query(texts.rows, ["x".repeat(65_536), 1])
        assert.strictEqual(packs(), before + 2)
      })
    )
  )

  it.effect("no more than 128 reads are under way on one connection", () =>
    Effect.gen(function* () {
      const { admits, line, read, slow } = yield* asleep(1.5)
      const reads = yield* Effect.fork(all(times(126, (n) => read(texts.session, [n]))))
      yield* isTrue("they were sent", () => line.pipeline.depth === 127)
      assert.isTrue(admits())
      const last = yield* Effect.fork(read(texts.session, [126]))
      yield* isTrue("one more was sent", () => line.pipeline.depth === 128)
      assert.isFalse(admits())
      assert.isNull(slow.unsafePoll())
      yield* Fiber.join(reads)
      yield* Fiber.join(last)
      assert.isTrue(admits())
    }).pipe(Effect.scoped)
  )

  it.effect("100 callers of a slow statement spread over the connections", () =>
    onPacked(
      packer,
      { pool: { maxSize: 10, minIdle: 10 } },
      ({ packs }) =>
        Effect.gen(function* () {
          yield* eventually(
            "ten connections are open",
            Effect.map(Sql.stats, ({ write }) => write.available === 10)
          )
          const slow = (n: number) => Sql.query<{ id: number }>(texts.sleep, [0.02, n])
          yield* Effect.replicateEffect(slow(0), 5)
          const rows = yield* all(times(100, slow))
          const uses = new Map<number, number>()
          for (const [row] of rows) uses.set(row!.id, (uses.get(row!.id) ?? 0) + 1)
          assert.strictEqual(uses.size, 10)
          assert.isBelow(Math.max(...uses.values()), 50)
          assert.strictEqual(packs(), 0)
        }),
      shortOnly
    )
  )

  it.effect("nothing joins a read that takes longer than its text has led to expect", () =>
    Effect.gen(function* () {
      const { admits, line, read } = yield* connectionOf(packer, { short: 1, ahead: 2, late: 4, overdue: Infinity })
      yield* read(texts.sleep, [0, 0])
      const reading = yield* Effect.fork(read(texts.sleep, [1, 0]))
      yield* isTrue("it is closed to others", () => line.pipeline.depth === 1 && !admits())
      assert.isNull(reading.unsafePoll())
      yield* Fiber.join(reading)
      assert.isTrue(admits())
    }).pipe(Effect.scoped)
  )

  it.effect("neither a long way nor idle time makes a short read look slow, and it does not hide a slow one", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: yield* Server })
      yield* proxy.delay(25)
      yield* onPacked(
        packer,
        { at: { port: proxy.port }, pool: { maxSize: 1 } },
        ({ packs }) =>
          Effect.gen(function* () {
            const slow = (n: number) => Sql.query(texts.sleep, [0.1, n])
            for (let i = 0; i < 20; i++) {
              yield* Sql.query(texts.session, [i])
              if (i < 6) yield* slow(i)
              yield* Effect.sleep(25)
            }
            const before = packs()
            yield* all(times(20, (n) => Sql.query(texts.session, [n])))
            assert.strictEqual(packs() - before, 20)
            yield* slow(0)
            assert.strictEqual(packs() - before, 20)
          }),
        { short: 25, ahead: Infinity, late: Infinity, overdue: Infinity }
      )
    }).pipe(Effect.scoped)
  )

  it.effect("a program gets it without asking for it", () =>
    onLayer(
      packer,
      { pool: { maxSize: 10 } },
      Effect.gen(function* () {
        // Until it is known to be short, on a machine that may be busy.
        const packed = Effect.gen(function* () {
          yield* learn(texts.session, [0])
          const rows = yield* all(times(50, (n) => Sql.query<{ id: number }>(texts.session, [n])))
          return new Set(rows.map(([row]) => row!.id)).size < 10
        })
        yield* eventually("50 reads at once need fewer connections than there are", packed)
      })
    )
  )

  it.effect("pipeline: false gives each statement a connection for itself", () =>
    onLayer(
      packer,
      { pool: { maxSize: 4 }, pipeline: false },
      Effect.gen(function* () {
        yield* learn(texts.session, [0])
        yield* eventually(
          "four slow statements have opened more than one connection",
          Effect.zipRight(
            all(times(4, (n) => Sql.query(texts.sleep, [0.05, n]))),
            Effect.map(Sql.stats, ({ write }) => write.size > 1)
          )
        )
        const { write } = yield* Sql.stats
        const held = yield* all(times(write.size, (n) => Sql.query<{ id: number }>(texts.session, [n])))
        assert.strictEqual(new Set(held.map(([row]) => row!.id)).size, write.size)
      })
    )
  )

  it.effect("a session that is cleaned after each use can be shared", () =>
    onPacked(packer, { pool: { maxSize: 2 }, resetOnRelease: "always" }, () =>
      Effect.gen(function* () {
        yield* learn(texts.session, [0])
        for (let round = 0; round < 20; round++) {
          const rows = yield* all(times(20, (n) => Sql.query<{ n: number }>(texts.session, [n])))
          assert.deepStrictEqual(
            rows.map(([row]) => row!.n),
            times(20, (n) => n)
          )
        }
      })
    )
  )

  it.effect("a connection that is lost fails every read on it once, for one reason", () =>
    Effect.gen(function* () {
      const { id, line, name, owed, read, slow } = yield* asleep(30)
      let settled = 0
      const lost = (n: number) => Effect.tap(Effect.flip(read(texts.session, [n])), () => Effect.sync(() => settled++))
      const reads = yield* Effect.fork(all(times(30, lost)))
      yield* isTrue("all were sent", () => line.pipeline.depth === 31)
      yield* sleeps(name)
      yield* Effect.flatMap(Server, (server) => server.endSession(id))
      const errors = [yield* Effect.flip(Fiber.join(slow)), ...(yield* Fiber.join(reads))]
      for (const error of errors) {
        const { _tag, cause, retry } = SqlReason.of(error)
        assert.include(["ConnectionLost", "ServerShutdown"], _tag)
        assert.strictEqual(retry, "idempotent")
        assert.strictEqual(cause, SqlReason.of(errors[0]).cause)
      }
      assert.strictEqual(settled, 30)
      assert.strictEqual(owed(), 0)
    }).pipe(Effect.scoped)
  )

  it.effect("a connection that is lost during a cancel fails the reads that were held back", () =>
    Effect.gen(function* () {
      const { id, line, read, slow } = yield* asleep(30)
      const server = yield* Server
      const innocent = yield* Effect.fork(Effect.flip(read(texts.sleep, [30, 2])))
      yield* isTrue("both were sent", () => line.pipeline.depth === 2)
      yield* Fiber.interrupt(slow)
      yield* isTrue("the innocent one runs", () => line.pipeline.isAborting && line.pipeline.depth === 1)
      const held = yield* Effect.fork(all(times(5, (n) => Effect.flip(read(texts.session, [n])))))
      yield* isTrue("they are held back", () => line.pipeline.heldBack === 5)
      yield* server.endSession(id)
      for (const error of [yield* Fiber.join(innocent), ...(yield* Fiber.join(held))]) {
        assert.include(["ConnectionLost", "ServerShutdown"], SqlReason.of(error)._tag)
      }
      assert.strictEqual(line.status(), "dead")
    }).pipe(Effect.scoped)
  )

  it.effect("a connection that is closed because nothing on it can be cancelled fails every read on it once", () =>
    Effect.gen(function* () {
      const { slow, ...packed } = yield* asleep(30)
      const { line, read } = packed
      packer.deafen(packed)
      // It would sleep on, and nobody is there to see it.
      yield* Effect.addFinalizer(() => Effect.ignore(Effect.flatMap(Server, (server) => server.end(packed.name))))
      let settled = 0
      const neighbours = yield* Effect.fork(
        all(times(10, (n) => Effect.tap(Effect.flip(read(texts.session, [n])), () => Effect.sync(() => settled++))))
      )
      yield* isTrue("all were sent", () => line.pipeline.depth === 11)
      yield* Fiber.interrupt(slow)
      yield* isTrue("it was closed", () => line.status() === "dead")
      yield* isTrue("all were told", () => settled === 10)
      for (const error of yield* Fiber.join(neighbours)) {
        assert.include(["ConnectionLost", "ServerShutdown"], SqlReason.of(error)._tag)
      }
      assert.strictEqual(line.pipeline.depth, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("more texts than a connection keeps: all are answered, and the server keeps a hundred", () =>
    Effect.gen(function* () {
      const { read } = yield* connection
      for (let round = 0; round < 3; round++) {
        const rows = yield* all(times(350, (n) => read(texts.number(String(n % 175)), [n])))
        for (const [n, [row]] of rows.entries()) assert.deepStrictEqual(row, { n })
      }
      for (let n = 0; n < 300; n++) assert.strictEqual((yield* read(`select ${n} as n`))[0].n, n)
      // What asks is itself a text more at first, and a server may count what a closed session has kept.
      yield* eventually(
        "the server keeps no more",
        Effect.map(read(packer.kept), ([kept]) => kept.n > 90 && kept.n <= 100)
      )
    }).pipe(Effect.scoped)
  )
}

for (const driver of Drivers.selected) {
  if (!driver.isOurs) continue
  // One after the other: what a test sees of the server's time, and of its statements, is its own.
  const server: Layer.Layer<Server, unknown> = databases[driver.database].layer()
  layer(server, { excludeTestServices: true, timeout: "2 minutes" })(`packed reads: ${driver.name}`, (it) =>
    suite(it, packers[driver.database])
  )
}
