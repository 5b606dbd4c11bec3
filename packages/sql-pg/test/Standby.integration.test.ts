import { PgClient } from "@effect/sql-pg/PgClient"
import { assert, layer } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { FaultProxy, PgCluster } from "@sluice/testkit"
import { Effect, Exit, Fiber, Layer, Option, Redacted, Scope, Stream } from "effect"
import { booksBalance, eventually, onPool, reasonOf, rowsOf, table, urlThrough } from "./support/fixture.js"

/** The forms of a transaction that writes, or that only may. */
const transactions = (id: number) => {
  const insert = Sql.query("insert into moved values ($1)", [id])
  return [
    ["plain", Sql.withTransaction(insert)],
    ["a read before it", Sql.withTransaction(Effect.zipRight(Sql.query("select 1"), insert))],
    ["read write", Sql.withTransaction({ readOnly: false })(insert)],
    [
      "read write, a read before it",
      Sql.withTransaction({ readOnly: false })(Effect.zipRight(Sql.query("select 1"), insert))
    ],
    ["serializable", Sql.withTransaction({ isolation: "serializable" })(insert)],
    ["pinned", Sql.withConnection(Sql.withTransaction(insert))],
    ["alone", insert]
  ] as const
}

layer(PgCluster.layer({ replicas: 1 }), { excludeTestServices: true, timeout: "2 minutes" })("a standby", (it) => {
  it.effect("BEGIN says READ WRITE only when the program has asked for it", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      yield* primary.query("create role reader login superuser password 'sluice'")
      yield* primary.query("alter role reader set default_transaction_read_only = on")
      const url = Redacted.make(Redacted.value(primary.url).replace("//sluice:", "//reader:"))
      const mode = Effect.map(
        Sql.query<{ m: string }>("select current_setting('transaction_read_only') as m"),
        ([row]) => row!.m
      )
      yield* onPool({ url, pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          assert.strictEqual(yield* Sql.withTransaction(mode), "on")
          assert.strictEqual(yield* Sql.withTransaction({ isolation: "serializable" })(mode), "on")
          assert.strictEqual(yield* Sql.withTransaction({ readOnly: false })(mode), "off")
          assert.strictEqual(yield* Sql.withTransaction({ readOnly: true })(mode), "on")
          assert.strictEqual(yield* Sql.read(Sql.withTransaction(mode)), "on")
        })
      )
    })
  )

  it.effect("an address that points at a standby for a moment: writes are NotWritable, then everything goes on", () =>
    Effect.gen(function* () {
      const { primary, replicas } = yield* PgCluster.PgCluster
      const at = (target: { readonly host: string; readonly port: number }, port?: number) =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const proxy = yield* Scope.extend(FaultProxy.make({ target, ...(port === undefined ? {} : { port }) }), scope)
          return { port: proxy.port, close: Scope.close(scope, Exit.void) }
        })
      let door = yield* at(primary)
      const { port } = door
      const pointAt = (target: { readonly host: string; readonly port: number }) =>
        Effect.gen(function* () {
          yield* door.close
          door = yield* at(target, port)
        })
      yield* onPool({ url: yield* urlThrough(door), pool: { maxSize: 4, acquireTimeout: "500 millis" } }, () =>
        Effect.gen(function* () {
          yield* table("moved", "id int")
          yield* pointAt(replicas[0]!)
          // All connections of the pool lead to the standby.
          yield* Effect.forEach(Array.from({ length: 4 }), () => Effect.exit(Sql.query("select pg_sleep(0.02)")), {
            concurrency: 4
          })
          for (const [form, transaction] of transactions(0)) {
            const reason = yield* reasonOf(transaction)
            assert.deepInclude(reason, { _tag: "NotWritable", connection: "destroy" }, form)
            assert.include(["always", "transaction"], reason.retry, form)
            yield* Effect.exit(Sql.query("select 1"))
          }
          yield* pointAt(primary)
          const failures: Array<string> = []
          for (let run = 1; run <= 15; run++) {
            for (const [form, transaction] of transactions(run)) {
              const exit = yield* Effect.exit(transaction)
              if (Exit.isFailure(exit)) failures.push(form)
            }
          }
          // A connection that still leads to the standby costs one failure at most, and there are four.
          assert.isAtMost(failures.length, 4)
          assert.isAtLeast((yield* rowsOf("moved")).length, 15 * 7 - 4)
          yield* booksBalance
        })
      )
      yield* door.close
    })
  )

  it.effect("a transaction that only reads and that a standby refuses keeps its connection", () =>
    Effect.gen(function* () {
      const { replicas } = yield* PgCluster.PgCluster
      yield* onPool({ replicas: [{ url: replicas[0]!.url }], pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          const pid = Effect.map(Sql.query<{ pid: number }>("select pg_backend_pid() as pid"), ([row]) => row!.pid)
          const before = yield* Sql.read(pid)
          const error = yield* Effect.flip(Sql.read(Sql.withTransaction({ isolation: "serializable" })(pid)))
          assert.deepInclude(SqlReason.of(error), { connection: "keep", retry: "never", code: "0A000" })
          assert.strictEqual(yield* Sql.read(pid), before)
        })
      )
    })
  )

  it.effect("a listener is told at once that a standby does not listen, and notify goes to the primary", () =>
    Effect.gen(function* () {
      const { primary, replicas } = yield* PgCluster.PgCluster
      yield* onPool({ url: replicas[0]!.url }, () =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(Stream.runDrain(PgSql.listen("c")))
          assert.deepInclude(SqlReason.of(error), { _tag: "NotWritable", code: "25006" })
        })
      )
      yield* onPool({ url: primary.url, replicas: [{ url: replicas[0]!.url }] }, () =>
        Effect.gen(function* () {
          const client = yield* PgClient
          const heard = yield* Effect.fork(Stream.runHead(client.listen("c")))
          yield* eventually(
            "it is heard",
            Effect.zipRight(
              Sql.read(client.notify("c", "x")),
              Effect.map(heard.status, ({ _tag }) => _tag === "Done")
            )
          )
          assert.deepStrictEqual(yield* Fiber.join(heard), Option.some("x"))
        })
      )
    })
  )

  it.effect("a primary and its standby are two servers: a pool on each is no duplicate", () =>
    Effect.gen(function* () {
      const { primary, replicas } = yield* PgCluster.PgCluster
      const build = (url: Redacted.Redacted) => Layer.build(PgSql.layer({ url, duplicates: "error" }))
      yield* build(primary.url)
      yield* build(replicas[0]!.url)
      const proxy = yield* FaultProxy.make({ target: replicas[0]! })
      const reason = yield* reasonOf(build(yield* urlThrough(proxy)))
      assert.strictEqual(reason._tag, "InvalidOptions")
    }).pipe(Effect.scoped)
  )
})
