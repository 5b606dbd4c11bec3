import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { MariaDbCluster } from "@sluice/testkit"
import { Deferred, Effect, Fiber, Layer, Logger, Redacted } from "effect"
import { driver } from "../src/internal/driver.js"
import * as endpoint from "../src/internal/endpoint.js"
import {
  as,
  eventually,
  onPool,
  rowOn,
  rowsOf,
  running,
  sessions,
  type Told,
  table,
  thread,
  told,
  user
} from "./support/fixture.js"
import { takePlaces } from "./support/places.js"

const row = rowOn(thread)

const terminate = (name: string) =>
  Effect.flatMap(MariaDbCluster.MariaDbCluster, ({ primary }) => primary.terminateBackends({ user: name }))

const one = { pool: { maxSize: 1 } }

/** The failure of a Layer that cannot connect. */
const refused = (config: MysqlSql.MysqlSqlConfig) =>
  Effect.flip(
    Effect.scoped(Layer.build(MysqlSql.layer({ duplicates: "allow", ...config })))
  ) as unknown as Effect.Effect<Error>

const kept = (tag: SqlReason.Tag): Told => [tag, "keep", "rolledBack", "never"]

layer(MariaDbCluster.layer({ settings: { max_connections: 20, max_user_connections: 1000 } }), {
  excludeTestServices: true,
  timeout: "2 minutes"
})("errors", (it) => {
  it.effect("what the server refuses keeps its connection, is undone, and never tried again", () =>
    onPool(one, () =>
      Effect.gen(function* () {
        yield* Sql.query("drop table if exists child")
        yield* table("parent", "id int primary key, n int not null, check (id < 100)")
        yield* table("varied", "s varchar(2), e enum('a'), d date, n bigint")
        yield* Sql.query("insert into varied (n) values (1)")
        yield* Sql.query("create table child (id int, foreign key (id) references parent (id))")
        yield* Sql.query("insert into parent values (1, 1), (2, 2)")
        yield* Sql.query("insert into child values (2)")
        const rows: ReadonlyArray<readonly [sql: string, code: string, SqlReason.Tag, RegExp]> = [
          ["insert into parent values (1, 1)", "1062", "UniqueViolation", /PRIMARY.*\(1062\)/],
          ["insert into child values (7)", "1452", "ForeignKeyViolation", /child_ibfk_1/],
          ["delete from parent where id = 2", "1451", "ForeignKeyViolation", /child_ibfk_1/],
          ["insert into parent values (100, 1)", "4025", "CheckViolation", /CONSTRAINT/],
          ["insert into parent values (3, null)", "1048", "NotNullViolation", /'n'/],
          ["insert into parent (id) values (3)", "1364", "NotNullViolation", /'n'/],
          ["selct 1", "1064", "SyntaxError", /syntax/],
          ["select * from nowhere", "1146", "SyntaxError", /nowhere' doesn't exist/],
          ["select nothing from parent", "1054", "SyntaxError", /'nothing'/],
          ["use nowhere", "1044", "PermissionDenied", /nowhere/],
          ["insert into parent values ('x', 1)", "1366", "InvalidData", /Incorrect integer value/],
          ["insert into parent values (99999999999, 1)", "1264", "InvalidData", /Out of range/],
          ["insert into varied (s) values ('abc')", "1406", "InvalidData", /too long/],
          ["insert into varied (e) values ('z')", "1265", "InvalidData", /truncated/],
          ["insert into varied (d) values ('2024-13-01')", "1292", "InvalidData", /Incorrect date/],
          ["update varied set n = 9223372036854775807 + 1", "1690", "InvalidData", /out of range/],
          ["signal sqlstate '45000' set message_text = 'mine'", "1644", "Unclassified", /: … \(1644\)/]
        ]
        for (const [sql, code, tag, says] of rows) yield* row(Sql.query(sql), code, kept(tag), says)
        yield* row(
          Sql.withTransaction({ readOnly: true })(Sql.query("insert into parent values (3, 1)")),
          "1792",
          kept("NotWritable"),
          /READ ONLY transaction/
        )
        yield* Sql.query("drop table child")
      })
    )
  )

  it.effect("what a user may not do is PermissionDenied", () =>
    onPool(one, () =>
      Effect.gen(function* () {
        const { primary } = yield* MariaDbCluster.MariaDbCluster
        yield* primary.query("create database if not exists secret")
        yield* primary.query("create table if not exists secret.secrets (id int)")
        yield* row(Sql.query("select * from secret.secrets"), "1142", kept("PermissionDenied"), /secrets/)
        yield* row(
          Sql.query("set global max_connections = 1000"),
          "1227",
          kept("PermissionDenied"),
          /SUPER|CONNECTION ADMIN/
        )
      })
    )
  )

  it.effect("timeouts of statements and locks keep the connection; a kill by somebody else does too", () =>
    onPool(one, (name) =>
      Effect.gen(function* () {
        const { primary } = yield* MariaDbCluster.MariaDbCluster
        yield* table("locked", "id int primary key")
        yield* Sql.query("insert into locked values (1)")
        yield* row(
          Sql.query("set statement max_statement_time = 0.2 for select sleep(30)"),
          "1969",
          kept("StatementTimeout"),
          /max_statement_time/
        )
        const free = yield* Deferred.make<void>()
        const holds = yield* Deferred.make<void>()
        const other = yield* Effect.fork(
          onPool({}, () =>
            Sql.query("select * from locked where id = 1 for update").pipe(
              Effect.zipRight(Deferred.succeed(holds, undefined)),
              Effect.zipRight(Deferred.await(free)),
              Sql.withTransaction
            )
          )
        )
        yield* Deferred.await(holds)
        const locked = Effect.gen(function* () {
          yield* Sql.query("insert into locked values (2)")
          yield* Sql.query("select * from locked where id = 1 for update nowait")
        })
        yield* row(
          Sql.withTransaction(locked),
          "1205",
          ["LockTimeout", "keep", "rolledBack", "transaction"],
          /Lock wait timeout/
        )
        // The transaction was open still, so what came before could have been written.
        yield* Effect.gen(function* () {
          yield* Sql.query("insert into locked values (3)")
          yield* Effect.flip(Sql.query("select * from locked where id = 1 for update nowait"))
        }).pipe(Sql.withTransaction)
        yield* Deferred.succeed(free, undefined)
        yield* Fiber.join(other)
        assert.deepStrictEqual(yield* rowsOf("locked"), [1, 3])
        const cancelled = Effect.gen(function* () {
          const fiber = yield* Effect.fork(Sql.query("select sleep(31)"))
          yield* running(name, "sleep(31)")
          yield* primary.query(`kill query ${(yield* sessions(name))[0]!.id}`)
          return yield* Fiber.join(fiber)
        })
        yield* row(cancelled, "1317", kept("Cancelled"), /interrupted/)
      })
    )
  )

  it.effect("a session that an administrator ends: idle, running, in a transaction, between two statements", () =>
    onPool(one, (name) =>
      Effect.gen(function* () {
        yield* table("ended", "id int")
        // Idle: nobody sees it.
        const before = yield* thread
        yield* terminate(name)
        assert.notStrictEqual(yield* thread, before)
        const during = <A, E>(effect: Effect.Effect<A, E, Sql.Sql>, text: string) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(effect)
            yield* running(name, text)
            yield* terminate(name)
            return yield* Fiber.join(fiber)
          })
        const sleep = Sql.query("select sleep(32)")
        // MariaDB closes the socket, as a rule without a word.
        yield* row(
          during(sleep, "sleep(32)"),
          "PROTOCOL_CONNECTION_LOST",
          ["ConnectionLost", "destroy", "unknown", "idempotent"],
          /closed the connection/
        )
        yield* row(
          during(Sql.withTransaction(sleep), "sleep(32)"),
          "PROTOCOL_CONNECTION_LOST",
          ["ConnectionLost", "destroy", "rolledBack", "transaction"],
          /closed the connection/
        )
        const between = Effect.gen(function* () {
          yield* Sql.query("insert into ended values (2)")
          yield* terminate(name)
          yield* Sql.query("select 1")
        }).pipe(Sql.withTransaction)
        const lost = SqlReason.of(yield* Effect.flip(between))
        assert.strictEqual(lost._tag, "ConnectionLost")
        assert.strictEqual(lost.retry, "transaction")
        assert.deepStrictEqual(yield* rowsOf("ended"), [])
      })
    )
  )

  it.effect(
    "a session that the server ends because it was idle for too long is lost with what it held, and replaced",
    () =>
      onPool(one, (name) =>
        Effect.gen(function* () {
          const idle = Effect.gen(function* () {
            yield* Sql.query("set wait_timeout = 1")
            yield* eventually(
              "the server has ended it",
              Effect.map(sessions(name), (all) => all.length === 0)
            )
            yield* Sql.query("select 1")
          }).pipe(Sql.withConnection)
          const lost = SqlReason.of(yield* Effect.flip(idle))
          assert.strictEqual(lost.retry, "transaction")
          assert.include(["ConnectionLost", "ServerShutdown"], lost._tag)
          yield* thread
        })
      )
  )

  it.effect("a statement on a connection that has died says why, and that nothing was sent", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const at = yield* endpoint.resolve({ url: primary.url })
      const broken: Array<unknown> = []
      const connection = yield* driver.connect(at.primary, {
        broken: (cause) => broken.push(cause),
        fatal: () => {},
        isEnding: () => false
      })
      const { thread } = connection.server
      yield* primary.query(`kill connection ${thread}`)
      yield* eventually(
        "it has noticed",
        Effect.sync(() => driver.status(connection) === "dead")
      )
      assert.lengthOf(broken, 1)
      for (const params of [[], [1]]) {
        const error = yield* Effect.flip(driver.execute(connection, "select 1", params, "rows"))
        told(
          error,
          "PROTOCOL_CONNECTION_LOST",
          ["ConnectionLost", "destroy", "none", "always"],
          /closed the connection/
        )
      }
      assert.strictEqual(SqlReason.of(yield* Effect.flip(driver.ping(connection))).retry, "always")
    }).pipe(Effect.scoped)
  )

  it.effect("a server that only reads is left: the connection is closed, and the write may go elsewhere", () =>
    onPool({ pool: { maxSize: 1, acquireTimeout: "500 millis" } }, () =>
      Effect.gen(function* () {
        const { primary } = yield* MariaDbCluster.MariaDbCluster
        yield* table("writable", "id int")
        yield* primary.query("set global read_only = 1")
        const write = Sql.query("insert into writable values (1)")
        yield* row(write, "1290", ["NotWritable", "destroy", "rolledBack", "always"], /read-only/)
        yield* row(
          Sql.withTransaction(write),
          "1290",
          ["NotWritable", "destroy", "rolledBack", "transaction"],
          /read-only/
        )
        // What only reads goes on.
        assert.deepEqual(yield* Sql.withTransaction(Sql.query("select * from writable")), [])
        yield* primary.query("set global read_only = 0")
        yield* write
      }).pipe(
        Effect.ensuring(
          Effect.flatMap(MariaDbCluster.MariaDbCluster, ({ primary }) =>
            Effect.ignore(primary.query("set global read_only = 0"))
          )
        )
      )
    )
  )

  it.effect("the same in another language of the server: nothing goes by words, and no value is shown", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const set = (settings: string) => primary.query(`set global ${settings}`)
      const german = /Abfrage|Ausführung|Duplizierter|Doppelter|Option|Beschränkung|Sperre|wurde|kann|ist/
      yield* set("lc_messages = 'de_DE'")
      yield* onPool({ pool: { maxSize: 1, acquireTimeout: "1 second" }, statementTimeout: "300 millis" }, (name) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* Sql.query("select @@lc_messages as l"), [{ l: "de_DE" }])
          yield* table("woerter", "id int primary key, n int check (n > 0)")
          yield* Sql.query("insert into woerter values (4711, 1)")
          const said = {
            timeout: Sql.query("select sleep(30)"),
            double: Sql.query("insert into woerter values (4711, 1)")
          }
          // The server has no translation of this one.
          yield* row(said.timeout, "1969", kept("StatementTimeout"), /max_statement_time/)
          yield* row(Sql.withTransaction(said.timeout), "1969", kept("StatementTimeout"), /max_statement_time/)
          yield* row(said.double, "1062", kept("UniqueViolation"), german)
          assert.notInclude((yield* Effect.flip(said.double)).message, "4711")
          yield* row(Sql.query("insert into woerter values (1, 0)"), "4025", kept("CheckViolation"), /CONSTRAINT/)
          yield* set("read_only = 1")
          yield* row(
            Sql.query("insert into woerter values (2, 1)"),
            "1290",
            ["NotWritable", "destroy", "rolledBack", "always"],
            /--read-only/
          )
          yield* set("read_only = 0")
          // The control connection asks until the server takes writes again.
          yield* eventually(
            "one session is left",
            Effect.map(sessions(name), (all) => all.length === 1)
          )
        })
      )
    }).pipe(
      Effect.ensuring(
        Effect.flatMap(MariaDbCluster.MariaDbCluster, ({ primary }) =>
          Effect.ignore(primary.query("set global lc_messages = 'en_US', global read_only = 0"))
        )
      )
    )
  )

  it.effect("a server that takes no writes is said at start-up, once, when it is the primary", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const said: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel.label === "WARN") said.push(String(message))
      })
      yield* primary.query("set global read_only = 1")
      yield* onPool({ pool: { maxSize: 2 } }, () =>
        Effect.all([Sql.query("select sleep(0.05)"), Sql.query("select sleep(0.05)")], { concurrency: 2 })
      ).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      assert.lengthOf(said, 1)
      assert.match(said[0]!, /^MySQL at .*: this is the primary, and the server takes no writes/)
      yield* primary.query("set global read_only = 0")
      yield* onPool({}, () => thread).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      assert.lengthOf(said, 1)
    }).pipe(
      Effect.ensuring(
        Effect.flatMap(MariaDbCluster.MariaDbCluster, ({ primary }) =>
          Effect.ignore(primary.query("set global read_only = 0"))
        )
      )
    )
  )

  it.effect("no entry: password, user, database", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const never: Told = ["AuthenticationFailed", "none", "none", "never"]
      yield* user("entry")
      told(yield* refused({ url: as(primary, "entry", "wr0ng") }), "1045", never, /check username and password/i)
      told(yield* refused({ url: as(primary, "nobody_knows") }), "1045", never, /check username and password/i)
      told(
        yield* refused({ url: Redacted.make(`${Redacted.value(primary.url)}_nowhere`) }),
        "1049",
        never,
        /no such database/i
      )
      yield* primary.query("create database if not exists others")
      const others = Redacted.make(Redacted.value(as(primary, "entry")).replace(/sluice$/, "others"))
      told(yield* refused({ url: others }), "1044", never, /grant it/i)
    })
  )

  it.effect("a server that is full: callers share what is open; nothing open is TooManyConnections", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      /** The pool has one connection, the test takes the others, and then 40 callers come. */
      const full = (name: string, places: number, code: string, says: RegExp) => {
        const url = as(primary, name)
        return onPool({ url, pool: { maxSize: 40 } }, () =>
          Effect.gen(function* () {
            yield* thread
            yield* takePlaces(url, places - 1)
            yield* eventually(
              "forty callers were served, and the server has refused the pool another connection",
              Effect.zipRight(
                Effect.forEach(Array.from({ length: 40 }), () => Sql.query("select sleep(0.01)"), {
                  concurrency: "unbounded"
                }),
                Effect.map(Sql.stats, ({ write }) => write.connectFailures > 0)
              )
            )
            assert.strictEqual((yield* Sql.stats).write.size, 1)
            assert.strictEqual((yield* sessions(name)).length, places)
            told(yield* refused({ url }), code, ["TooManyConnections", "none", "none", "always"], says)
          }).pipe(Effect.scoped)
        )
      }
      yield* user("errors_two", "with max_user_connections 2")
      yield* full("errors_two", 2, "1226", /max_user_connections.*lower maxSize/i)
      yield* user("errors_many")
      yield* primary.query("set global max_user_connections = 3")
      yield* full("errors_many", 3, "1203", /lower maxSize/i).pipe(
        Effect.ensuring(Effect.ignore(primary.query("set global max_user_connections = 1000")))
      )
      const [places] = yield* primary.query<{ n: number }>("select @@max_connections as n")
      yield* full("errors_many", places!.n, "1040", /Too many connections/)
    })
  )
})
