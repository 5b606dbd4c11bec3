/**
 * What one user of a connection leaves in its session, the next does not find.
 *
 * | what is left | how the statement is sent |
 * | --- | --- |
 * | a setting, a variable, a lock, a temporary object, a prepared statement, a listener | alone, unprepared, pinned, in a transaction that commits or rolls back, streamed, streamed and left, behind another in one text |
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { assert } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { Effect, Stream } from "effect"
import type { Database } from "./databases.js"
import { Server } from "./databases.js"
import { ours } from "./ours.js"

interface Leaving {
  readonly prepare: ReadonlyArray<string>
  /** Texts that leave something; some of them fail. */
  readonly texts: ReadonlyArray<string>
  /** What is found in the session. */
  readonly look: string
  /** Texts that succeed only if something was left. */
  readonly finds: ReadonlyArray<string>
}

const postgresql: Leaving = {
  prepare: [
    "create role left_role",
    "grant left_role to current_user",
    "create function left_style() returns int language plpgsql as $$ begin set datestyle = 'German'; return 1; end $$",
    "create function left_zone() returns int language plpgsql as $$ begin set timezone = 'Asia/Tokyo'; return 1; end $$",
    `create procedure left_procedure() language plpgsql as $$ begin perform set_config('app.left', 'left', false); end $$`
  ],
  texts: [
    "select set_config('app.left', 'left', false)",
    `select "set_config"('app.left', 'left', false)`,
    "select pg_catalog . set_config /* it */ ('app.left', 'left', false)",
    "select SET_CONFIG -- it\n('app.left', 'left', false)",
    "select set_config('app.left', ', true)', false)",
    "select set_config('app.left', 'left', true), set_config('app.left', 'left', false)",
    `select U&"set\\005Fconfig"('app.left', 'left', false)`,
    "select query_to_xml('select set_config(''app.left'', ''left'', false)', true, false, '')",
    "set app.left = 'left'",
    "set session app.left = 'left'",
    "/* it */ set app.left = 'left'",
    "set role left_role",
    "set timezone = 'Asia/Tokyo'",
    "select left_style()",
    "select left_zone()",
    "select pg_advisory_lock(7)",
    "select pg_try_advisory_lock_shared(7)",
    "with l as (select pg_advisory_lock_shared(7, 8)) select * from l",
    "select pg_advisory_lock(7), 1 / (random() * 0)::int",
    "create temp table left_table (id int)",
    "create table pg_temp.left_table (id int)",
    `create table "pg_temp".left_table (id int)`,
    "select 1 as id into temporary left_table",
    "create function pg_temp.left_function() returns int language sql as 'select 1'",
    "prepare left_plan as select 1",
    "listen left_channel",
    "do $$ begin perform set_config('app.left', 'left', false); end $$",
    "call left_procedure()",
    "load 'auto_explain'"
  ],
  look: `select coalesce(current_setting('app.left', true), '') as setting, current_setting('DateStyle') as style,
    current_setting('TimeZone') as zone, current_user as role,
    (select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
    (select count(*)::int from pg_prepared_statements where name like 'left%') as plans,
    (select count(*)::int from pg_listening_channels()) as channels,
    to_regclass('pg_temp.left_table')::text as made, to_regprocedure('pg_temp.left_function()')::text as routine`,
  finds: []
}

const mysql: Leaving = {
  prepare: [
    "create procedure left_procedure() begin set @left = 'left'; end",
    "create procedure left_failing() begin set @left = 'left'; signal sqlstate '45000'; end",
    "create function left_function() returns int no sql begin set @left = 'left'; return 1; end",
    "create function left_failing() returns int no sql begin set @left = 'left'; signal sqlstate '45000'; return 1; end"
  ],
  texts: [
    "set @left = 'left'",
    "/* it */ set @left = 'left'",
    "select @left := 'left'",
    "select @`left` := 'left'",
    "select @'left':='left'",
    "select 'left' into @left",
    "set time_zone = '+05:00'",
    "set session sql_mode = ''",
    "set character_set_results = latin1",
    "select get_lock('left', 0)",
    "select GET_LOCK /* it */ ('left', 0)",
    "do get_lock('left', 0)",
    "select get_lock('left', 0), (select seq from seq_1_to_2)",
    "create temporary table left_table (id int)",
    "create or replace temporary table left_table (id int)",
    "prepare left_plan from 'select 1'",
    "use mysql",
    "set autocommit = 0",
    "call left_procedure()",
    "call left_failing()",
    "select left_function()",
    "select left_failing()",
    "begin not atomic set @left = 'left'; end",
    "execute immediate \"set @left = 'left'\""
  ],
  look: `select coalesce(@left, '') as setting, coalesce(is_used_lock('left'), 0) as locked, @@time_zone as zone, @@sql_mode as mode,
    @@autocommit as autocommit, @@character_set_results as results, database() as db`,
  finds: ["select * from left_table", "execute left_plan"]
}

const leavings: { readonly [D in Database]: Leaving } = { postgresql, mysql }

ours("clean sessions", ({ database, it, onPool, session }) => {
  const { finds, look, prepare, texts } = leavings[database]
  const client = (f: (sql: SqlClient) => Effect.Effect<unknown, unknown, any>) => Effect.flatMap(SqlClient, f)
  const forms: Readonly<Record<string, (text: string) => Effect.Effect<unknown, unknown, Sql.Sql | SqlClient>>> = {
    alone: (text) => Sql.query(text),
    unprepared: (text) => Sql.query(text, [], { prepare: false }),
    pinned: (text) => Sql.withConnection(Effect.zipRight(session, Sql.query(text))),
    "in a transaction": (text) => Sql.withTransaction(Effect.zipRight(session, Sql.query(text))),
    "in a transaction, first": (text) => Sql.withTransaction(Sql.query(text)),
    "rolled back": (text) => Sql.withTransaction(Effect.zipRight(Sql.query(text), Effect.fail("no"))),
    streamed: (text) => client((sql) => Stream.runDrain(sql.unsafe(text).stream)),
    "streamed in a transaction": (text) =>
      client((sql) => Sql.withTransaction(Stream.runDrain(sql.unsafe(text).stream))),
    "streamed and left": (text) => client((sql) => Stream.runHead(sql.unsafe(text).stream)),
    "behind another": (text) => Sql.query(`select 1; ${text}`, [], { prepare: false })
  }

  it.effect("whatever a user leaves in a session, by whatever form of a statement, the next user does not find", () =>
    onPool({ pool: { maxSize: 1 } }, () =>
      Effect.gen(function* () {
        const server = yield* Server
        yield* Effect.forEach(prepare, (text) => server.query(text), { discard: true })
        const found = Effect.gen(function* () {
          const [row] = yield* Sql.query(look, [], { prepare: false })
          const found = yield* Effect.filter(finds, (text) => Effect.isSuccess(Sql.query(text, [], { prepare: false })))
          return { ...row, found }
        })
        const clean = yield* found
        const before = yield* session
        const left: Array<string> = []
        for (const [form, run] of Object.entries(forms)) {
          for (const text of texts) {
            yield* Effect.ignore(run(text))
            const now = yield* found
            if (JSON.stringify(now) !== JSON.stringify(clean)) left.push(`${form}: ${text}: ${JSON.stringify(now)}`)
          }
        }
        assert.deepStrictEqual(left, [])
        assert.strictEqual(yield* session, before, "the connection is kept")
      })
    )
  )
})
