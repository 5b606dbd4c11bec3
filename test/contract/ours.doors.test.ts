/**
 * Words that a program says and that become part of a text for the server: each is of a closed list, or quoted. Every one of them is
 * said here with more SQL behind it, which must not be executed.
 */
import { SqlClient } from "@effect/sql"
import { assert } from "@effect/vitest"
import { Sql, SqlReason } from "@sluice/sql"
import type { PgSql } from "@sluice/sql-pg"
import { Effect, Layer, Option, Redacted, Stream } from "effect"
import { eventually, unique } from "./contract.js"
import { Server } from "./databases.js"
import { type Options, ours } from "./ours.js"

/** More SQL behind a word, in each way in which the word could stand in a text. */
const behind = (table: string): ReadonlyArray<string> =>
  ["; drop table T; --", "'; drop table T; --", '"; drop table T; --', "`; drop table T; --"].map((text) =>
    text.replace("T", table)
  )

ours("words that become part of a text", ({ dialect, it, onPool, optionsOf, session, words }) => {
  const isPostgres = dialect.scheme === "postgres"

  /** Gives the body a table, on the server itself, that must be there when it has ended. */
  const guarded = <A, E, R>(body: (table: string) => Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const server = yield* Server
      const table = unique("guarded").replaceAll("-", "_")
      yield* server.query(`create table ${table} (id int)`)
      const result = yield* body(table)
      assert.deepStrictEqual(yield* server.query(`select count(*) as n from ${table}`), [
        { n: isPostgres ? "0" : 0 }
      ] as never)
      return result
    })

  const refused = <E, R>(effect: Effect.Effect<unknown, E, R>, tag: SqlReason.Tag, what: string) =>
    Effect.map(Effect.flip(effect), (error) => {
      assert.strictEqual(SqlReason.of(error)._tag, tag, what)
    })

  it.effect("options of a transaction and of a connection are refused before anything is sent", () =>
    guarded((table) =>
      onPool({ pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          const before = yield* session
          for (const more of behind(table)) {
            for (const [name, value] of [
              ["isolation", `serializable${more}`],
              ["readOnly", `read only${more}`],
              ["deferrable", `deferrable${more}`],
              ["timeout", `1 second${more}`],
              ["commitTimeout", `1 second${more}`],
              ["verifyCommit", more],
              ["name", `savepoint${more}`]
            ]) {
              const options = { [name!]: value } as Sql.TransactionOptions
              yield* refused(Sql.withTransaction(options)(session), "InvalidUse", `${name}: ${value}`)
              // As a savepoint too.
              yield* refused(
                Sql.withTransaction(Sql.withTransaction(options)(session)),
                "InvalidUse",
                `savepoint, ${name}: ${value}`
              )
            }
            for (const [name, value] of [
              ["priority", `high${more}`],
              ["intent", `read${more}`],
              ["acquireTimeout", `1 second${more}`]
            ]) {
              const options = { [name!]: value } as Sql.ConnectionOptions
              yield* refused(Sql.withConnection(options)(session), "InvalidUse", `${name}: ${value}`)
            }
          }
          assert.strictEqual(yield* session, before)
        })
      )
    )
  )

  it.effect("options of the Layer are refused before anything is sent", () =>
    guarded((table) =>
      Effect.gen(function* () {
        const own = yield* optionsOf(unique("doors"))
        for (const more of behind(table)) {
          for (const [name, value] of Object.entries({
            statementTimeout: `1 second${more}`,
            resetOnRelease: `always${more}`,
            startup: `eager${more}`,
            duplicates: `allow${more}`,
            pool: { acquireTimeout: `1 second${more}` },
            ...(isPostgres ? { proxy: `pgbouncer-transaction${more}` } : { mysql2: { charset: `utf8mb4_bin${more}` } })
          })) {
            const layer = dialect.layer({ duplicates: "allow", ...own, [name]: value } as Options)
            yield* refused(Effect.scoped(Layer.build(layer)), "InvalidOptions", `${name}: ${JSON.stringify(value)}`)
          }
          if (isPostgres) continue
          const layer = dialect.layer({ duplicates: "allow", ...own, mysql2: { timezone: `+02:00${more}` } } as Options)
          yield* refused(Effect.scoped(Layer.build(layer)), "InvalidOptions", `timezone: ${more}`)
        }
      })
    )
  )

  it.effect("a name of the application, of a database and of an alias is a name, whatever is in it", () =>
    guarded((table) =>
      Effect.gen(function* () {
        const server = yield* Server
        for (const more of behind(table)) {
          const name = `app${more}`
          yield* onPool(
            isPostgres ? { pool: { maxSize: 1 } } : { applicationName: name, pool: { maxSize: 1 } },
            () => session
          )
          const database = `d${more}`.slice(0, 60)
          const quoted = isPostgres ? `"${database.replaceAll('"', '""')}"` : `\`${database.replaceAll("`", "``")}\``
          yield* server.query(`create database ${quoted}`)
          const current = Effect.map(
            Sql.query<{ name: string }>(`select ${words.currentDatabase} as name`),
            (rows) => rows[0]!.name
          )
          const own = yield* optionsOf(unique("doors"))
          const { url: _, ...fields } = own
          const at = isPostgres
            ? { url: Redacted.make(Redacted.value(own.url!).replace(/[^/]*$/, encodeURIComponent(database))) }
            : { ...fields, database }
          yield* Effect.gen(function* () {
            assert.strictEqual(yield* current, database)
            // What a session has changed is undone, and the name of the database is part of that on MySQL.
            yield* Sql.withConnection(
              isPostgres ? Sql.query("set search_path = pg_catalog") : Sql.query(`use ${words.otherDatabase}`)
            )
            assert.strictEqual(yield* current, database)
          }).pipe(
            Effect.provide(
              dialect.layer({ ...at, applicationName: name, duplicates: "allow", pool: { maxSize: 1 } } as Options)
            )
          )
          yield* eventually("the database is dropped", Effect.isSuccess(server.query(`drop database ${quoted}`)))
        }
        if (isPostgres) return
        yield* onPool({}, () =>
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            for (const more of behind(table)) {
              yield* Effect.exit(sql`select * from ${sql.updateValues([{ id: 1 }], `data${more}`)}`.unprepared)
              yield* Effect.exit(sql`select ${sql(`id${more}`)} from ${sql(table)}`.unprepared)
            }
          })
        )
      })
    )
  )

  it.effect("a NUL, which ends a text on the wire, is in no name", () =>
    Effect.gen(function* () {
      const own = yield* optionsOf(unique("doors"))
      for (const more of [
        { applicationName: "app\0options\0-c log_statement=all" },
        { username: "u\0database\0postgres" },
        { database: "d\0options\0x" },
        { host: "h\0" }
      ]) {
        const layer = dialect.layer({ duplicates: "allow", ...own, ...more })
        yield* refused(Effect.scoped(Layer.build(layer)), "InvalidOptions", JSON.stringify(more))
      }
    })
  )

  if (!isPostgres) return

  it.effect("the name of a channel and what is sent there are data", () =>
    guarded(
      (table) =>
        onPool(
          { pool: { maxSize: 2 } },
          () =>
            Effect.gen(function* () {
              for (const more of behind(table)) {
                const channel = `c${more}`
                const client: any = yield* SqlClient.SqlClient
                const heard = yield* Effect.fork(
                  Stream.runHead(client.listen(channel) as Stream.Stream<string, unknown>)
                )
                yield* Effect.raceFirst(
                  Effect.forever(Effect.delay(client.notify(channel, more) as Effect.Effect<void>, "10 millis")),
                  Effect.map(heard, (payload) => assert.strictEqual(Option.getOrThrow(payload), more))
                )
              }
            }) as Effect.Effect<void, unknown, Sql.Sql | SqlClient.SqlClient | PgSql.PgSql>
        ) as Effect.Effect<void, unknown, Server>
    )
  )
})
