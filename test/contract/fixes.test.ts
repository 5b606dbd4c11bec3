/** Where `SqlClient` and `withTransaction` of the originals are wrong, on every database. The rest: `postgresql.fixes.test.ts`, `mysql.fixes.test.ts`. */
import { SqlClient } from "@effect/sql"
import { Sql, SqlReason } from "@sluice/sql"
import { FaultProxy } from "@sluice/testkit"
import { Cause, Effect, Exit, Fiber, Option, Scope } from "effect"
import { idsOf, table, timed, unique } from "./contract.js"
import { Server } from "./databases.js"
import { after, failureOf, type On, pairs, verdict } from "./pair.js"

pairs("fixes", ({ fix, fixOn, original, ours, words }) => {
  fix(
    "transactions: waiting for a connection can be interrupted",
    "a timeout of 200 ms lasts until a connection is free",
    { maxConnections: 1 },
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const holder = yield* Scope.make()
        yield* Scope.extend(sql.reserve, holder)
        const fiber = yield* Effect.fork(timed(Effect.timeoutOption(sql.withTransaction(sql`select 1`), "200 millis")))
        yield* Effect.forkScoped(Effect.delay(Scope.close(holder, Exit.void), "3 seconds"))
        const [elapsed] = yield* Fiber.join(fiber)
        yield* Scope.close(holder, Exit.void)
        return elapsed < 2_000 ? "at once" : "when a connection was free"
      }),
    { ours: "at once", original: "when a connection was free" }
  )

  fix(
    "waiting for a connection is bounded; who waits too long gets a typed failure",
    "it waits",
    { maxConnections: 1 },
    (_, patience) =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const outcome = yield* Effect.zipRight(
          sql.reserve,
          after(patience, Effect.exit(Sql.withAcquireTimeout("300 millis")(sql`select 1`)))
        ).pipe(Effect.scoped)
        return outcome === "not done" ? outcome : SqlReason.of(failureOf(outcome))._tag
      }),
    { ours: "AcquireTimeout", original: "not done" }
  )

  /** A client on the other side of a proxy, whose first connection works. */
  const through = <A>(
    on: On,
    body: (proxy: FaultProxy.FaultProxy, patience: number) => Effect.Effect<A, unknown, SqlClient.SqlClient | Server>
  ) =>
    Effect.gen(function* () {
      const server = yield* Server
      const proxy = yield* FaultProxy.make({ target: server })
      const client = yield* server.client(unique("proxied"), { port: proxy.port })
      return yield* on({ ...client, maxConnections: 1 }, (_, patience) =>
        Effect.zipRight(
          Effect.flatMap(SqlClient.SqlClient, (sql) => sql`select 1`),
          body(proxy, patience)
        )
      )
    })

  fixOn(
    "transactions: BEGIN can be interrupted; one that is lost is sent again, on another connection",
    "a hanging BEGIN holds its caller; one that fails is a defect",
    (on) =>
      through(on, (proxy, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* proxy.blackhole({ new: false })
          const waiting = yield* Effect.forkDaemon(sql.withTransaction(sql`select 1`))
          // Nobody can see that BEGIN has gone into the hole; without this it could find a connection that is closed.
          yield* Effect.sleep("50 millis")
          yield* proxy.cut
          const failed = yield* after(patience, Fiber.await(waiting))
          yield* proxy.heal
          yield* sql`select 1`
          yield* proxy.blackhole({ new: false })
          const left = yield* after(patience, Effect.timeoutOption(sql.withTransaction(sql`select 1`), "200 millis"))
          yield* proxy.cut
          return [failed === "not done" ? failed : verdict(failed), left === "not done" ? left : "interrupted"]
        })
      ),
    { ours: ["success", "interrupted"], original: ["defect", "not done"] }
  )

  fixOn(
    "transactions: a COMMIT whose answer is lost is a typed failure that says so",
    "it is a defect",
    (on) =>
      through(on, (proxy, patience) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const t = yield* table("id int primary key")
          const inside = yield* Effect.makeLatch()
          const committing = yield* sql`insert into ${sql(t)} (id) values (${1})`.pipe(
            Effect.zipRight(proxy.blackhole({ new: false })),
            Effect.zipRight(inside.open),
            sql.withTransaction,
            Effect.exit,
            Effect.forkDaemon
          )
          yield* inside.await
          // Nobody can see that COMMIT has gone into the hole.
          yield* Effect.sleep("200 millis")
          yield* proxy.cut
          const exit = yield* after(patience, Fiber.join(committing))
          yield* proxy.heal
          return exit === "not done" ? [exit] : [verdict(exit), SqlReason.of(failureOf(exit))._tag]
        })
      ),
    { ours: ["failure", "CommitUnknown"], original: ["defect", "Unclassified"] }
  )

  // M10 of originals.md as well.
  fix(
    "transactions: a ROLLBACK that fails does not replace the failure of the body",
    "only a defect is left",
    { maxConnections: 1 },
    (name) =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const server = yield* Server
        const exit = yield* Effect.exit(
          sql.withTransaction(
            sql`select 1`.pipe(Effect.zipRight(server.end(name)), Effect.zipRight(Effect.fail("the body's")))
          )
        )
        return Exit.isFailure(exit) && Cause.isDie(exit.cause) ? "defect" : failureOf(exit)
      }),
    { ours: "the body's", original: "defect" }
  )

  fix(
    "transactions: a session that is ended inside is a typed failure of the statement that runs there",
    "a defect hides it",
    { maxConnections: 1 },
    (name) =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const server = yield* Server
        const exit = yield* Effect.exit(
          sql.withTransaction(sql`select 1`.pipe(Effect.zipRight(server.end(name)), Effect.zipRight(sql`select 2`)))
        )
        return [verdict(exit), (failureOf(exit) as { readonly _tag?: string } | undefined)?._tag]
      }),
    { ours: ["failure", "SqlError"], original: ["defect", undefined] }
  )

  fix(
    "transactions: nested siblings that run at once are undone and kept each alone",
    "their savepoints have one name, and the failing one takes the others with it",
    { maxConnections: 1 },
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const t = yield* table("id int primary key")
        const insert = (id: number) => sql`insert into ${sql(t)} (id) values (${id})`
        yield* sql.withTransaction(
          Effect.forEach(
            [1, 2, 3],
            (id) =>
              Effect.ignore(
                sql.withTransaction(Effect.zipRight(insert(id), id === 2 ? Effect.fail("no") : Effect.void))
              ),
            { concurrency: "unbounded" }
          )
        )
        return yield* idsOf(t)
      }),
    { ours: [1, 3], original: [] }
  )

  fix(
    "transactions: a statement of another client inside runs on that client's own database",
    "it runs on the connection of the transaction",
    { maxConnections: 1 },
    (name) =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const server = yield* Server
        const isOurs = Option.isSome(yield* Effect.serviceOption(Sql.Sql))
        const other = yield* (isOurs ? ours : original).make(
          yield* server.client(name, { database: words.otherDatabase })
        )
        const rows = yield* sql.withTransaction(other.unsafe<{ d: string }>(`select ${words.currentDatabase} as d`))
        return rows[0]!.d === words.otherDatabase ? "its own" : "the transaction's"
      }),
    { ours: "its own", original: "the transaction's" }
  )
})
