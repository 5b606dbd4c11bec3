/** A server whose messages are in another language, and which server takes writes: told by codes and by what is known, never by words. */
import * as Net from "node:net"
import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { PgCluster } from "@sluice/testkit"
import { Effect, Fiber, Logger, Redacted } from "effect"
import { active, backends, eventually, onPool, pid, reasonOf } from "./support/fixture.js"

/** The sentences of the server that a driver might look for, as one of another language, of the same length. */
const sentences = [
  "canceling statement due to statement timeout",
  "canceling statement due to user request",
  "cannot set transaction read-write mode during recovery",
  "cannot use serializable mode in a hot standby",
  "cannot execute INSERT in a read-only transaction",
  "cached plan must not change result type"
]

const foreign = (sentence: string): string => "Anweisung wird abgebrochen ".repeat(4).slice(0, sentence.length)

/** A way to the server on which it speaks that language. The server of the tests has no other one itself. */
const abroad = (port: number) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<Net.Server>((resume) => {
        const server = Net.createServer((client) => {
          const upstream = Net.connect(port, "127.0.0.1")
          for (const socket of [client, upstream]) socket.on("error", () => {})
          client.on("close", () => upstream.destroy())
          upstream.on("close", () => client.destroy())
          client.pipe(upstream)
          upstream.on("data", (data) => {
            let text = data.toString("latin1")
            for (const sentence of sentences) text = text.replaceAll(sentence, foreign(sentence))
            client.write(Buffer.from(text, "latin1"))
          })
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    ),
    (server) => (server.address() as Net.AddressInfo).port
  )

layer(PgCluster.layer({ replicas: 1 }), { excludeTestServices: true, timeout: "2 minutes" })(
  "another language",
  (it) => {
    const urlOf = (port: number, user = "sluice") => Redacted.make(`postgres://${user}:sluice@127.0.0.1:${port}/sluice`)

    const one = { maxSize: 1 }

    /** Waits that the server ends, in each form of a statement. */
    const sleep = Sql.query("select pg_sleep(30)")

    const tellsOf = (effect: Effect.Effect<unknown, unknown, Sql.Sql | PgCluster.PgCluster>) =>
      Effect.gen(function* () {
        const before = yield* pid
        const error = yield* Effect.flip(effect)
        const { _tag, code, connection, outcome, retry } = SqlReason.of(error)
        assert.notMatch((error as Error).message, /statement timeout|user request/)
        assert.strictEqual(yield* pid, before)
        return [_tag, code, connection, outcome, retry]
      })

    const timedOut = ["StatementTimeout", "57014", "keep", "rolledBack", "never"]

    it.scoped("a statement timeout is one whoever has set it: the option, the role, the session, the transaction", () =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const port = yield* abroad(primary.port)
        const url = urlOf(port)
        yield* onPool({ url, pool: one, statementTimeout: "200 millis" }, () =>
          Effect.gen(function* () {
            assert.deepStrictEqual(yield* tellsOf(sleep), timedOut)
            assert.deepStrictEqual(yield* tellsOf(Sql.query("select pg_sleep(30)", [], { prepare: false })), timedOut)
            assert.deepStrictEqual(yield* tellsOf(Sql.withTransaction(sleep)), timedOut)
            assert.deepStrictEqual(
              yield* tellsOf(Sql.withTransaction(Effect.zipRight(Sql.query("select 1"), sleep))),
              timedOut
            )
          })
        )
        yield* primary.query("create role limited login superuser password 'sluice'")
        yield* primary.query("alter role limited set statement_timeout = '200ms'")
        yield* onPool({ url: urlOf(port, "limited"), pool: one }, () =>
          Effect.gen(function* () {
            assert.deepStrictEqual(yield* tellsOf(sleep), timedOut)
            assert.deepStrictEqual(yield* tellsOf(Sql.withTransaction(sleep)), timedOut)
          })
        )
        yield* onPool({ url, pool: one }, () =>
          Effect.gen(function* () {
            for (const set of [
              "set local statement_timeout = 200",
              "SET LOCAL statement_timeout TO '0.2s'",
              "set statement_timeout = '200 ms'",
              "select set_config('statement_timeout', '200', true)"
            ]) {
              assert.deepStrictEqual(
                yield* tellsOf(Sql.withTransaction(Effect.zipRight(Sql.query(set), sleep))),
                timedOut,
                set
              )
            }
            const session = Sql.withConnection(Effect.zipRight(Sql.query("set statement_timeout = 200"), sleep))
            assert.deepStrictEqual(yield* tellsOf(session), timedOut)
          })
        )
      })
    )

    it.scoped("a cancel by somebody else is none, with a limit that was not reached and without one", () =>
      Effect.gen(function* () {
        const { primary } = yield* PgCluster.PgCluster
        const url = urlOf(yield* abroad(primary.port))
        for (const statementTimeout of [undefined, "1 hour"] as const) {
          yield* onPool({ url, pool: one, statementTimeout }, (name) => {
            const cancelled = (
              around: (effect: Effect.Effect<unknown, unknown, Sql.Sql>) => Effect.Effect<unknown, unknown, Sql.Sql>
            ) =>
              Effect.gen(function* () {
                const fiber = yield* Effect.fork(around(sleep))
                yield* active(name, "pg_sleep(30)")
                yield* primary.query(
                  "select pg_cancel_backend(pid) from pg_stat_activity where application_name = $1",
                  [name]
                )
                return yield* Fiber.join(fiber)
              })
            const expected = ["Cancelled", "57014", "keep", "rolledBack", "never"]
            return Effect.gen(function* () {
              assert.deepStrictEqual(yield* tellsOf(cancelled((effect) => effect)), expected)
              const limit = Sql.query("set local statement_timeout = '1min'")
              assert.deepStrictEqual(
                yield* tellsOf(cancelled((effect) => Sql.withTransaction(Effect.zipRight(limit, effect)) as never)),
                expected
              )
            })
          })
        }
      })
    )

    it.scoped("a standby as the primary is said at start-up, once, and its writes are NotWritable in every form", () =>
      Effect.gen(function* () {
        const { primary, replicas } = yield* PgCluster.PgCluster
        yield* primary.query("create table if not exists written (id int)")
        yield* eventually(
          "the standby has the table",
          Effect.map(
            replicas[0]!.query("select to_regclass('written') is not null as there"),
            (rows) => rows[0]!["there"] === true
          )
        )
        const said: Array<string> = []
        const logger = Logger.make(({ logLevel, message }) => {
          if (logLevel.label === "WARN") said.push(String(message))
        })
        const url = urlOf(yield* abroad(replicas[0]!.port))
        const insert = Sql.query("insert into written values (1)")
        yield* onPool({ url, pool: { maxSize: 2, acquireTimeout: "500 millis" } }, () =>
          Effect.gen(function* () {
            assert.lengthOf(said, 1)
            assert.match(said[0]!, /this is the primary, and the server takes no writes/)
            for (const write of [
              insert,
              Sql.withTransaction(insert),
              Sql.withTransaction({ readOnly: false })(insert),
              Sql.withTransaction({ isolation: "serializable" })(insert)
            ]) {
              assert.strictEqual((yield* reasonOf(write))._tag, "NotWritable")
            }
            assert.lengthOf(said, 1)
          })
        ).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
        const [row] = yield* primary.query("select count(*)::int as n from written")
        assert.strictEqual(row!["n"], 0)
        assert.deepStrictEqual(yield* backends("nobody"), [])
      })
    )
  }
)
