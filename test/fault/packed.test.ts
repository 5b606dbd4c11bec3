/**
 * Packed reads share a connection and nothing else. What a late read, a silent socket or a lost connection does to the reads of
 * other callers, for each of our drivers that packs.
 *
 * | on the connection of all | the others |
 * | --- | --- |
 * | one read waits for a lock, or takes long | are answered on another connection, while it waits |
 * | the socket is silent | the same |
 * | it is lost | run again: one token of the retry budget for all of them |
 */
import { assert, layer, type Vitest } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import type { Limits } from "@sluice/sql/driver/Packing"
import { FaultProxy } from "@sluice/testkit"
import { Effect, Fiber, type Layer } from "effect"
import { booksBalance, eventually, unique } from "../contract/contract.js"
import { databases, Server } from "../contract/databases.js"
import * as Drivers from "../contract/drivers.js"
import { learn, locked, numbers, onPacked, type Packer, packers } from "../contract/packing.js"

/** What is harmless is packed on one connection, however slow this machine is, and is overdue as usual. */
const eager: Limits = { short: Infinity, ahead: Infinity, late: Infinity, overdue: 20 }

const times = <A>(n: number, f: (i: number) => A) => Array.from({ length: n }, (_, i) => f(i))

const all = <A, E, R>(effects: Iterable<Effect.Effect<A, E, R>>) => Effect.all(effects, { concurrency: "unbounded" })

const stats = Effect.map(Sql.stats, ({ write }) => write)

/** Forks the effects, and counts those that have succeeded. */
const counted = <A, E, R>(effects: ReadonlyArray<Effect.Effect<A, E, R>>) =>
  Effect.gen(function* () {
    let answered = 0
    const fiber = yield* Effect.fork(all(effects.map((one) => Effect.tap(one, () => Effect.sync(() => answered++)))))
    return {
      fiber,
      answered: (count: number) =>
        eventually(
          `${count} are answered`,
          Effect.sync(() => answered >= count)
        )
    }
  })

const suite = (it: Vitest.MethodsNonLive<Server, true>, packer: Packer): void => {
  const { texts } = packer

  /** A read that gives n, and fails if it gives anything else. */
  const number = (n: number) =>
    Effect.map(Sql.query<{ n: number }>(texts.number(), [n]), ([row]) => assert.strictEqual(row!.n, n))

  const ofTable = (table: string, n: number) =>
    Effect.map(Sql.query<{ n: number }>(texts.ofTable(table), [n]), ([row]) => assert.strictEqual(row!.n, n))

  const sleep = (seconds: number, n: number) =>
    Effect.map(Sql.query<{ n: number }>(texts.sleep, [seconds, n]), ([row]) => assert.strictEqual(row!.n, n))

  /** The table is locked by a client that has its own connection, and loses nothing. */
  const lockedByOther = (table: string) =>
    Effect.gen(function* () {
      const client = yield* (yield* Server).client(unique("holder"))
      const { sql } = yield* packer.pool({ ...client, pool: { maxSize: 1 } }, eager)
      return yield* Effect.provideService(locked(packer, table), Sql.Sql, sql)
    })

  const onEager = <A, E, R>(
    maxSize: number,
    body: (client: { readonly name: string }) => Effect.Effect<A, E, R | Sql.Sql>,
    limits: Limits = eager
  ) => onPacked(packer, { pool: { maxSize } }, body, limits)

  it.effect("F32: 101 reads at once, the 20th waits for a table lock: the 100 others are answered while it waits", () =>
    onPacked(
      packer,
      { pool: { maxSize: 4 } },
      ({ packs }) =>
        Effect.gen(function* () {
          const { client } = yield* Sql.Sql
          const table = yield* numbers(1)
          yield* learn(texts.number(), [0])
          yield* learn(texts.ofTable(table), [0])
          const unlock = yield* lockedByOther(table)
          const before = yield* stats
          const text = (n: number) => client.unsafe<{ n: number }>(texts.number(), [n])
          const kinds: ReadonlyArray<(n: number) => Effect.Effect<void, unknown, Sql.Sql>> = [
            number,
            (n) => Sql.read(number(n)),
            (n) => Effect.map(text(n), ([row]) => assert.strictEqual(row!.n, n)),
            (n) => Effect.map(text(n).values, (rows) => assert.deepStrictEqual(rows, [[n]])),
            (n) => Effect.asVoid(text(n).raw)
          ]
          const others = times(101, (n) => (n === 19 ? ofTable(table, 0) : kinds[n % kinds.length]!(n)))
          const first = packs()
          const { answered, fiber } = yield* counted(others)
          yield* answered(100)
          assert.isNull(fiber.unsafePoll())
          const { acquired, waiting } = yield* stats
          // Each is sent three times at most, and those that came before the 20th once.
          assert.isAtMost(acquired - before.acquired, 19 + 3 * 82)
          assert.isAbove(packs() - first, 101)
          assert.strictEqual(waiting, 0)
          yield* unlock
          yield* Fiber.join(fiber)
          assert.isAtMost((yield* stats).connects, 4)
        }).pipe(Effect.scoped),
      eager
    )
  )

  it.effect("F32: the same where all have one text, and two of them take long", () =>
    onEager(4, () =>
      Effect.gen(function* () {
        yield* learn(texts.sleep, [0, 0])
        const reads = times(101, (n) => sleep(n === 19 || n === 59 ? 30 : 0, n))
        const { answered, fiber } = yield* counted(reads)
        yield* answered(99)
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it.effect("F32: the same on a silent socket, and what waits for it alone is told when it is lost", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: yield* Server })
      yield* onPacked(
        packer,
        { at: { port: proxy.port }, pool: { maxSize: 4 } },
        ({ name }) =>
          Effect.gen(function* () {
            yield* learn(texts.number(), [0])
            // The next connection has not prepared the text, which takes MariaDB a round trip of its own.
            yield* Sql.reset()
            yield* learn("select 1 as n")
            yield* proxy.blackhole({ established: true, new: false, forGood: true })
            const { answered, fiber } = yield* counted(times(101, number))
            yield* answered(100)
            yield* (yield* Server).end(name)
            yield* proxy.reset
            yield* Fiber.join(fiber)
          }),
        eager
      )
    }).pipe(Effect.scoped)
  )

  it.effect("F32: the same on a silent socket of a replica, for reads that may go there", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: yield* Server })
      yield* onPacked(
        packer,
        { replica: { port: proxy.port }, pool: { maxSize: 4 } },
        ({ name }) =>
          Effect.gen(function* () {
            const replica = Effect.map(Sql.stats, ({ read }) => read[0]!)
            yield* Sql.read(learn(texts.number(), [0]))
            yield* proxy.blackhole({ established: true, new: false, forGood: true })
            const before = yield* replica
            const { answered, fiber } = yield* counted(times(101, (n) => Sql.read(number(n))))
            yield* answered(100)
            assert.isAtLeast((yield* replica).acquired - before.acquired, 101)
            yield* (yield* Server).end(name)
            yield* proxy.reset
            yield* Fiber.join(fiber)
          }),
        eager
      )
    }).pipe(Effect.scoped)
  )

  it.effect(
    "reads that all wait for a lock take no more connections than there are, and each is sent three times at most",
    () =>
      onEager(
        3,
        () =>
          Effect.gen(function* () {
            const table = yield* numbers(60)
            yield* learn(texts.number(), [0])
            yield* learn(texts.ofTable(table), [0])
            const unlock = yield* locked(packer, table)
            const before = yield* stats
            const waiting = yield* counted(times(60, (n) => (n % 3 === 0 ? ofTable(table, n) : number(n))))
            yield* waiting.answered(40)
            const { acquired, connecting, size, waiting: inQueue } = yield* stats
            assert.isAtMost(size + connecting, 3)
            assert.isAtMost(inQueue, 2)
            assert.isAtMost(acquired - before.acquired, 180)
            // The holder of the lock has a connection, and needs no other one.
            yield* unlock
            yield* Fiber.join(waiting.fiber)
            assert.isAtMost((yield* stats).acquired - before.acquired, 180)
          }).pipe(Effect.scoped),
        // All are on the first connection before one of them is overdue, whatever else the machine does. What joins the second one behind a
        // read that waits would wait as well, and there is no third.
        { ...eager, overdue: 1_000 }
      )
  )

  it.effect("a write does not wait for a connection on which a read is late, while another one can be opened", () =>
    onEager(2, () =>
      Effect.gen(function* () {
        yield* learn(texts.sleep, [0, 0])
        const late = yield* Effect.fork(all(times(50, (n) => sleep(n === 0 ? 30 : 0, n))))
        yield* eventually(
          "they are under way",
          Effect.map(stats, ({ using }) => using > 0)
        )
        yield* numbers(3)
        assert.isNull(late.unsafePoll())
        yield* Fiber.interrupt(late)
      })
    )
  )

  it.effect("callers that leave, or whose deadline passes, leave on both connections", () =>
    onEager(3, ({ name }) =>
      Effect.gen(function* () {
        yield* learn(texts.sleep, [0, 0])
        // The third has no connection to be sent on as well.
        const reads = all(times(3, (n) => sleep(30, n)))
        const twice = eventually(
          "two of them run",
          Effect.flatMap(Server, (server) =>
            Effect.map(server.sessions(name), (sessions) => sessions.filter((one) => one.isExecuting).length >= 2)
          )
        )
        const none = eventually(
          "nothing runs on the server",
          Effect.flatMap(Server, (server) =>
            Effect.map(server.sessions(name), (sessions) => sessions.every((one) => !one.isRunning))
          )
        )
        const leaving = yield* Effect.fork(reads)
        yield* twice
        yield* Fiber.interrupt(leaving)
        yield* none
        yield* booksBalance
        const error = yield* Effect.flip(
          Sql.withDeadline(new Date(Date.now() + 400))(all(times(3, (n) => Effect.either(sleep(30, n))))).pipe(
            Effect.flatMap((all) => Effect.all(all))
          )
        )
        assert.strictEqual(SqlReason.of(error as never)._tag, "StatementTimeout")
        yield* none
      })
    )
  )

  it.effect("a read whose first connection is lost gets the answer of the other one", () =>
    onEager(2, ({ name }) =>
      Effect.gen(function* () {
        const server = yield* Server
        yield* learn(texts.sleep, [0, 0])
        const [first] = yield* server.sessions(name)
        const late = yield* Effect.fork(Effect.either(sleep(30, 0)))
        const second = yield* Effect.fork(Sql.query<{ id: number }>(texts.sleep, [1.5, 1]))
        const others = Effect.map(server.sessions(name), (all) => all.filter((one) => one.id !== first!.id))
        yield* eventually(
          "it runs on another connection",
          Effect.map(others, (all) => all.some((one) => one.isExecuting))
        )
        const [other] = yield* others
        yield* server.endSession(first!.id)
        const [row] = yield* Fiber.join(second)
        assert.strictEqual(row!.id, other!.id)
        yield* Fiber.interrupt(late)
      })
    )
  )

  const ends: ReadonlyArray<
    readonly [string, (proxy: FaultProxy.FaultProxy, name: string) => Effect.Effect<unknown, unknown, Server>]
  > = [
    ["a reset", (proxy) => proxy.reset],
    ["a FIN", (proxy) => proxy.cut],
    ["the server ends the session", (_, name) => Effect.flatMap(Server, (server) => server.end(name))]
  ]

  for (const [what, end] of ends) {
    it.effect(`F33: ${what} under fifty packed reads costs one token of the retry budget, and no read of them`, () =>
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ target: yield* Server })
        yield* onPacked(
          packer,
          { at: { port: proxy.port }, pool: { maxSize: 4 } },
          ({ name }) =>
            Effect.gen(function* () {
              const server = yield* Server
              const table = yield* numbers(1)
              for (let round = 0; round < 4; round++) {
                // The connection that is used next has prepared both texts, so that the reads leave in the order of asking.
                yield* learn(texts.number(), [0])
                yield* learn(texts.ofTable(table), [0])
                const unlock = yield* lockedByOther(table)
                const { acquired } = yield* stats
                const read = (n: number) => (n === 0 ? ofTable(table, 0) : number(n))
                const reads = yield* Effect.fork(all(times(50, (n) => (n % 2 === 0 ? Sql.read(read(n)) : read(n)))))
                yield* eventually(
                  "they wait for the lock",
                  Effect.map(Sql.stats, ({ write }) => write.acquired - acquired === 50)
                )
                yield* eventually(
                  "so does the server",
                  Effect.map(server.sessions(name), (all) =>
                    all.some((one) => one.isRunning && one.text.includes(table))
                  )
                )
                yield* end(proxy, name)
                yield* eventually(
                  "all are under way again",
                  Effect.map(Sql.stats, ({ write }) => write.acquired - acquired >= 100)
                )
                yield* unlock
                yield* Fiber.join(reads)
              }
            }),
          { ...eager, overdue: Infinity }
        )
      }).pipe(Effect.scoped)
    )
  }
}

for (const driver of Drivers.selected) {
  if (!driver.isOurs) continue
  const server: Layer.Layer<Server, unknown> = databases[driver.database].layer()
  layer(server, { excludeTestServices: true, timeout: "2 minutes" })(
    `packed reads share no fate: ${driver.name}`,
    (it) => suite(it, packers[driver.database])
  )
}
