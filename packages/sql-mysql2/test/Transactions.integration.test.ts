import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { MariaDbCluster } from "@sluice/testkit"
import { Cause, Deferred, Effect, Exit, Fiber, Random } from "effect"
import { driver, packed } from "../src/internal/driver.js"
import * as endpoint from "../src/internal/endpoint.js"
import {
  as,
  atOnce,
  booksBalance,
  eventually,
  onPool,
  reasonOf,
  rowsOf,
  running,
  sessions,
  table,
  thread,
  user
} from "./support/fixture.js"

const insert = (name: string, id: number) => Sql.query(`insert into ${name} values (?)`, [id])

let latest = ""

/**
 * The isolation level of the transaction of this session, which has written something. The server shows what it knew of its
 * transactions when it was last asked, unless that was more than a tenth of a second ago.
 */
const levelOf = (session: number) =>
  Effect.gen(function* () {
    const { primary } = yield* MariaDbCluster.MariaDbCluster
    let level = ""
    yield* eventually(
      "the server shows another transaction",
      Effect.map(
        primary.query<{ id: string; level: string }>(
          `select trx_id as id, trx_isolation_level as level from information_schema.innodb_trx where trx_mysql_thread_id = ${session}`
        ),
        ([row]) => {
          if (row === undefined || row.id === "0" || row.id === latest) return false
          latest = row.id
          level = row.level
          return true
        }
      ).pipe(Effect.delay("150 millis"))
    )
    return level
  })

/** Keeps every COMMIT of the server waiting, until the scope closes. */
const commitsWait = Effect.gen(function* () {
  const { primary } = yield* MariaDbCluster.MariaDbCluster
  yield* user("blocker")
  yield* primary.query("grant reload on *.* to 'blocker'@'%'")
  const at = yield* endpoint.resolve({ url: as(primary, "blocker") })
  const blocker = yield* driver.connect(at.primary, { broken: () => {}, fatal: () => {}, isEnding: () => false })
  yield* driver.execute(blocker, "flush tables with read lock", [], "command")
})

/** Two transactions that wait for each other's row; gives how each ended. */
const deadlock = (name: string, end: (id: number) => Effect.Effect<unknown, unknown, Sql.Sql> = () => Effect.void) =>
  Effect.gen(function* () {
    yield* table(name, "id int primary key, n int")
    yield* Sql.query(`insert into ${name} values (1, 0), (2, 0)`)
    const both = yield* Deferred.make<void>()
    let arrived = 0
    const one = (mine: number, other: number) =>
      Effect.gen(function* () {
        yield* Sql.query(`update ${name} set n = n + 1 where id = ?`, [mine])
        if (++arrived === 2) yield* Deferred.succeed(both, undefined)
        yield* Deferred.await(both)
        return yield* Effect.catchAll(Sql.query(`update ${name} set n = n + 1 where id = ?`, [other]), (error) =>
          Effect.zipRight(end(mine), Effect.fail(error))
        )
      })
    return { one: one(1, 2), two: one(2, 1) }
  })

layer(MariaDbCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("transactions", (it) => {
  it.effect("a statement that fails leaves its transaction open: what came before is written with it", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("goes_on", "id int primary key")
        yield* Effect.gen(function* () {
          yield* insert("goes_on", 1)
          assert.strictEqual((yield* reasonOf(insert("goes_on", 1)))._tag, "UniqueViolation")
          assert.strictEqual((yield* reasonOf(Sql.query("selct")))._tag, "SyntaxError")
          yield* insert("goes_on", 2)
        }).pipe(Sql.withTransaction)
        assert.deepStrictEqual(yield* rowsOf("goes_on"), [1, 2])
      })
    )
  )

  it.effect("isolation and readOnly are the server's, for this transaction alone; Sql.read makes it read only", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        yield* table("levels", "id int")
        const { primary } = yield* MariaDbCluster.MariaDbCluster
        const mine = Effect.gen(function* () {
          const id = yield* thread
          yield* Sql.query("select * from levels")
          // The server looks at its transactions again when nobody has asked for a tenth of a second.
          yield* Effect.sleep("150 millis")
          const rows = yield* primary.query<{ l: string; r: number }>(
            "select trx_isolation_level as l, trx_is_read_only as r from information_schema.innodb_trx where trx_mysql_thread_id = ?",
            [id]
          )
          return [rows[0]!.l, Number(rows[0]!.r)]
        })
        assert.deepEqual(yield* Sql.withTransaction({ isolation: "serializable" })(mine), ["SERIALIZABLE", 0])
        assert.deepEqual(yield* Sql.withTransaction({ isolation: "read committed", readOnly: true })(mine), [
          "READ COMMITTED",
          1
        ])
        assert.deepEqual(yield* Sql.withTransaction(mine), ["REPEATABLE READ", 0])
        assert.deepEqual(yield* Sql.read(Sql.withTransaction(mine)), ["REPEATABLE READ", 1])
        // There is nothing like it, and nothing is said.
        assert.deepEqual(yield* Sql.withTransaction({ deferrable: true })(mine), ["REPEATABLE READ", 0])
        const write = yield* reasonOf(Sql.withTransaction({ readOnly: true })(insert("levels", 1)))
        assert.deepStrictEqual([write._tag, write.code, write.connection], ["NotWritable", "1792", "keep"])
        assert.deepStrictEqual(yield* rowsOf("levels"), [])
      })
    )
  )

  it.effect("of two transactions that wait for each other one fails, is undone, and may be run again", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        const { one, two } = yield* deadlock("dead")
        const exits = yield* Effect.all([Sql.withTransaction(one), Sql.withTransaction(two)].map(Effect.exit), {
          concurrency: 2
        })
        const failures = exits.flatMap((exit) => (Exit.isFailure(exit) ? [SqlReason.of(Cause.squash(exit.cause))] : []))
        assert.deepStrictEqual(
          failures.map(({ _tag, code, connection, outcome, retry }) => [_tag, code, connection, outcome, retry]),
          [["Deadlock", "1213", "keep", "rolledBack", "transaction"]]
        )
        assert.deepEqual(yield* Sql.query("select n from dead"), [{ n: 1 }, { n: 1 }])

        const again = yield* deadlock("dead")
        yield* Effect.all(
          [again.one, again.two].map((body) => Sql.withTransaction({ retry: true })(body)),
          { concurrency: 2 }
        )
        assert.deepEqual(yield* Sql.query("select n from dead"), [{ n: 2 }, { n: 2 }])
      })
    )
  )

  it.effect("after a deadlock that was caught, nothing more of the transaction is written, and it says so", () =>
    onPool({}, () =>
      Effect.gen(function* () {
        yield* table("ghosts", "id int")
        const reasons: Array<SqlReason.SqlReason> = []
        const { one, two } = yield* deadlock("dead2", (id) =>
          Effect.gen(function* () {
            // The server has rolled back; sent now, this would be written at once, by itself.
            reasons.push(yield* reasonOf(insert("ghosts", id)))
            // A savepoint of what is gone is gone.
            reasons.push(yield* reasonOf(Sql.withTransaction(insert("ghosts", id))))
          })
        )
        const swallowed = (body: Effect.Effect<unknown, unknown, Sql.Sql>) =>
          Effect.either(Sql.withTransaction(Effect.ignore(body)))
        const ended = yield* Effect.all([swallowed(one), swallowed(two)], { concurrency: 2 })
        const lost = ended.flatMap((either) => (either._tag === "Left" ? [either.left] : []))
        assert.lengthOf(lost, 1)
        assert.strictEqual(SqlReason.of(lost[0])._tag, "TransactionAborted")
        assert.strictEqual(SqlReason.of(lost[0]).retry, "transaction")
        assert.include(lost[0]!.message, "Deadlock")
        assert.deepStrictEqual(
          reasons.map(({ _tag }) => _tag),
          ["TransactionAborted", "TransactionAborted"]
        )
        assert.deepStrictEqual(yield* rowsOf("ghosts"), [])
      })
    )
  )

  it.effect(
    "after a statement that commits implicitly the transaction goes on as another one, and is never run again",
    () =>
      onPool({ multipleStatements: true, pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          yield* table("implicit", "id int primary key")
          const create = Sql.query("create or replace table made (id int)")
          yield* Sql.withTransaction(
            Effect.gen(function* () {
              yield* insert("implicit", 1)
              yield* create
              yield* insert("implicit", 2)
              yield* Sql.query("create or replace table made (id int); create or replace table made (id int)")
              yield* insert("implicit", 3)
            })
          )
          assert.deepStrictEqual(yield* rowsOf("implicit"), [1, 2, 3])
          yield* Effect.ignore(
            Sql.withTransaction({ isolation: "serializable" })(
              insert("implicit", 4).pipe(
                Effect.zipRight(create),
                Effect.zipRight(insert("implicit", 5)),
                Effect.zipRight(Effect.fail("no"))
              )
            )
          )
          assert.deepStrictEqual(yield* rowsOf("implicit"), [1, 2, 3, 4])
          // Ends by a failure that would be worth another run, were it not for what is written.
          let runs = 0
          const reason = yield* reasonOf(
            Effect.gen(function* () {
              runs++
              yield* insert("implicit", 10 + runs)
              yield* create
              yield* Sql.query("signal sqlstate '40001' set mysql_errno = 1213")
            }).pipe(Sql.withTransaction({ retry: true }))
          )
          assert.deepStrictEqual([reason._tag, reason.outcome, reason.retry, runs], ["Deadlock", "unknown", "never", 1])
          assert.deepStrictEqual(yield* rowsOf("implicit"), [1, 2, 3, 4, 11])
          // By hand it is as the server does it.
          yield* Effect.gen(function* () {
            yield* Sql.query("start transaction")
            yield* create
            assert.deepEqual(yield* Sql.query("select @@in_transaction as t"), [{ t: 0 }])
          }).pipe(Sql.withConnection)
        })
      )
  )

  it.effect("the state of a connection is known without asking: after rows, after a change, after a failure", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      yield* primary.query("create or replace table states (id int primary key)")
      yield* primary.query(
        "create or replace procedure opens() begin start transaction; insert into states values (1); signal sqlstate '45000'; end"
      )
      const at = yield* endpoint.resolve({ url: primary.url, multipleStatements: true })
      const connection = yield* driver.connect(at.primary, { broken: () => {}, fatal: () => {}, isEnding: () => false })
      const after = (sql: string, params: ReadonlyArray<unknown> = []) =>
        Effect.map(Effect.exit(driver.execute(connection, sql, params, "rows")), () => driver.status(connection))
      assert.strictEqual(driver.status(connection), "idle")
      assert.strictEqual(yield* after("select 1"), "idle")
      assert.strictEqual(yield* after("start transaction"), "transaction")
      assert.strictEqual(yield* after("select ? as a", [1]), "transaction")
      assert.strictEqual(yield* after("selct"), "transaction")
      assert.strictEqual(yield* after("insert into states values (?)", [null]), "transaction")
      assert.strictEqual(yield* after("rollback"), "idle")
      // The procedure has failed, and nothing in its failure says that it has left a transaction open.
      assert.strictEqual(yield* after("call opens()"), "transaction")
      // Nor that it may have set a variable.
      assert.strictEqual(yield* after("rollback"), "session")
      assert.strictEqual(yield* after("start transaction; select 1; selct"), "transaction")
      yield* driver.reset(connection)
      assert.strictEqual(driver.status(connection), "idle")
      assert.strictEqual(yield* after("set transaction isolation level serializable"), "session")
      yield* driver.reset(connection)
      assert.strictEqual(yield* after("set @a = 1"), "session")
      assert.strictEqual(yield* after("select 1"), "session")
      yield* driver.reset(connection)
      assert.strictEqual(driver.status(connection), "idle")
      assert.strictEqual(yield* after("set autocommit = 0"), "session")
      assert.strictEqual(yield* after("select * from states"), "transaction")
      yield* driver.reset(connection)
      assert.strictEqual(yield* after("select * from states"), "idle")
    }).pipe(Effect.scoped)
  )

  it.effect("a COMMIT whose answer is lost, or late, is CommitUnknown; an interruption does not cut it short", () =>
    onPool({ pool: { maxSize: 3, abortTimeout: "1 second" } }, (name) =>
      Effect.gen(function* () {
        const cluster = yield* MariaDbCluster.MariaDbCluster
        yield* table("lost_commit", "id int")
        const begin = (id: number, commitTimeout = "30 seconds") =>
          Effect.gen(function* () {
            const go = yield* Deferred.make<void>()
            const ready = yield* Deferred.make<void>()
            const fiber = yield* insert("lost_commit", id).pipe(
              Effect.zipRight(Deferred.succeed(ready, undefined)),
              Effect.zipRight(Deferred.await(go)),
              Sql.withTransaction({ commitTimeout: commitTimeout as "30 seconds" }),
              Effect.fork
            )
            yield* Deferred.await(ready)
            return { go: Deferred.succeed(go, undefined), fiber }
          })
        const lost = yield* begin(1)
        const late = yield* begin(2, "100 millis")
        const kept = yield* begin(3)
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* commitsWait
            yield* lost.go
            yield* running(name, "COMMIT")
            yield* cluster.primary.terminateBackends({ user: name, id: (yield* sessionOf(name, "COMMIT"))! })
            const reason = yield* reasonOf(Fiber.join(lost.fiber))
            assert.strictEqual(reason._tag, "CommitUnknown")
            assert.strictEqual(reason.outcome, "unknown")
            yield* late.go
            assert.strictEqual((yield* reasonOf(Fiber.join(late.fiber)))._tag, "CommitUnknown")
            yield* eventually(
              "the late one has been given up",
              Effect.map(sessionOf(name, "COMMIT"), (id) => id === undefined)
            )
            yield* kept.go
            yield* running(name, "COMMIT")
            yield* Effect.fork(Fiber.interrupt(kept.fiber))
          })
        )
        yield* Fiber.await(kept.fiber)
        assert.deepStrictEqual(yield* rowsOf("lost_commit"), [3])
      })
    )
  )

  it.effect("transactions interrupted at any moment are written as a whole or not at all, and none is left open", () =>
    onPool({ pool: { maxSize: 4 } }, (name) =>
      Effect.gen(function* () {
        yield* table("halves", "id int")
        yield* Effect.forEach(
          Array.from({ length: 200 }, (_, i) => i),
          (i) =>
            Effect.gen(function* () {
              const fiber = yield* insert("halves", i).pipe(
                Effect.zipRight(Sql.query("do sleep(0.001)")),
                Effect.zipRight(insert("halves", i)),
                Sql.withTransaction({ isolation: "read committed" }),
                Effect.fork
              )
              yield* Effect.sleep(yield* Random.nextIntBetween(0, 15))
              if (i % 4 === 0) yield* Fiber.await(fiber)
              else yield* atOnce(Fiber.interrupt(fiber))
            }),
          { concurrency: 12, discard: true }
        )
        yield* booksBalance
        const { primary } = yield* MariaDbCluster.MariaDbCluster
        assert.deepEqual(
          yield* primary.query(
            "select trx_id from information_schema.innodb_trx join information_schema.processlist on id = trx_mysql_thread_id where user = ?",
            [name]
          ),
          []
        )
        const odd = yield* Sql.query("select id from halves group by id having count(*) <> 2")
        assert.deepEqual(odd, [])
        assert.isAtLeast((yield* rowsOf("halves")).length, 100)
      })
    )
  )

  /** One connection that takes a statement behind another, and counts its writes. */
  const counted = Effect.gen(function* () {
    const { primary } = yield* MariaDbCluster.MariaDbCluster
    const at = yield* endpoint.resolve({ url: primary.url })
    const connection = yield* packed(false).connect(at.primary, {
      broken: () => {},
      fatal: () => {},
      isEnding: () => false
    })
    const stream = connection.wire.stream as any
    let writes = 0
    for (const method of ["_write", "_writev"]) {
      const write = stream[method]
      stream[method] = (...args: Array<unknown>) => {
        writes++
        return write.apply(stream, args)
      }
    }
    /** How many writes `effect` takes. */
    const during = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.suspend(() => {
        writes = 0
        return Effect.map(effect, (a) => [a, writes] as const)
      })
    const first = (sql: string, params: ReadonlyArray<unknown> = [], begin = "START TRANSACTION") =>
      driver.execute(connection, sql, params, "rows", [begin])
    const rollback = driver.execute(connection, "ROLLBACK", [], "command")
    return { connection, during, first, rollback }
  })

  it.effect("START TRANSACTION leaves in one write with a first statement that reads", () =>
    Effect.gen(function* () {
      const { connection, during, first, rollback } = yield* counted
      for (const sql of ["select ? as n", "select ? as n from dual for update"]) {
        // Prepared first: that is a write of its own.
        const known = yield* during(first(sql, [1]))
        assert.deepStrictEqual(known, [[{ n: 1 }], 2])
        assert.strictEqual(connection.status(), "transaction")
        yield* rollback
        assert.deepStrictEqual(yield* during(first(sql, [2])), [[{ n: 2 }], 1])
        assert.strictEqual(connection.status(), "transaction")
        yield* rollback
        assert.strictEqual(connection.status(), "idle")
      }
    }).pipe(Effect.scoped)
  )

  it.effect("a first statement that writes is sent when the transaction is known to have begun", () =>
    Effect.gen(function* () {
      const { connection, during, first, rollback } = yield* counted
      yield* driver.execute(connection, "drop table if exists begun", [], "command")
      yield* driver.execute(connection, "create table begun (id int)", [], "command")
      yield* driver.execute(connection, "insert into begun values (?)", [0], "rows")
      const [, writes] = yield* during(first("insert into begun values (?)", [1]))
      assert.strictEqual(writes, 2)
      yield* rollback
      for (const sql of ["insert into begun values (2)", "select 3 into @three", "select nextval(begun_seq)"]) {
        const refused = yield* Effect.flip(first(sql, [], "START TRANSACTIONS"))
        assert.strictEqual(SqlReason.of(refused)._tag, "SyntaxError")
        assert.strictEqual(connection.status(), "idle")
      }
      assert.deepStrictEqual(yield* driver.execute(connection, "select id from begun", [], "values"), [[0]])
    }).pipe(Effect.scoped)
  )

  it.effect(
    "a START TRANSACTION that is refused is the failure of the read that left with it, and nothing is open",
    () =>
      Effect.gen(function* () {
        const { connection, first } = yield* counted
        for (const sql of ["select 1 as n", "select nope"]) {
          for (let i = 0; i < 2; i++) {
            const refused = yield* Effect.flip(first(sql, [], "START TRANSACTIONS"))
            assert.include(String((SqlReason.of(refused).cause as Error).message), "TRANSACTIONS")
            // The isolation level may have been set for it.
            assert.strictEqual(connection.status(), "session")
            yield* driver.reset(connection)
            assert.strictEqual(connection.status(), "idle")
          }
        }
        assert.deepStrictEqual(yield* driver.execute(connection, "select 2 as n", [], "rows"), [{ n: 2 }])
      }).pipe(Effect.scoped)
  )

  it.effect("a first read that fails, or cannot be sent, leaves its transaction open until the rollback", () =>
    Effect.gen(function* () {
      const { connection, first, rollback } = yield* counted
      const failing: ReadonlyArray<readonly [string, ReadonlyArray<unknown>, SqlReason.Tag]> = [
        ["select nope", [], "SyntaxError"],
        ["select ? as n, ? as m", [1], "InvalidUse"]
      ]
      yield* driver.execute(connection, "select ? as n", [1], "rows")
      for (const [sql, params, tag] of failing) {
        assert.strictEqual(SqlReason.of(yield* Effect.flip(first(sql, params)))._tag, tag)
        assert.strictEqual(connection.status(), "transaction")
        yield* rollback
        assert.strictEqual(connection.status(), "idle")
      }
    }).pipe(Effect.scoped)
  )

  it.effect("a connection that is lost during a first read is lost inside of the transaction: nothing is written", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const { connection, first } = yield* counted
      const fiber = yield* Effect.fork(first("select sleep(39)"))
      yield* running("sluice", "sleep(39)")
      yield* primary.query(`kill connection ${connection.server.thread}`)
      const { outcome, retry } = yield* reasonOf(Fiber.join(fiber))
      assert.deepStrictEqual([outcome, retry], ["rolledBack", "transaction"])
      assert.strictEqual(connection.status(), "dead")
    }).pipe(Effect.scoped)
  )

  it.effect("transactions that begin with a read, interrupted at any moment: written as a whole or not at all", () =>
    onPool({ pool: { maxSize: 4 } }, () =>
      Effect.gen(function* () {
        yield* table("reading_first", "id int, half int")
        yield* Effect.forEach(
          Array.from({ length: 200 }, (_, id) => id),
          (id) =>
            Effect.gen(function* () {
              const both = Effect.gen(function* () {
                yield* Sql.query("select count(*) as n from reading_first where id = ? for update", [id % 5])
                yield* Sql.query("insert into reading_first values (?, 1)", [id])
                yield* Sql.query("insert into reading_first values (?, 2)", [id])
              })
              const fiber = yield* Effect.fork(Sql.withTransaction({ retry: true })(both))
              yield* Effect.sleep(yield* Random.nextIntBetween(0, 8))
              yield* Fiber.interrupt(fiber)
            }),
          { concurrency: 8, discard: true }
        )
        yield* booksBalance
        const halves = yield* Sql.query<{ n: number }>(
          "select count(*) as n from reading_first group by id having count(*) <> 2"
        )
        assert.deepStrictEqual(halves, [])
      })
    )
  )

  it.effect("a COMMIT under a statement timeout leaves nothing in its session that has to be cleaned", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const at = yield* endpoint.resolve({ url: primary.url, statementTimeout: "1 second" })
      const connection = yield* driver.connect(at.primary, { broken: () => {}, fatal: () => {}, isEnding: () => false })
      for (const sql of ["START TRANSACTION", "create or replace table clean (id int)", "COMMIT"]) {
        yield* driver.execute(connection, sql, [], "command")
      }
      assert.strictEqual(driver.status(connection), "idle")
    }).pipe(Effect.scoped)
  )

  it.effect("statementTimeout does not bound COMMIT: one that waits longer is written, and says so", () =>
    onPool({ statementTimeout: "300 millis", pool: { maxSize: 3 } }, (name) =>
      Effect.gen(function* () {
        const { primary } = yield* MariaDbCluster.MariaDbCluster
        yield* primary.query(`grant reload on *.* to '${name}'@'%'`)
        yield* table("patient", "id int")
        const locked = yield* Deferred.make<void>()
        const free = yield* Deferred.make<void>()
        const inserted = yield* Deferred.make<void>()
        const locker = yield* Effect.fork(
          Sql.withConnection(
            Effect.gen(function* () {
              yield* Deferred.await(inserted)
              yield* Sql.query("set statement max_statement_time = 0 for flush tables with read lock")
              yield* Deferred.succeed(locked, undefined)
              yield* Deferred.await(free)
              yield* Sql.query("unlock tables")
            })
          )
        )
        const fiber = yield* Effect.fork(
          Sql.withTransaction({ commitTimeout: "30 seconds" })(
            Effect.gen(function* () {
              yield* Sql.query("insert into patient values (1)")
              yield* Deferred.succeed(inserted, undefined)
              yield* Deferred.await(locked)
            })
          )
        )
        yield* Deferred.await(locked)
        yield* Effect.sleep(2_000)
        yield* Deferred.succeed(free, undefined)
        yield* Fiber.join(locker)
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(yield* rowsOf("patient"), [1])
      })
    )
  )

  for (const multipleStatements of [false, true]) {
    it.effect(
      `an isolation level is that of one transaction, also of what goes on after an implicit commit (${multipleStatements ? "one text" : "two"})`,
      () =>
        onPool({ multipleStatements, pool: { maxSize: 1 } }, () =>
          Effect.gen(function* () {
            yield* table("isolated", "id int primary key")
            const before = yield* thread
            const level = Effect.flatMap(thread, levelOf)
            for (let run = 0; run < 3; run++) {
              const levels = yield* Sql.withTransaction({ isolation: "serializable" })(
                Effect.gen(function* () {
                  // The BEGIN leaves with a read, or alone.
                  if (run === 1) yield* Sql.query("select id from isolated")
                  yield* insert("isolated", run * 2)
                  const first = yield* level
                  yield* Sql.query("create or replace table made (id int)")
                  yield* insert("isolated", run * 2 + 1)
                  return [first, yield* level]
                })
              )
              assert.deepStrictEqual(levels, ["SERIALIZABLE", "SERIALIZABLE"])
              const next = Sql.withTransaction(Effect.zipRight(insert("isolated", 100 + run), level))
              assert.strictEqual(yield* next, "REPEATABLE READ")
            }
            assert.strictEqual(yield* thread, before)
            assert.strictEqual((yield* Sql.query("select id from isolated")).length, 9)
          })
        )
    )
  }

  it.effect("an isolation level that was set for a transaction which never began is not that of another one", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const at = yield* endpoint.resolve({ url: primary.url })
      const connection = yield* driver.connect(at.primary, { broken: () => {}, fatal: () => {}, isEnding: () => false })
      const run = (sql: string) => driver.execute(connection, sql, [], "rows")
      const end = driver.execute(connection, "ROLLBACK", [], "command")
      yield* run("create or replace table abandoned (id int)")
      const isolate = driver.execute(connection, driver.begin({ isolation: "serializable" })[0]!, [], "command")
      const open = driver.execute(connection, "insert into abandoned values (1)", [], "rows", driver.begin({}))
      const level = levelOf(connection.server.thread as number)
      for (const clean of [Effect.void, driver.reset(connection)]) {
        yield* isolate
        assert.strictEqual(driver.status(connection), "session")
        yield* clean
        yield* open
        assert.strictEqual(yield* level, "REPEATABLE READ")
        yield* end
        assert.strictEqual(driver.status(connection), "idle")
      }
      yield* run("drop table abandoned")
    }).pipe(Effect.scoped)
  )
})

/** The session of this user that runs this. */
const sessionOf = (user: string, query: string) =>
  Effect.map(sessions(user), (all) => all.find((one) => one.query === query)?.id)
