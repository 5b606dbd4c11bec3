/**
 * What a silent host does to its callers, with default options and without any deadline.
 *
 * | the socket freezes for good while | the caller gets |
 * | --- | --- |
 * | a statement runs | ConnectionLost, and the next one a new connection |
 * | `Sql.read` is packed or has a connection for itself | the answer of another connection |
 * | a pin, a transaction or a stream is used | ConnectionLost |
 * | a COMMIT is under way | CommitUnknown |
 * | the server works on the statement, whatever time it takes | the answer |
 * | the program reads a stream slowly | its rows |
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { assert } from "@effect/vitest"
import { Sql, SqlReason, Topology } from "@sluice/sql"
import { Effect, Either, Fiber, Stream } from "effect"
import { eventually, reasonOf } from "../../packages/sql/test/support/checks.js"
import { proxy, replicaProxy, running, Server, scenarios, times } from "./rig.js"

const one = Sql.query("select 7 as n")

/** From now on one is packed. */
const learn = (read: typeof one) => Effect.replicateEffect(read, 5, { discard: true })

const forGood = { new: false, forGood: true } as const

const told = ({ _tag, connection, outcome, retry }: SqlReason.SqlReason) => [_tag, connection, outcome, retry]

const lost = ["ConnectionLost", "destroy", "unknown", "idempotent"]

const closedByError = Effect.map(Sql.stats, ({ write }) => write.closed.error)

scenarios("F25: every open socket freezes for good, new connections work", ({ it, run, sleep, words }) => {
  /** What a broken path has left behind on the server is nobody's fault. */
  const ended = (name: string) => Effect.flatMap(Server, (server) => server.end(name))

  it.effect("statements in flight are lost, and others run on new connections", () =>
    Effect.gen(function* () {
      const path = yield* proxy
      yield* run({ via: path }, ({ name, sessions }) =>
        Effect.gen(function* () {
          const busy = yield* Effect.fork(times(10, Effect.either(sleep(2))))
          yield* eventually("ten statements run", running(10, sessions))
          yield* path.blackhole(forGood)
          for (const result of yield* Fiber.join(busy)) {
            assert.isTrue(Either.isLeft(result))
            if (Either.isLeft(result)) assert.deepStrictEqual(told(SqlReason.of(result.left)), lost)
          }
          const again = yield* Effect.fork(times(10, sleep(30)))
          yield* eventually("ten statements run again", running(10, sessions))
          yield* Fiber.interrupt(again)
          yield* ended(name)
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("also where the server knows nothing of them any more", () =>
    Effect.gen(function* () {
      const path = yield* proxy
      yield* run({ via: path, pool: { maxSize: 3 } }, ({ name, sessions }) =>
        Effect.gen(function* () {
          const busy = yield* Effect.fork(times(3, reasonOf(sleep(600))))
          yield* eventually("three statements run", running(3, sessions))
          yield* path.blackhole(forGood)
          yield* ended(name)
          for (const reason of yield* Fiber.join(busy)) assert.deepStrictEqual(told(reason), lost)
          yield* one
          yield* ended(name)
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("reads that are packed, and reads that are not, are answered on another connection", () =>
    Effect.gen(function* () {
      const path = yield* proxy
      yield* run({ via: path, pool: { maxSize: 1 } }, ({ name }) =>
        Effect.gen(function* () {
          for (const prepare of [learn(one), Effect.void]) {
            yield* prepare
            yield* path.blackhole(forGood)
            yield* times(50, Sql.read(one))
          }
          assert.isAtLeast(yield* closedByError, 1)
          yield* ended(name)
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("a pin and a transaction are lost, a COMMIT has an unknown end", () =>
    Effect.gen(function* () {
      const path = yield* proxy
      yield* run({ via: path }, ({ name }) =>
        Effect.gen(function* () {
          const freeze = path.blackhole(forGood)
          const frozen = one.pipe(Effect.zipRight(freeze), Effect.zipRight(one))
          assert.deepStrictEqual(told(yield* reasonOf(Sql.withConnection(frozen))), lost)
          const inTransaction = yield* reasonOf(Sql.withTransaction(frozen))
          assert.deepStrictEqual(told(inTransaction), ["ConnectionLost", "destroy", "rolledBack", "transaction"])
          const inCommit = yield* reasonOf(Sql.withTransaction(Effect.zipRight(one, freeze)))
          assert.deepStrictEqual(told(inCommit), ["CommitUnknown", "destroy", "unknown", "idempotent"])
          // The BEGIN finds an idle connection that is frozen, and is not trusted any more.
          yield* Sql.withTransaction(one)
          yield* ended(name)
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("a stream is lost, inside of a transaction and outside", () =>
    Effect.gen(function* () {
      const path = yield* proxy
      yield* run({ via: path }, ({ name }) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          // More than fits into the buffers of the sockets on the way.
          const text = `select i, repeat('x', 20000) as x from ${words.series(5_000)}`
          let rows = 0
          const read = Stream.runForEach(sql.unsafe(text).stream, () =>
            ++rows % 1_000 === 300 ? path.blackhole(forGood) : Effect.void
          )
          assert.strictEqual((yield* reasonOf(read))._tag, "ConnectionLost")
          assert.isBelow(rows, 5_000)
          rows = 0
          assert.strictEqual((yield* reasonOf(Sql.withTransaction(read)))._tag, "ConnectionLost")
          assert.isBelow(rows, 5_000)
          yield* ended(name)
        })
      )
    }).pipe(Effect.scoped)
  )
})

scenarios("F25: silence alone proves nothing", ({ it, run, sleep, words }) => {
  it.effect("a statement that the server works on is left alone, in and outside of a transaction", () =>
    run({}, () =>
      Effect.gen(function* () {
        yield* Effect.all([sleep(4), sleep(3), Sql.withTransaction(sleep(3)), Sql.withConnection(sleep(3))], {
          concurrency: "unbounded"
        })
        const { control, write } = yield* Sql.stats
        assert.strictEqual(control[0]!.connects, 1, "the server was asked")
        assert.strictEqual(write.closed.error, 0)
      })
    )
  )

  it.effect("so is a stream that the program reads slowly", () =>
    run({}, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const text = `select i, repeat('x', 20000) as x from ${words.series(2_000)}`
        let rows = 0
        const read = Stream.runForEach(sql.unsafe(text).stream, () =>
          ++rows === 300 ? Effect.sleep("2 seconds") : Effect.void
        )
        yield* Effect.all([read, sleep(2)], { concurrency: "unbounded" })
        assert.strictEqual(rows, 2_000)
        rows = 0
        yield* Sql.withTransaction(read)
        assert.strictEqual(rows, 2_000)
        assert.strictEqual(yield* closedByError, 0)
      })
    )
  )
})

scenarios("F5, F26: a replica is black-holed", ({ it, run, sleep }) => {
  it.effect("a read that has a connection there for itself is executed elsewhere", () =>
    Effect.gen(function* () {
      const path = yield* replicaProxy
      yield* run({ withReplica: true, replicaVia: path }, ({ name, sessions }) =>
        Effect.gen(function* () {
          const alone = yield* Effect.fork(times(6, Sql.read(sleep(3))))
          yield* eventually("six statements run", running(6, sessions))
          yield* path.blackhole({ forGood: true })
          // Three of them were there. What has swallowed their answers never gives them back.
          yield* Fiber.join(alone)
          yield* path.heal
          yield* eventually(
            "nothing waits there",
            Effect.map(Sql.stats, ({ read }) => read.every(({ using }) => using === 0))
          )
          yield* (yield* Server).end(name)
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("no read fails or waits for it, and it gets no other one until it is back", () =>
    Effect.gen(function* () {
      const path = yield* replicaProxy
      yield* run({ withReplica: true, replicaVia: path }, ({ name }) =>
        Effect.gen(function* () {
          const read = Sql.read(one)
          const { replicas } = (yield* Topology.Topology).snapshot()
          const acquired = Effect.map(Sql.stats, ({ read }) => read[1]!.acquired)
          yield* learn(read)
          yield* learn(read)
          const heal = Effect.gen(function* () {
            const before = yield* acquired
            yield* path.heal
            const isBack = Effect.zipRight(
              read,
              Effect.map(acquired, (now) => now > before)
            )
            yield* eventually("it is back", isBack)
            assert.isFalse(replicas[1]!.isSilent)
          })
          const byPrimary = Effect.map(Sql.stats, ({ write }) => write.acquired)
          const before = yield* byPrimary
          yield* path.blackhole({ forGood: true })
          // At once, because the one that reads alone goes to the other replica as long as that is the faster one.
          yield* eventually(
            "it is found silent",
            Effect.zipRight(
              times(4, read),
              Effect.sync(() => replicas[1]!.isSilent)
            )
          )
          yield* Effect.replicateEffect(read, 100)
          assert.isTrue(replicas[1]!.isSilent)
          assert.isFalse(replicas[0]!.isSilent)
          // Every second one would wait there, and go to the primary then.
          assert.isAtMost((yield* byPrimary) - before, 5)
          yield* heal
          yield* learn(read)
          yield* path.blackhole({ forGood: true })
          // Many of them are sent there, or wait there for a connection, before anybody knows; none, if the other one is much faster.
          yield* eventually(
            "it is found silent again",
            Effect.zipRight(
              times(100, read),
              Effect.sync(() => replicas[1]!.isSilent)
            )
          )
          yield* heal
          yield* eventually(
            "nothing waits there",
            Effect.map(Sql.stats, ({ read }) => read[1]!.using === 0)
          )
          yield* (yield* Server).end(name)
        })
      )
    }).pipe(Effect.scoped)
  )
})
