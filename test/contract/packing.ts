/** What the sentences about packed reads need of each of our drivers: its inside, which no client shows. */
import type { SqlError } from "@effect/sql/SqlError"
import { assert } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import type { ConnectionState } from "@sluice/sql/driver/Driver"
import type { Limits, Packable } from "@sluice/sql/driver/Packing"
import type { Owner } from "@sluice/sql/driver/Pipeline"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { Deferred, Effect, Fiber, type Layer, type Redacted, type Scope } from "effect"
import { anyTime } from "../../packages/sql/test/support/packed.js"
import * as Mysql from "../../packages/sql-mysql2/test/support/packing.js"
import * as Pg from "../../packages/sql-pg/test/support/packing.js"
import { booksBalance, noSessions, unique } from "./contract.js"
import { type Common, type Database, type Place, Server } from "./databases.js"
import { ours } from "./drivers.js"

/** One connection on which reads are packed. */
export interface Packed {
  readonly line: Packable & Pick<Owner<any>, "socket" | "endpoint"> & { readonly status: () => ConnectionState }
  readonly read: (text: string, params?: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<any>, any>
  readonly admits: () => boolean
  readonly abort: Effect.Effect<void, SqlError>
  /** Reads whose callers have not been told yet how they ended, also those who have left. */
  readonly owed: () => number
}

/** What a pool on packed connections is told. */
export interface Settings {
  readonly pool?: { readonly maxSize: number; readonly minIdle?: number }
  readonly resetOnRelease?: "always"
  readonly pipeline?: boolean
  readonly replicas?: ReadonlyArray<{ readonly url: Redacted.Redacted }>
}

/** The texts of a database; n is their last parameter, and a column of their rows. */
export interface Texts {
  /** `(n)`: gives it, and the session as `id`. */
  readonly session: string
  /** `(n)`: gives it, and `comment` is in the text. */
  readonly number: (comment?: string) => string
  /** `(seconds, n)`: the session as `id`, after so many seconds. */
  readonly sleep: string
  /** `(seconds, n)`: gives n after about so many seconds, also when many of them are cancelled at once. */
  readonly busy: string
  /** `(text, n)`: n rows with `n`, from 1 on, and `t`. */
  readonly rows: string
  /** `(n)`: fails when n is 0, and only then. */
  readonly failing: string
  readonly failure: string
  /** `(n)`: names a column that is not there. */
  readonly wrong: string
  readonly wrongness: string
  /** `(n)`: reads a table of `numbers`. */
  readonly ofTable: (table: string) => string
  /** Locks the table, so that nobody reads it until `unlock`, in the same session. */
  readonly lock: (table: string) => ReadonlyArray<string>
  readonly unlock: string
  /** What this database alone must not pack, on a table that has an `id`. */
  readonly alone: (table: string) => ReadonlyArray<string>
}

export interface Packer {
  readonly texts: Texts
  readonly connect: (options: Common, limits: Limits) => Effect.Effect<Packed, SqlError, Scope.Scope>
  readonly pool: (
    options: Common & Settings,
    limits: Limits
  ) => Effect.Effect<{ readonly sql: Sql.Service; readonly packs: () => number }, SqlError, Scope.Scope>
  /** Our Layer, as a program has it. */
  readonly layer: (options: Common & Settings) => Layer.Layer<Sql.Sql, SqlError>
  /** Cancels what runs in a session, from outside. */
  readonly cancel: (id: number) => string
  /** How many statements the server keeps for a client that has one connection. */
  readonly kept: string
  /** The server forgets this text, which it keeps, and the driver is not told. */
  readonly forget: (packed: Packed, text: string) => Effect.Effect<unknown, unknown>
  /** From now on the server cannot be asked to cancel what runs on it. */
  readonly deafen: (packed: Packed) => void
}

const said = <O, C>(
  say: (options: O) => C,
  { pipeline, pool, replicas, resetOnRelease, ...options }: O & Settings
): C => ({
  ...say(options as O),
  ...(pool === undefined ? {} : { pool }),
  ...(resetOnRelease === undefined ? {} : { resetOnRelease }),
  ...(pipeline === undefined ? {} : { pipeline }),
  ...(replicas === undefined ? {} : { replicas })
})

const pg = (options: Common & Settings) => said(ours.postgresql, options)

const mysql = (options: Common & Settings) => said(ours.mysql, options)

interface Opened<Conn extends Packed["line"]> {
  readonly connection: Conn
  readonly driver: {
    readonly abort: (connection: Conn) => Effect.Effect<void, SqlError>
    readonly packing: { readonly admits: (connection: Conn) => boolean }
  }
  readonly read: Packed["read"]
  readonly owed: Packed["owed"]
}

const asPacked = <Conn extends Packed["line"]>({ connection, driver, owed, read }: Opened<Conn>): Packed => ({
  line: connection,
  read,
  owed,
  admits: () => driver.packing.admits(connection),
  // What is condemned is what is under way at the moment of the call.
  abort: Effect.suspend(() => driver.abort(connection))
})

const postgresql: Packer = {
  texts: {
    session: "select pg_backend_pid() as id, $1::int as n",
    number: (comment = "") => `select $1::int as n /* ${comment} */`,
    sleep: "select pg_sleep($1::float8), pg_backend_pid() as id, $2::int as n",
    busy: "select pg_sleep($1::float8), $2::int as n",
    rows: "select g as n, $1::text as t from generate_series(1, $2::int) g",
    failing: "select 10 / $1::int as n",
    failure: "22012",
    wrong: "select $1::int + nope as n",
    wrongness: "42703",
    ofTable: (table) => `select n from ${table} where n = $1`,
    lock: (table) => ["begin", `lock table ${table} in access exclusive mode`],
    unlock: "commit",
    alone: (table) => [
      `insert into ${table} values (1) on conflict do nothing`,
      `update ${table} set id = id returning id`,
      `select id from ${table} for no key update`
    ]
  },
  connect: (options, limits) => Effect.map(Pg.connectionWithin(pg(options), limits), asPacked),
  pool: (options, limits) => Pg.poolWithin(pg(options), limits),
  layer: (options) => PgSql.layer(pg(options)),
  cancel: (id) => `select pg_cancel_backend(${id})`,
  kept: "select count(*)::int as n from pg_prepared_statements",
  // The driver looks at what the server says about a DEALLOCATE: not if it stands inside of something else.
  forget: ({ read }) => read("do $$ begin execute 'deallocate all'; end $$"),
  deafen: ({ line }) => {
    Object.assign(line, { endpoint: { ...line.endpoint, port: 1 } })
  }
}

const mariaDb: Packer = {
  texts: {
    session: "select connection_id() as id, ? as n",
    number: (comment = "") => `select ? as n /* ${comment} */`,
    sleep: "select sleep(?) as s, connection_id() as id, ? as n",
    // All its sleeps share one lock, and a KILL that finds it taken stops every one of them for two seconds.
    busy: "select (select count(*) from seq_1_to_1000000000 where seq <= 5000000 * ?) as s, ? as n",
    rows: "select seq as n, t from (select ? as t) one, seq_1_to_9 where seq <= ?",
    failing: "select (select seq from seq_1_to_2 where ? = 0 or seq = 1) as n",
    failure: "ER_SUBQUERY_NO_1_ROW",
    wrong: "select ? + nope as n",
    wrongness: "ER_BAD_FIELD_ERROR",
    ofTable: (table) => `select n from ${table} where n = ?`,
    lock: (table) => [`lock tables ${table} write`],
    unlock: "unlock tables",
    alone: (table) => [
      `insert ignore into ${table} values (1)`,
      `update ${table} set id = id`,
      `select id from ${table} lock in share mode`,
      "select last_insert_id() as n",
      "select get_lock('packing', 0) as n",
      "select 1 into @packing"
    ]
  },
  connect: (options, limits) => Effect.map(Mysql.connectionWithin(mysql(options), limits), asPacked),
  pool: (options, limits) => Mysql.poolWithin(mysql(options), limits),
  layer: (options) => MysqlSql.layer(mysql(options)),
  cancel: (id) => `kill query ${id}`,
  kept: "select variable_value + 0 as n from information_schema.session_status where variable_name = 'Prepared_stmt_count'",
  forget: ({ line }, text) => Mysql.forget(line as any, text),
  deafen: ({ line }) => {
    Object.assign(line, { control: undefined })
  }
}

export const packers: { readonly [D in Database]: Packer } = { postgresql, mysql: mariaDb }

/**
 * A connection, under a name that is found on the server. When it is closed every read has ended, once, whatever became of it
 * and of its caller.
 */
export const connectionOf = (packer: Packer, limits = anyTime) =>
  Effect.gen(function* () {
    const server = yield* Server
    const name = unique("packed")
    let owed = () => 0
    yield* Effect.addFinalizer(() => Effect.sync(() => assert.strictEqual(owed(), 0, "reads that have not ended")))
    const packed = yield* packer.connect(yield* server.client(name), limits)
    owed = packed.owed
    const [row] = yield* packed.read(packer.texts.session, [0])
    return { ...packed, name, id: row.id as number }
  })

/** A pool of a test's own; then the books are checked: nothing leased, nobody waiting, no session left on the server. */
export const onPacked = <A, E, R>(
  packer: Packer,
  { at, replica, ...settings }: Settings & { readonly at?: Place; readonly replica?: Place },
  body: (context: { readonly name: string; readonly packs: () => number }) => Effect.Effect<A, E, R | Sql.Sql>,
  limits = anyTime
) =>
  Effect.gen(function* () {
    const server = yield* Server
    const name = unique("packed")
    const client = yield* server.client(name, at)
    const replicas = replica === undefined ? [] : [{ url: yield* server.url(name, replica) }]
    const result = yield* Effect.gen(function* () {
      const { packs, sql } = yield* packer.pool({ ...client, ...settings, replicas }, limits)
      return yield* body({ name, packs }).pipe(Effect.zipLeft(booksBalance), Effect.provideService(Sql.Sql, sql))
    }).pipe(Effect.scoped)
    yield* noSessions(name)
    return result
  })

/** As `onPacked`, on our Layer as a program has it. */
export const onLayer = <A, E, R>(packer: Packer, settings: Settings, body: Effect.Effect<A, E, R | Sql.Sql>) =>
  Effect.gen(function* () {
    const server = yield* Server
    const name = unique("layer")
    const client = yield* server.client(name)
    const result = yield* Effect.provide(Effect.zipLeft(body, booksBalance), packer.layer({ ...client, ...settings }))
    yield* noSessions(name)
    return result
  })

/** A table with the numbers below `count`, as `n`. */
export const numbers = (count: number) =>
  Effect.gen(function* () {
    const name = unique("numbers")
    yield* Sql.query(`create table ${name} (n int primary key)`)
    const all = Array.from({ length: count }, (_, n) => `(${n})`)
    yield* Sql.query(`insert into ${name} values ${all.join(", ")}`)
    return name
  })

/** Locks the table, on a connection of the client at hand, until the scope closes or the lock is given back. */
export const locked = ({ texts }: Packer, table: string) =>
  Effect.gen(function* () {
    const [isLocked, end] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const holder = yield* Effect.forkScoped(
      Sql.withConnection(
        Effect.gen(function* () {
          for (const text of texts.lock(table)) yield* Sql.query(text)
          yield* Deferred.succeed(isLocked, undefined)
          yield* Deferred.await(end)
          yield* Sql.query(texts.unlock)
        })
      )
    )
    yield* Deferred.await(isLocked)
    return Effect.zipRight(Deferred.succeed(end, undefined), Fiber.join(holder))
  })

/** Runs a text until it is known. */
export const learn = (text: string, params: ReadonlyArray<unknown> = []) =>
  Effect.replicateEffect(Sql.query(text, params), 5, { discard: true })
