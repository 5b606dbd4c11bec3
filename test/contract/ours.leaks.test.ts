/**
 * Leases that are held longer than `leakThreshold`: what each form of lease is reported as, and what `reclaim` takes away.
 *
 * | form | works | nothing runs | is read slowly | `reclaim` |
 * | --- | --- | --- | --- | --- |
 * | statement, packed or not | busy | | | never |
 * | withConnection, reserve, connectionScoped | busy | forgotten | stream | takes the forgotten one |
 * | withTransaction, savepoint | busy | idleInTransaction | stream | takes the idle one |
 * | stream | busy | | stream | never |
 * | LISTEN on a connection of the pool | | listener | | never |
 * | PgSql.listen | no lease, never reported | | | |
 */
import { SqlClient } from "@effect/sql"
import { assert } from "@effect/vitest"
import type { Leak } from "@sluice/pool/PoolStats"
import { Sql, SqlReason } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { Cause, Deferred, Effect, Exit, Fiber, Logger, LogLevel, Stream } from "effect"
import { describe } from "vitest"
import { booksBalance, eventually } from "./contract.js"
import { ours } from "./ours.js"

type Work = Effect.Effect<unknown, unknown, Sql.Sql | SqlClient.SqlClient>

const quietly = Logger.withMinimumLogLevel(LogLevel.None)

/** What the program was told, by the span of the acquire. */
const told = (tag: "Leak" | "Reclaimed") =>
  Effect.gen(function* () {
    const all = new Map<string, Array<Leak>>()
    const listening = yield* Effect.forkScoped(
      Stream.runForEach(yield* Effect.map(Sql.Sql, ({ events }) => events), ({ event }) =>
        Effect.sync(() => {
          if (event._tag !== tag) return
          const span = event.span ?? ""
          all.set(span, [...(all.get(span) ?? []), event])
        })
      )
    )
    yield* Effect.yieldNow()
    return { all, listening }
  })

ours("a lease that is held too long", ({ database, it, onPool, words }) => {
  const one = Sql.query("select 1")
  const sql = Effect.flatMap(SqlClient.SqlClient, Effect.succeed)
  const rests = (work: Work): Work => Effect.zipRight(work, Effect.never)
  const long = Sql.query(words.sleep(20))
  /** Its reader has read the first row and reads no more. */
  const stream = Effect.flatMap(sql, (sql) =>
    Stream.runForEach(sql.unsafe(`select i from ${words.series(100_000)}`).stream, () => Effect.never)
  )
  /** Everything is here after the first piece, and its reader has not come to the end. */
  const short = Effect.flatMap(sql, (sql) => Stream.runForEach(sql`select 1 as n`.stream, () => Effect.never))
  const reserved = Effect.scoped(
    Effect.flatMap(
      Effect.flatMap(sql, (sql) => sql.reserve),
      (connection) => Effect.zipRight(connection.execute("select 1", [], undefined), Effect.never)
    )
  )
  const scoped = Effect.scoped(Effect.flatMap(Sql.connectionScoped(), (within) => rests(within(one))))

  const forms: Readonly<Record<string, readonly [work: Work, kind: Leak["kind"]]>> = {
    statement: [long, "busy"],
    "statement on a pin": [Sql.withConnection(long), "busy"],
    "statement in a transaction": [Sql.withTransaction(long), "busy"],
    "short statements, one after the other": [Sql.withConnection(Effect.forever(Effect.delay(one, 100))), "busy"],
    withConnection: [Sql.withConnection(rests(one)), "forgotten"],
    reserve: [reserved, "forgotten"],
    connectionScoped: [scoped, "forgotten"],
    withTransaction: [Sql.withTransaction(rests(one)), "idleInTransaction"],
    savepoint: [Sql.withTransaction(Effect.zipRight(one, Sql.withTransaction(rests(one)))), "idleInTransaction"],
    "BEGIN by hand": [Sql.withConnection(rests(Sql.query("begin"))), "idleInTransaction"],
    stream: [stream, "stream"],
    "stream on a pin": [Sql.withConnection(stream), "stream"],
    "stream in a transaction": [Sql.withTransaction(Effect.zipRight(one, stream)), "stream"],
    "stream that is complete here": [short, "stream"],
    ...(database === "postgresql"
      ? { LISTEN: [Sql.withConnection(rests(Sql.query("listen news"))), "listener"] as const }
      : {})
  }

  // They wait for the most part.
  describe.concurrent("", () => {
    it.effect("every form: once, by its span, with what its session does", () =>
      onPool({ pool: { maxSize: 20, leakThreshold: "5 seconds", acquireTimeout: "30 seconds" } }, () =>
        Effect.gen(function* () {
          const { all } = yield* told("Leak")
          const holders = yield* Effect.forEach(Object.entries(forms), ([span, [work]]) =>
            Effect.fork(Effect.withSpan(work, span))
          )
          const listener = yield* Effect.fork(
            Effect.withSpan(
              database === "postgresql" ? Stream.runDrain(PgSql.listen("leaks")) : Effect.never,
              "PgSql.listen"
            )
          )
          yield* eventually(
            "each is told of",
            Effect.sync(() => all.size >= holders.length)
          )
          // So long that a second report would have come.
          yield* Effect.sleep("2 seconds")
          const kinds = Object.fromEntries(Array.from(all, ([span, leaks]) => [span, leaks.map(({ kind }) => kind)]))
          assert.deepStrictEqual(
            kinds,
            Object.fromEntries(Object.entries(forms).map(([span, [, kind]]) => [span, [kind]]))
          )
          assert.deepInclude((yield* Sql.stats).write, { leaks: holders.length, reclaimed: 0 })
          assert.match(all.get("statement")![0]!.activity!, /^busy: /)
          yield* Fiber.interruptAll([...holders, listener])
        }).pipe(Effect.scoped)
      ).pipe(quietly)
    )

    it.effect("reclaim: the place is free, the next statement says why, and the late release changes nothing", () =>
      onPool({ pool: { maxSize: 12, leakThreshold: "3 seconds", reclaim: true } }, () =>
        Effect.gen(function* () {
          const { all } = yield* told("Reclaimed")
          const back = yield* Deferred.make<void>()
          const forgets = (first: Work, then: Work = one) =>
            Effect.zipRight(first, Effect.zipRight(Deferred.await(back), then))
          const temporary = Sql.query("create temporary table mine (id int)")
          const taken: Readonly<Record<string, Work>> = {
            withConnection: Sql.withConnection(forgets(one)),
            "withConnection whose session was changed": Sql.withConnection(forgets(temporary)),
            withTransaction: Sql.withTransaction(forgets(one)),
            "withTransaction that would be tried again": Sql.withTransaction({ retry: true })(forgets(one)),
            COMMIT: Sql.withTransaction(forgets(one, Effect.void)),
            savepoint: Sql.withTransaction(Effect.zipRight(one, Sql.withTransaction(forgets(one)))),
            reserve: Effect.scoped(
              Effect.flatMap(
                Effect.flatMap(sql, (sql) => sql.reserve),
                (connection) => {
                  const execute = connection.execute("select 1", [], undefined)
                  return forgets(execute, execute)
                }
              )
            ),
            connectionScoped: Effect.scoped(
              Effect.flatMap(Sql.connectionScoped(), (within) => forgets(within(one), within(one)))
            )
          }
          const kept: Readonly<Record<string, Work>> = {
            statement: Sql.query(words.sleep(5)),
            "a stream that is read slowly": Effect.flatMap(sql, (sql) =>
              Stream.runDrain(
                Stream.mapChunksEffect(sql.unsafe(`select i from ${words.series(1_000)}`).stream, (rows) =>
                  Effect.delay(Effect.succeed(rows), 600)
                )
              )
            ),
            "short statements": Sql.withTransaction(Effect.repeatN(Effect.delay(one, 100), 45))
          }
          const start = ([span, work]: readonly [string, Work]) => Effect.fork(Effect.withSpan(work, span))
          const holders = yield* Effect.forEach(Object.entries(taken), start)
          const others = yield* Effect.forEach(Object.entries(kept), start)
          const names = Object.keys(taken).sort()
          yield* eventually(
            "they are taken away",
            Effect.sync(() => all.size >= names.length)
          )
          yield* eventually(
            "their places are free",
            Effect.map(Sql.stats, ({ write: { closing, using } }) => using <= others.length && closing === 0)
          )
          yield* Deferred.succeed(back, undefined)
          for (const [i, holder] of holders.entries()) {
            const exit = yield* Fiber.await(holder)
            const name = Object.keys(taken)[i]!
            assert.isTrue(Exit.isFailure(exit), `${name} has gone on`)
            const error = Cause.squash((exit as Exit.Failure<unknown, unknown>).cause)
            const { _tag, connection, retry } = SqlReason.of(error)
            assert.deepStrictEqual([_tag, connection, retry], ["LeaseReclaimed", "destroy", "never"], name)
            assert.match((error as Error).message, /nothing was done on it for \d+ s \(leakThreshold, reclaim\)/)
          }
          for (const other of others) assert.isTrue(Exit.isSuccess(yield* Fiber.await(other)))
          assert.deepStrictEqual(Array.from(all.keys()).sort(), names)
          const { closed, lateReleases, reclaimed } = (yield* Sql.stats).write
          assert.deepStrictEqual(
            [reclaimed, closed.reclaimed, lateReleases],
            [names.length, names.length, names.length]
          )
          yield* one
          yield* booksBalance
        }).pipe(Effect.scoped)
      ).pipe(quietly)
    )

    it.effect("reclaim: what the transaction has written is undone, and its locks are free", () =>
      onPool({ pool: { maxSize: 3, leakThreshold: "1 second", reclaim: true } }, () =>
        Effect.gen(function* () {
          yield* Sql.query("create table held (id int)")
          yield* Sql.query("insert into held values (1)")
          const holder = yield* Effect.fork(Sql.withTransaction(rests(Sql.query("update held set id = 2"))))
          yield* eventually(
            "it has the row",
            Effect.map(Sql.stats, ({ write }) => write.using === 1)
          )
          yield* Sql.query("update held set id = id + 10")
          assert.deepStrictEqual(yield* Sql.query("select id from held"), [{ id: 11 }])
          yield* Fiber.interrupt(holder)
        })
      ).pipe(quietly)
    )

    it.effect("one line in the log: which connection, since when, in which span, what it does, and what helps", () => {
      const lines: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel === LogLevel.Warning) lines.push(String(message))
      })
      return onPool({ pool: { maxSize: 1, leakThreshold: "3 seconds", leakStack: true } }, () =>
        Effect.gen(function* () {
          const holder = yield* Effect.fork(Effect.withSpan(Sql.withTransaction(rests(one)), "sync"))
          yield* eventually(
            "it is told of",
            Effect.sync(() => lines.length > 0)
          )
          yield* Fiber.interrupt(holder)
        })
      ).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Effect.zipRight(
          Effect.sync(() => {
            assert.lengthOf(lines, 1)
            assert.match(
              lines[0]!,
              /: connection \d+ has been leased for [\d.]+ s, and has been idle in a transaction for [\d.]+ s\. It was acquired in span "sync"\. End the transaction before slow work/
            )
            assert.match(lines[0]!, /It was acquired here:\n.*ours\.leaks\.test\.ts/)
          })
        )
      )
    })
  })
})
