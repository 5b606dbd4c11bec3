/**
 * What an `AcquireTimeout` says of the lease that holds the only connection: in which span of the program, doing what.
 *
 * | form | plain | read | pinned | in a transaction | in a savepoint |
 * | --- | --- | --- | --- | --- | --- |
 * | query, prepared or not, template, `values`, `raw` | busy | busy | busy | busy | busy |
 * | stream whose reader is slow | reading a stream | | | idle in transaction | |
 * | nothing is executed | | | no activity | idle in transaction | idle in transaction |
 */
import { SqlClient, SqlResolver } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { assert } from "@effect/vitest"
import { Sql, SqlRetry } from "@sluice/sql"
import { FaultProxy } from "@sluice/testkit"
import { Deferred, type Duration, Effect, Fiber, Schema, Stream } from "effect"
import { booksBalance, eventually, unique } from "./contract.js"
import { Server } from "./databases.js"
import { ours, table } from "./ours.js"

type Work = Effect.Effect<unknown, unknown, Sql.Sql | SqlClient.SqlClient>

/** The span of the program, around everything that a test does with a connection. */
const SPAN = "sync"

ours("what holds the only connection", ({ database, dialect, it, onPool, optionsOf, words }) => {
  const long = words.sleep(20)

  const waiting = (within: Duration.DurationInput) => Effect.flip(Sql.withAcquireTimeout(within)(Sql.query("select 1")))

  const longest = (doing: RegExp, span = SPAN) =>
    new RegExp(`Longest leases: connection \\d+ for [^,]*, ${doing.source}in span "${span}"`)

  /** The failure of a statement that finds no connection while `work` holds the only one, and does this there. */
  const timeoutBeside = (work: Work, doing: RegExp, span = SPAN) =>
    Effect.gen(function* () {
      const holder = yield* Effect.fork(Effect.withSpan(work, SPAN))
      yield* eventually(
        "it has the connection",
        Effect.map(Sql.stats, ({ write }) => write.using === 1)
      )
      // It does something else first, and on a busy machine for a while.
      const error = yield* Effect.repeat(waiting("50 millis"), {
        until: ({ message }) => longest(doing, span).test(message),
        times: 50
      })
      yield* Fiber.interrupt(holder)
      return error as SqlError
    })

  const said = (error: SqlError, doing: RegExp, verb = "") => {
    assert.match(error.message, longest(doing), verb)
    assert.notInclude(error.message, "sql.", verb)
  }

  const busy = /busy: .*sleep.*, /
  const idle = /idle in transaction, /
  const nothing = /(?:)/
  const reading = /reading a stream: .*select i from.*, /

  const sql = Effect.flatMap(SqlClient.SqlClient, Effect.succeed)
  const held = (work: Work): Work => Effect.zipRight(work, Effect.never)
  const one = Sql.query("select 1")

  const verbs: ReadonlyArray<readonly [verb: string, work: Work, doing: RegExp]> = [
    ["query", Sql.query(long), busy],
    ["query, not prepared", Sql.query(long, [], { prepare: false }), busy],
    ["read", Sql.read(Sql.query(long)), busy],
    ["template", Effect.flatMap(sql, (sql) => sql.unsafe(long)), busy],
    ["values", Effect.flatMap(sql, (sql) => sql.unsafe(long).values), busy],
    ["raw", Effect.flatMap(sql, (sql) => sql.unsafe(long).raw), busy],
    ["retry", Sql.retry(SqlRetry.standard)(Sql.query(long)), busy],
    ["withConnection", Sql.withConnection(Sql.query(long)), busy],
    ["withConnection that rests", Sql.withConnection(held(one)), nothing],
    [
      "reserve",
      Effect.scoped(
        Effect.zipRight(
          Effect.flatMap(sql, (sql) => sql.reserve),
          Effect.never
        )
      ),
      nothing
    ],
    ["withTransaction", Sql.withTransaction(Sql.query(long)), busy],
    ["withTransaction that rests", Sql.withTransaction(held(one)), idle],
    ["withTransaction with a timeout", Sql.withTransaction({ timeout: "1 minute" })(held(one)), idle],
    ["withTransaction that is tried again", Sql.withTransaction({ retry: true })(held(one)), idle],
    ["the client's withTransaction", Effect.flatMap(sql, (sql) => sql.withTransaction(held(one))), idle],
    ["savepoint", Sql.withTransaction(Effect.zipRight(one, Sql.withTransaction(Sql.query(long)))), busy],
    ["savepoint that rests", Sql.withTransaction(Effect.zipRight(one, Sql.withTransaction(held(one)))), idle],
    ["transaction on a pin", Sql.withConnection(Effect.zipRight(one, Sql.withTransaction(held(one)))), idle]
  ]

  it.effect("each verb: the span of the program and what it does there, and no span of ours", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        for (const [verb, work, doing] of verbs) {
          yield* booksBalance
          said(yield* timeoutBeside(work, doing), doing, verb)
        }
      })
    )
  )

  /** A stream of many rows whose reader has read the first one and reads no more. */
  const stream = Effect.flatMap(sql, (sql) =>
    Stream.runForEach(sql.unsafe(`select i from ${words.series(100_000)}`).stream, () => Effect.never)
  )

  it.effect("a stream that is read slowly: that it is one, plain and pinned, and what helps", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        for (const work of [stream, Sql.withConnection(stream), Sql.read(stream)]) {
          const error = yield* timeoutBeside(work, reading)
          said(error, reading)
          assert.include(error.message, "A stream holds its connection until it was read")
        }
        said(yield* timeoutBeside(Sql.withTransaction(Effect.zipRight(one, stream)), idle), idle)
      })
    )
  )

  /** Work that keeps every connection from a caller, and what its failure says is the cause. */
  const causes: ReadonlyArray<readonly [work: Work, says: string]> = [
    [Sql.query(long), "find slow statements, or raise maxSize."],
    [Sql.withTransaction(Sql.query(long)), "find slow statements, or raise maxSize."],
    [Sql.withTransaction(held(one)), "End transactions before slow work, or raise maxSize."],
    [Sql.withConnection(held(one)), "Nothing is done on leased connections: release each as soon as its work is done."],
    [stream, "read it faster, end it earlier, or raise maxSize."],
    [
      Effect.all(
        Array.from({ length: 100 }, () => Effect.forever(Sql.withConnection(Sql.query(words.sleep(0.02))))),
        { concurrency: "unbounded" }
      ),
      "More work arrives than these connections finish: send less, make it shorter, or raise maxSize."
    ],
    ...(database === "postgresql"
      ? [
          [
            Sql.withConnection(held(Sql.query("listen news"))),
            "A listener holds its connection for as long as it listens: listen on a connection that belongs to no pool."
          ] as const
        ]
      : [])
  ]

  it.effect(
    "the cause that a failure names: slow statements, transactions, forgotten leases, streams, listeners, load",
    () =>
      onPool({ pool: { maxSize: 1, acquireTimeout: "1 minute" } }, () =>
        Effect.gen(function* () {
          for (const [work, says] of causes) {
            yield* booksBalance
            const holder = yield* Effect.fork(work)
            // It does something else first, and on a busy machine for a while.
            const asked = Effect.match(Sql.withAcquireTimeout("500 millis")(one), {
              onFailure: ({ message }) => message,
              onSuccess: () => "served"
            })
            const told = yield* Effect.repeat(asked, { until: (message) => message.endsWith(says), times: 20 })
            assert.isTrue(told.endsWith(says), told)
            yield* Fiber.interrupt(holder)
          }
        })
      )
  )

  it.effect("a statement in the reader of a stream: the failure names the stream that its own fiber reads", () =>
    onPool({ pool: { maxSize: 1, acquireTimeout: "200 millis" } }, () =>
      Effect.gen(function* () {
        const client = yield* sql
        const copy = client.unsafe(`select i from ${words.series(100_000)}`).stream.pipe(
          Stream.runForEach(() => Sql.query("select 1")),
          Effect.withSpan(SPAN)
        )
        for (const work of [copy, Sql.withConnection(copy)]) {
          said(yield* Effect.flip(work) as Effect.Effect<SqlError>, /reading a stream: .*, /)
        }
        yield* Sql.withTransaction(Stream.runForEach(client`select 1`.stream, () => Sql.query("select 1")))
      })
    )
  )

  it.effect("a statement that is on its way: its text, and not what the driver sends ahead of it", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: yield* Server })
      yield* onPool({ at: { port: proxy.port }, pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          yield* proxy.delay("2 seconds")
          said(yield* timeoutBeside(Sql.query(words.sleep(0)), busy), busy)
          yield* proxy.heal
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("a resolver: the span of its batch, which bears the name that the program gave", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const client = yield* sql
        const Sleep = yield* SqlResolver.ordered("Sleep", {
          Request: Schema.Number,
          Result: Schema.Unknown,
          execute: () => client.unsafe(long)
        })
        const error = yield* timeoutBeside(Sleep.execute(1), busy, "sql.Resolver.batch Sleep")
        assert.match(error.message, longest(busy, "sql.Resolver.batch Sleep"))
      })
    )
  )

  it.effect("packed reads: each holder's own span", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("held", "id int")
        yield* Effect.repeatN(Sql.query("select id from held"), 50)
        const own = yield* optionsOf(unique("locker"))
        const locked = yield* Deferred.make<void>()
        const lock = yield* dialect
          .lock("held", Deferred.succeed(locked, undefined))
          .pipe(Effect.provide(dialect.layer({ ...own, duplicates: "allow" })), Effect.fork)
        yield* Deferred.await(locked)
        const read = (n: number) => Effect.fork(Effect.withSpan(Sql.query("select id from held"), `reader ${n}`))
        const readers = yield* Effect.forEach([1, 2], read)
        yield* eventually(
          "one waits for the lock",
          Effect.map(Sql.stats, ({ write }) => write.using === 1)
        )
        const error = yield* waiting("50 millis")
        assert.match(error.message, /busy: select id from held, in span "reader 1"/)
        assert.notInclude(error.message, "sql.")
        yield* Fiber.interrupt(lock)
        yield* Effect.forEach(readers, Fiber.join)
      })
    )
  )
})
