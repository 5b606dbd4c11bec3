/**
 * Hooks of ours, on real sessions: what `onConnect` sets is what every statement finds, also after a session was changed; what fails
 * in a hook is told where it belongs; and no connection is left behind.
 */
import { SqlClient } from "@effect/sql"
import { assert } from "@effect/vitest"
import { Sql, type SqlHooks, SqlReason } from "@sluice/sql"
import { Chunk, Config, Deferred, Effect, Exit, Fiber, Layer, Logger, type Scope, Stream } from "effect"
import { eventually, noSessions, unique } from "./contract.js"
import { Server, type Service } from "./databases.js"
import { nothingRuns, ours, reasonOf } from "./ours.js"

interface Texts {
  readonly noAutocommit?: string
  readonly me?: string
  readonly setUp: ReadonlyArray<string>
  /** What the hook sets, and how a session shows it. */
  readonly sets: ReadonlyArray<string>
  readonly shows: string
  readonly shown: object
  /** What a program may do to it. */
  readonly changes: ReadonlyArray<string>
  /** Makes what cannot be made twice in one session. */
  readonly once: string
  readonly hasOnce: string
  readonly begin: string
  readonly kill: string
  readonly unknownRole: string
  readonly code: string
}

const texts: Readonly<Record<string, Texts>> = {
  postgres: {
    setUp: [
      "do $$ begin create role hooked; exception when duplicate_object then null; end $$",
      "grant hooked to sluice",
      "grant usage on schema public to hooked"
    ],
    sets: [
      "set role hooked",
      "set time zone 'Asia/Tokyo'",
      "select set_config('search_path', 'hooked, public', false)"
    ],
    shows:
      "select current_user::text as who, current_setting('TimeZone') as zone, current_setting('search_path') as path",
    shown: { who: "hooked", zone: "Asia/Tokyo", path: "hooked, public" },
    changes: [
      "set role none",
      "reset role",
      "reset all",
      "discard all",
      "set time zone 'UTC'",
      "select set_config('search_path', 'public', false)",
      "deallocate all"
    ],
    once: "create temporary table made_once (id int)",
    hasOnce: "select count(*)::int as n from made_once",
    begin: "begin",
    kill: "select pg_terminate_backend(pg_backend_pid())",
    unknownRole: "set role nobody_of_this_name",
    code: "22023"
  },
  mysql: {
    noAutocommit: "set autocommit = 0",
    me: "select substring_index(current_user(), '@', 1) as me",
    setUp: ["create role if not exists hooked"],
    sets: ["set role hooked", "set time_zone = '+09:00'", "set sql_mode = concat(@@sql_mode, ',ANSI_QUOTES')"],
    shows: "select current_role() as who, @@time_zone as zone, @@sql_mode like '%ANSI_QUOTES%' as quotes",
    shown: { who: "hooked", zone: "+09:00", quotes: 1 },
    changes: ["set role none", "set time_zone = '+00:00'", "set sql_mode = ''", "set @@session.time_zone = default"],
    once: "create temporary table made_once (id int)",
    hasOnce: "select count(*) as n from made_once",
    begin: "start transaction",
    kill: "kill connection_id()",
    unknownRole: "set role nobody_of_this_name",
    code: "1959"
  }
}

ours("hooks of ours", ({ dialect, end, it, onPool, optionsOf, session, sleep, words }) => {
  const text = texts[dialect.scheme]!
  let admin: Service | undefined
  const setUp = Effect.flatMap(Server, (server) => {
    admin = server
    return Effect.forEach(text.setUp, (one) => server.query(one), { discard: true })
  })
  const sets = ({ sql }: SqlHooks.Connection) =>
    Effect.gen(function* () {
      if (text.me !== undefined) {
        // Each client has a user of its own there.
        const [row] = yield* sql.unsafe<{ me: string }>(text.me)
        yield* admin!.query(`grant hooked to '${row!.me}'@'%'`)
      }
      for (const one of text.sets) yield* sql.unsafe(one)
    })
  const shown = (rows: unknown, what?: string) => assert.deepStrictEqual(rows, [text.shown], what)
  /** A Layer of its own that is expected to fail, or to serve `body`. */
  const made = <A, E>(
    options: Parameters<typeof onPool>[0],
    body: Effect.Effect<A, E, Sql.Sql>
  ): Effect.Effect<A, unknown, Server> =>
    Effect.gen(function* () {
      const name = unique("hooks")
      const own = yield* optionsOf(name)
      const exit = yield* Effect.exit(Effect.provide(body, dialect.layer({ ...own, ...options })))
      yield* noSessions(name)
      return yield* exit
    })

  it.effect("what onConnect sets, every form of a statement finds, on every connection", () =>
    Effect.zipRight(
      setUp,
      onPool({ pool: { maxSize: 4 }, hooks: { onConnect: sets } }, (name) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const forms: Record<string, Effect.Effect<unknown, unknown, any>> = {
            statement: sql.unsafe(text.shows),
            unprepared: sql.unsafe(text.shows).unprepared,
            "Sql.query": Sql.query(text.shows),
            "Sql.read": Sql.read(Sql.query(text.shows)),
            stream: Effect.map(Stream.runCollect(sql.unsafe(text.shows).stream), Chunk.toReadonlyArray),
            withConnection: Sql.withConnection(Sql.query(text.shows)),
            transaction: Sql.withTransaction(Sql.query(text.shows)),
            "stream in a transaction": Sql.withTransaction(
              Effect.map(Stream.runCollect(sql.unsafe(text.shows).stream), Chunk.toReadonlyArray)
            ),
            reserve: Effect.flatMap(sql.reserve, (connection) => connection.execute(text.shows, [], undefined))
          }
          for (const [form, statement] of Object.entries(forms)) {
            shown(yield* Effect.scoped(statement as Effect.Effect<unknown, unknown, Sql.Sql | Scope.Scope>), form)
          }
          const values = yield* sql.unsafe(text.shows).values
          assert.deepStrictEqual(values, [Object.values(text.shown)])
          // More than one connection, and reads that share them once they are known to be short.
          for (let i = 0; i < 3; i++) {
            const all = yield* Effect.all(
              Array.from({ length: 100 }, () => Sql.query(text.shows)),
              { concurrency: "unbounded" }
            )
            for (const rows of all) shown(rows)
          }
          yield* Effect.all(
            Array.from({ length: 4 }, () => Sql.withConnection(sleep(0.1))),
            {
              concurrency: "unbounded"
            }
          )
          const held = yield* Effect.all(
            Array.from({ length: 4 }, () => Sql.withConnection(Sql.query(text.shows))),
            { concurrency: "unbounded" }
          )
          for (const rows of held) shown(rows)
          // The connections that take the place of lost ones.
          yield* end(name)
          shown(yield* Sql.query(text.shows).pipe(Sql.retry(), Sql.idempotent))
        })
      )
    )
  )

  for (const resetOnRelease of ["auto", "always"] as const) {
    it.effect(
      `with ${resetOnRelease}, what onConnect sets outlives every change of the session, on the same session`,
      () =>
        Effect.zipRight(
          setUp,
          onPool({ pool: { maxSize: 1 }, resetOnRelease, hooks: { onConnect: sets } }, () =>
            Effect.gen(function* () {
              const first = yield* session
              for (const change of text.changes) {
                yield* Sql.query(change, [], { prepare: false })
                shown(yield* Sql.query(text.shows), change)
                yield* Sql.withConnection(Effect.zipRight(Sql.query(change, [], { prepare: false }), session))
                shown(yield* Sql.query(text.shows), `${change}, pinned`)
                yield* Effect.ignore(
                  Sql.withTransaction(
                    Effect.zipRight(Sql.query(text.changes[0]!, [], { prepare: false }), Effect.fail("no"))
                  )
                )
                shown(yield* Sql.query(text.shows), "in a transaction that is rolled back")
              }
              assert.strictEqual(yield* session, first)
            })
          )
        )
    )
  }

  it.effect(
    "a reset that only ends a transaction does not run onConnect again, one that makes the session new does",
    () => {
      let runs = 0
      const onConnect = ({ sql }: SqlHooks.Connection) =>
        Effect.zipRight(
          Effect.sync(() => runs++),
          sql.unsafe(text.once)
        )
      return onPool({ pool: { maxSize: 1 }, hooks: { onConnect } }, () =>
        Effect.gen(function* () {
          const first = yield* session
          assert.deepStrictEqual(yield* Sql.query(text.hasOnce), [{ n: 0 }] as any)
          yield* Sql.query(text.begin, [], { prepare: false })
          assert.deepStrictEqual(yield* Sql.query(text.hasOnce), [{ n: 0 }] as any)
          assert.strictEqual(runs, 1)
          yield* Sql.query(text.changes[0]!, [], { prepare: false })
          assert.deepStrictEqual(yield* Sql.query(text.hasOnce), [{ n: 0 }] as any)
          assert.deepStrictEqual([runs, yield* session], [2, first])
        })
      )
    }
  )

  it.effect("onConnect may use transactions and streams, and they run on the new connection", () => {
    const ids: Array<number> = []
    const onConnect = ({ endpoint, role, sql }: SqlHooks.Connection) =>
      Effect.gen(function* () {
        const id = sql.unsafe<{ id: number }>(`select ${words.session} as id`)
        const push = Effect.map(id, ([row]) => ids.push(row!.id))
        yield* push
        yield* sql.withTransaction(push)
        yield* Effect.all([push, push], { concurrency: "unbounded" })
        yield* Stream.runForEach(sql.unsafe<{ id: number }>(`select ${words.session} as id`).stream, (row) =>
          Effect.sync(() => ids.push(row.id))
        )
        assert.strictEqual(role, "primary")
        assert.match(endpoint, /sluice$/)
      })
    return onPool({ pool: { maxSize: 1 }, hooks: { onConnect } }, () =>
      Effect.gen(function* () {
        const own = yield* session
        assert.deepStrictEqual(ids, [own, own, own, own, own])
      })
    )
  })

  const failures: Readonly<Record<string, readonly [(connection: SqlHooks.Connection) => any, RegExp, code?: string]>> =
    {
      "a statement that fails": [({ sql }) => sql.unsafe(text.unknownRole), /role/, text.code],
      "a failure of its own": [() => Effect.fail(new Error("no secret today")), /no secret today/],
      "a defect": [
        () => {
          throw new TypeError("a bug")
        },
        /a bug/
      ],
      "no effect": [async () => {}, /must give an effect/],
      "a transaction that it leaves open": [({ sql }) => sql.unsafe(text.begin), /left a transaction open/],
      "a statement that it leaves running": [
        ({ sql }) => Effect.zipRight(Effect.forkDaemon(sql.unsafe(words.sleep(0.5))), Effect.sleep(100)),
        /left a statement running/
      ]
    }
  for (const [what, [onConnect, says, code]] of Object.entries(failures)) {
    it.effect(
      `${what} in onConnect fails the Layer, or the statements of a lazy one, at once, and leaves no session`,
      () =>
        Effect.gen(function* () {
          for (const startup of ["eager", "lazy"] as const) {
            const error = yield* Effect.flip(
              made({ startup, pool: { acquireTimeout: "30 seconds" }, hooks: { onConnect } }, Sql.query("select 1"))
            )
            const reason = SqlReason.of(error)
            assert.deepStrictEqual([reason._tag, reason.retry], ["ConnectFailed", "never"])
            assert.match((error as Error).message, says)
            assert.match((error as Error).message, /the hook onConnect/)
            if (code !== undefined) assert.strictEqual(reason.code, code)
          }
        })
    )
  }

  if (text.noAutocommit !== undefined) {
    const { noAutocommit } = text
    it.effect("an onConnect that leaves autocommit off is refused: nobody would commit what statements write", () =>
      Effect.gen(function* () {
        for (const resetOnRelease of ["auto", "always", "never"] as const) {
          const onConnect = ({ sql }: SqlHooks.Connection) => sql.unsafe(noAutocommit)
          const error = yield* Effect.flip(made({ resetOnRelease, hooks: { onConnect } }, Sql.query("select 1")))
          assert.strictEqual(SqlReason.of(error)._tag, "ConnectFailed")
          assert.match(
            (error as Error).message,
            /the hook onConnect has failed: it has left the session without autocommit/
          )
        }
      })
    )
  }

  it.effect(
    "an onConnect that hangs is ended by the connect timeout, which says so, and its statement is cancelled",
    () =>
      Effect.gen(function* () {
        const onConnect = ({ sql }: SqlHooks.Connection) => sql.unsafe(words.sleep(60))
        const error = yield* Effect.flip(
          made({ pool: { connectTimeout: "400 millis" }, hooks: { onConnect } }, Sql.query("select 1"))
        )
        assert.strictEqual(SqlReason.of(error)._tag, "ConnectFailed")
        assert.match((error as Error).message, /the hook onConnect took longer than 400 ms/)
      })
  )

  it.effect("a connection that is lost in onConnect is another failed connect: the pool tries again", () => {
    let runs = 0
    const onConnect = ({ sql }: SqlHooks.Connection) =>
      Effect.suspend(() =>
        runs++ === 0 ? Effect.zipRight(Effect.ignore(sql.unsafe(text.kill)), sql.unsafe("select 1")) : Effect.void
      )
    return onPool({ startup: "lazy", hooks: { onConnect } }, () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* Sql.query("select 1 as n")).length, 1)
        assert.isAtLeast(runs, 2)
        const { write } = yield* Effect.flatMap(Sql.Sql, (sql) => sql.stats)
        assert.isAtLeast(write.connectFailures, 1)
      })
    )
  })

  it.effect(
    "an onConnect that fails after a reset closes the connection: nobody gets a session without its state",
    () => {
      let isNew = true
      const onConnect = (connection: SqlHooks.Connection) =>
        isNew
          ? sets(connection)
          : Effect.zipRight(
              Effect.sync(() => (isNew = true)),
              Effect.fail("no")
            )
      return Effect.zipRight(
        setUp,
        onPool({ pool: { maxSize: 1 }, hooks: { onConnect } }, () =>
          Effect.gen(function* () {
            const first = yield* session
            isNew = false
            yield* Sql.query(text.changes[0]!, [], { prepare: false })
            shown(yield* Sql.query(text.shows))
            assert.notStrictEqual(yield* session, first)
          })
        )
      )
    }
  )

  it.effect(
    "the hooks around an acquire tell how long callers wait and hold, each of them, and the two balance",
    () => {
      const waited: Array<number> = []
      const held: Array<number> = []
      const where = new Set<string>()
      let before = 0
      let connected = 0
      const hooks: SqlHooks.SqlHooks = {
        onConnect: () => Effect.sync(() => connected++),
        beforeAcquire: () => Effect.sync(() => before++),
        afterAcquire: (elapsedMs, { endpoint, role }) =>
          Effect.sync(() => {
            waited.push(elapsedMs)
            where.add(`${role} ${endpoint.slice(endpoint.lastIndexOf("/") + 1)}`)
          }),
        afterRelease: (heldMs) => Effect.sync(() => held.push(heldMs))
      }
      return onPool({ pool: { maxSize: 1 }, hooks }, () =>
        Effect.gen(function* () {
          const holds = yield* Deferred.make<void>()
          const holder = yield* Effect.fork(
            Sql.withConnection(
              Sql.query("select 1").pipe(
                Effect.zipRight(Deferred.succeed(holds, undefined)),
                Effect.zipRight(Effect.sleep(300))
              )
            )
          )
          yield* Deferred.await(holds)
          waited.length = 0
          held.length = 0
          yield* Sql.query("select 1")
          yield* Fiber.join(holder)
          assert.strictEqual(waited.length, 1)
          // Less than the 300 ms that it is held, because it was held before the wait began.
          assert.isAtLeast(waited[0]!, 100)
          assert.isAtLeast(Math.max(...held), 290)
          before = 0
          waited.length = 0
          held.length = 0
          // Packed or not, each statement is an acquire of its own.
          for (let i = 0; i < 3; i++) {
            yield* Effect.all(
              Array.from({ length: 50 }, () => Sql.query("select 1 as n")),
              { concurrency: "unbounded" }
            )
          }
          // More where a read was held up and sent again on another connection.
          const balanced = eventually(
            "what was acquired is released",
            Effect.sync(() => waited.length === held.length)
          )
          yield* balanced
          assert.isAtLeast(waited.length, 150)
          assert.isAtLeast(before, waited.length)
          const sql = yield* SqlClient.SqlClient
          const works = {
            transaction: Sql.withTransaction(Effect.zipRight(Sql.query("select 1"), Sql.query("select 2"))),
            withConnection: Sql.withConnection(Effect.zipRight(Sql.query("select 1"), Sql.query("select 2"))),
            stream: Stream.runDrain(sql`select 1 as n`.stream)
          }
          for (const [form, work] of Object.entries(works)) {
            before = 0
            waited.length = 0
            held.length = 0
            yield* work as Effect.Effect<unknown, unknown, Sql.Sql>
            assert.deepStrictEqual([before, waited.length, held.length], [1, 1, 1], form)
          }
          assert.deepStrictEqual([...where], ["primary sluice"])
          // A caller that leaves its statement has its end told, too.
          const left = yield* Effect.fork(sleep(60))
          yield* eventually(
            "it runs",
            Effect.sync(() => waited.length === 2)
          )
          yield* Fiber.interrupt(left)
          yield* balanced
          // The control connection, on which MySQL cancels, is none of the pool.
          const { write } = yield* Sql.stats
          assert.strictEqual(connected, write.connects)
        })
      )
    }
  )

  it.effect("what beforeAcquire refuses fails with HookFailed, and nothing is sent", () => {
    let isClosed = false
    const beforeAcquire = () => (isClosed ? Effect.fail(new Error("closed for today")) : Effect.void)
    return onPool({ hooks: { beforeAcquire } }, (name) =>
      Effect.gen(function* () {
        yield* Sql.query("select 1")
        isClosed = true
        const works = {
          statement: Sql.query("select 1"),
          transaction: Sql.withTransaction(Sql.query("select 1")),
          withConnection: Sql.withConnection(Sql.query("select 1")),
          read: Sql.read(Sql.query("select 1")),
          stream: Effect.flatMap(SqlClient.SqlClient, (sql) => Stream.runDrain(sql`select 1 as n`.stream))
        }
        for (const [form, work] of Object.entries(works)) {
          const reason = yield* reasonOf(work as Effect.Effect<unknown, unknown, Sql.Sql | SqlClient.SqlClient>)
          assert.deepStrictEqual([reason._tag, reason.retry, reason.outcome], ["HookFailed", "never", "none"], form)
        }
        isClosed = false
        yield* nothingRuns(name)
      })
    )
  })

  it.effect("a statement inside of the hooks around an acquire fails, which is logged once, and nobody waits", () => {
    const warnings: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      if (logLevel._tag === "Warning") warnings.push(String(message))
    })
    let client: SqlClient.SqlClient | undefined
    const run = () => (client === undefined ? Effect.void : client`select 1`)
    const hooks = { afterAcquire: run, afterRelease: run }
    return Effect.provide(
      onPool({ pool: { maxSize: 1 }, hooks }, () =>
        Effect.gen(function* () {
          client = yield* SqlClient.SqlClient
          for (let i = 0; i < 3; i++) {
            yield* Sql.query("select 1")
            yield* Sql.withTransaction(Sql.query("select 1"))
          }
          yield* eventually(
            "both are logged",
            Effect.sync(() => warnings.length === 2)
          )
          assert.match(warnings[0]!, /the hook afterAcquire has failed: a statement inside of the hook afterAcquire/)
          assert.match(warnings[1]!, /the hook afterRelease has failed: a statement inside of the hook afterRelease/)
        })
      ),
      Logger.replace(Logger.defaultLogger, logger)
    )
  })

  it.effect("beforeClose is told why each connection closes", () => {
    const reasons: Array<string> = []
    const beforeClose = (reason: string) => Effect.sync(() => void reasons.push(reason))
    return Effect.gen(function* () {
      yield* onPool({ pool: { maxSize: 1 }, hooks: { beforeClose } }, (name) =>
        Effect.gen(function* () {
          yield* Sql.query("select 1")
          yield* Effect.flatMap(Sql.Sql, (sql) => sql.reset())
          yield* Sql.query("select 1")
          assert.deepStrictEqual(reasons, ["generation"])
          yield* end(name)
          yield* eventually(
            "it is noticed",
            Effect.sync(() => reasons.length === 2)
          )
          assert.deepStrictEqual(reasons, ["generation", "error"])
          yield* Sql.query("select 1")
        })
      )
      assert.deepStrictEqual(reasons, ["generation", "error", "drain"])
      reasons.length = 0
      yield* onPool({ pool: { maxSize: 1, maxUses: 2, minIdle: 0 }, hooks: { beforeClose } }, () =>
        Effect.zipRight(Effect.repeatN(Sql.withConnection(Sql.query("select 1")), 3), Effect.void)
      )
      assert.include(reasons, "lifetime")
    })
  })

  it.effect("layerConfig takes hooks, and a hook that nobody knows is refused by name", () =>
    Effect.gen(function* () {
      yield* setUp
      const name = unique("hooks")
      const own = yield* optionsOf(name)
      for (const hooks of [{ onConnect: sets }, Config.succeed({ onConnect: sets })]) {
        const live = dialect.layerConfig({ ...own, hooks } as any)
        shown(yield* Effect.provide(Sql.query(text.shows), live))
        yield* noSessions(name)
      }
      const typo = dialect.layer({ ...own, hooks: { afterConnect: sets } } as any)
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(typo)))
      assert.isTrue(Exit.isFailure(exit))
      assert.match(String(exit), /hooks\.afterConnect is no option here: use onConnect/)
    })
  )
})
