/** `resetOnRelease: "always"`: each user has a clean session, and no statement waits for that. */
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, layer } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { PgCluster } from "@sluice/testkit"
import { Effect, Stream } from "effect"
import * as SlowProxy from "../../sql/test/support/slowProxy.js"
import { eventually, onPool, pid, reasonOf, urlThrough } from "./support/fixture.js"

const always = { pool: { maxSize: 1 }, resetOnRelease: "always" } as const

/** What only a function knows of: neither the text of its caller nor the server says so. */
const hidden = [
  "create function hide() returns int language plpgsql as $$ begin perform set_config('app.hidden', 'hidden', false); perform pg_advisory_lock(77); return 1; end $$",
  "create function hidden() returns text language sql as $$ select coalesce(current_setting('app.hidden', true), '') || (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) $$"
]

const hide = Sql.query("select hide()")

const hiddenNow = "select hidden() as hidden, pg_backend_pid() as pid"

layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("resetOnRelease: always", (it) => {
  const prepared = Effect.flatMap(PgCluster.PgCluster, ({ primary }) =>
    Effect.forEach(hidden, (text) => primary.query(text.replace("create", "create or replace")), { discard: true })
  )

  it.effect("in whatever form the next user comes, its session is clean, and the connection is the same", () =>
    Effect.zipRight(
      prepared,
      onPool(always, () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          const forms: Readonly<Record<string, Effect.Effect<ReadonlyArray<any>, unknown, Sql.Sql | SqlClient>>> = {
            alone: Sql.query(hiddenNow),
            "with parameters": Sql.query(`${hiddenNow} where $1::int = 1`, [1]),
            unprepared: Sql.query(hiddenNow, [], { prepare: false }),
            pinned: Sql.withConnection(Sql.query(hiddenNow)),
            "in a transaction": Sql.withTransaction(Sql.query(hiddenNow)),
            "read only": Sql.withTransaction({ readOnly: true, isolation: "serializable" })(Sql.query(hiddenNow)),
            streamed: Effect.map(Stream.runCollect(sql.unsafe(hiddenNow).stream), (rows) => Array.from(rows)),
            "streamed in a transaction": Sql.withTransaction(
              Effect.map(Stream.runCollect(sql.unsafe(hiddenNow).stream), (rows) => Array.from(rows))
            ),
            "several in one text": Effect.map(
              Sql.query<any>(`select 1; ${hiddenNow}`, [], { prepare: false }),
              (all) => all[1]
            ),
            "a command first": Sql.withConnection(
              Effect.zipRight(Sql.query("set work_mem = '1MB'"), Sql.query(hiddenNow))
            )
          }
          const session = yield* pid
          for (let round = 0; round < 2; round++) {
            for (const [name, form] of Object.entries(forms)) {
              yield* hide
              assert.deepStrictEqual(yield* form, [{ hidden: "0", pid: session }], name)
            }
          }
          // What one user does, the same user finds.
          const found = yield* Sql.withConnection(Effect.zipRight(hide, Sql.query(hiddenNow)))
          assert.deepStrictEqual(found, [{ hidden: "hidden1", pid: session }])
        })
      )
    )
  )

  it.effect("the reset takes no round trip of its own, in any form", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      const proxy = yield* SlowProxy.make(primary)
      const url = yield* urlThrough(proxy)
      const tripsOf = (resetOnRelease: "always" | "never") =>
        onPool({ ...always, resetOnRelease, url }, () =>
          Effect.gen(function* () {
            const sql = yield* SqlClient
            const forms = {
              alone: Sql.query("select $1::int as n", [1]),
              unprepared: Sql.query("select 1 as n", [], { prepare: false }),
              pinned: Sql.withConnection(Sql.query("select $1::int as n", [1])),
              transaction: Sql.withTransaction(Sql.query("select $1::int as n", [1])),
              streamed: Stream.runDrain(sql`select ${1}::int as n`.stream)
            }
            const trips: Record<string, number> = {}
            for (const [name, form] of Object.entries(forms)) {
              yield* form
              let least = Infinity
              // A machine that stalls for a second has its idle connection cleaned meanwhile.
              for (let i = 0; i < 3; i++) {
                const before = proxy.delays.trips
                yield* form
                least = Math.min(least, proxy.delays.trips - before)
              }
              trips[name] = least
            }
            return trips
          })
        )
      const trips = yield* tripsOf("always")
      assert.deepStrictEqual(trips, yield* tripsOf("never"))
      assert.deepInclude(trips, { alone: 1, unprepared: 1, pinned: 1, transaction: 2 })
    }).pipe(Effect.scoped)
  )

  it.effect("when the reset fails its connection is closed, and the statement runs on another one, once", () =>
    Effect.gen(function* () {
      const { primary } = yield* PgCluster.PgCluster
      // The server needs longer to drop so many tables than the session allows a statement.
      yield* primary.query(`create or replace function spoil() returns int language plpgsql as $$ begin
        for i in 1..300 loop execute format('create temp table spoilt_%s (id int)', i); end loop;
        perform set_config('statement_timeout', '1', false);
        return 1;
      end $$`)
      yield* primary.query("create sequence runs")
      const text = "select nextval('runs')::int as run, pg_backend_pid() as pid"
      const run = Effect.map(Sql.query<{ run: number; pid: number }>(text), ([row]) => row!)
      yield* onPool(always, () =>
        Effect.gen(function* () {
          const { client } = yield* Sql.Sql
          const spoil = Effect.map(
            Sql.query<{ pid: number }>("select spoil(), pg_backend_pid() as pid"),
            ([row]) => row!.pid
          )
          const forms = {
            alone: run,
            unprepared: Sql.query(text, [], { prepare: false }),
            transaction: Sql.withTransaction(run)
          }
          let runs = 0
          for (const [name, form] of Object.entries(forms)) {
            const spoilt = yield* spoil
            const row: any = [yield* form].flat()[0]
            assert.notStrictEqual(row.pid, spoilt, name)
            assert.strictEqual(row.run, ++runs, name)
          }
          yield* spoil
          const reason = yield* reasonOf(Stream.runDrain(client.unsafe(text).stream))
          assert.deepInclude(reason, {
            _tag: "ConnectionLost",
            connection: "destroy",
            outcome: "none",
            retry: "always"
          })
          assert.strictEqual((yield* run).run, ++runs)
        })
      )
    })
  )

  it.effect("an idle connection does not hold for long what only a function knows of", () =>
    Effect.zipRight(
      prepared,
      onPool(always, () =>
        Effect.gen(function* () {
          const { primary } = yield* PgCluster.PgCluster
          yield* hide
          yield* eventually(
            "the lock is free",
            Effect.map(
              primary.query("select 1 from pg_locks where locktype = 'advisory' and objid = 77"),
              (rows) => rows.length === 0
            )
          )
          assert.deepInclude((yield* Sql.query(hiddenNow))[0], { hidden: "0" })
        })
      )
    )
  )
})
