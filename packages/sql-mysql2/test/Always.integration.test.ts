/** `resetOnRelease: "always"`: each user has a clean session, and no statement waits for that. */
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, layer } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { MariaDbCluster } from "@sluice/testkit"
import { Effect, Stream } from "effect"
import * as SlowProxy from "../../sql/test/support/slowProxy.js"
import { eventually, onPool, thread, urlThrough } from "./support/fixture.js"

const always = { pool: { maxSize: 1 }, resetOnRelease: "always" } as const

const RESET = Buffer.from([1, 0, 0, 0, 0x1f])

const UNKNOWN = Buffer.from([1, 0, 0, 0, 0x7f])

/** What only a function knows of: neither the text of its caller nor the server says so. */
const hidden = [
  "create or replace function hide() returns int reads sql data begin set @hidden = 'hidden'; return get_lock('hidden', 0); end",
  "create or replace function hidden() returns text reads sql data return concat(coalesce(@hidden, ''), is_used_lock('hidden') is not null)"
]

const hide = Sql.query("select hide()")

const hiddenNow = "select hidden() as hidden, connection_id() as id"

layer(MariaDbCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("resetOnRelease: always", (it) => {
  const prepared = Effect.flatMap(MariaDbCluster.MariaDbCluster, ({ primary }) =>
    Effect.forEach(hidden, (text) => primary.query(text), { discard: true })
  )

  it.effect("in whatever form the next user comes, its session is clean, and the connection is the same", () =>
    Effect.zipRight(
      prepared,
      onPool({ ...always, multipleStatements: true }, () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          const stream = Effect.map(Stream.runCollect(sql.unsafe(hiddenNow).stream), (rows) => Array.from(rows))
          const forms: Readonly<Record<string, Effect.Effect<ReadonlyArray<any>, unknown, Sql.Sql | SqlClient>>> = {
            alone: Sql.query(hiddenNow),
            "with parameters": Sql.query(`${hiddenNow} from dual where 1 = ?`, [1]),
            unprepared: Sql.query(hiddenNow, [], { prepare: false }),
            pinned: Sql.withConnection(Sql.query(hiddenNow)),
            "in a transaction": Sql.withTransaction(Sql.query(hiddenNow)),
            "read only": Sql.withTransaction({ readOnly: true, isolation: "serializable" })(Sql.query(hiddenNow)),
            streamed: stream,
            "streamed in a transaction": Sql.withTransaction(stream),
            "several in one text": Effect.map(
              Sql.query<any>(`select 1; ${hiddenNow}`, [], { prepare: false }),
              (all) => all[1]
            ),
            "a command first": Sql.withConnection(
              Effect.zipRight(Sql.query("set sql_select_limit = 100"), Sql.query(hiddenNow))
            )
          }
          const id = yield* thread
          for (let round = 0; round < 2; round++) {
            for (const [name, form] of Object.entries(forms)) {
              yield* hide
              assert.deepStrictEqual(yield* form, [{ hidden: "0", id }], name)
            }
          }
          // What one user does, the same user finds.
          const found = yield* Sql.withConnection(Effect.zipRight(hide, Sql.query(hiddenNow)))
          assert.deepStrictEqual(found, [{ hidden: "hidden1", id }])
        })
      )
    )
  )

  it.effect("statements one after the other take a round trip each: the reset travels with the next one", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      const proxy = yield* SlowProxy.make(primary)
      yield* onPool({ ...always, url: yield* urlThrough(proxy) }, () =>
        Effect.gen(function* () {
          const text = "select connection_id() as id"
          const forms = {
            alone: [Sql.query(text), 1],
            unprepared: [Sql.query(`${text} from dual where 1 = ?`, [1], { prepare: false }), 1],
            pinned: [Sql.withConnection(Sql.query(text)), 1],
            // It is prepared again, because the reset has taken what was prepared.
            "with parameters": [Sql.query(`${text} from dual where 1 = ?`, [1]), 2],
            transaction: [Sql.withTransaction(Sql.query(text)), 2]
          } as const
          yield* thread
          // Longer than this process needs between two statements, so that no answer comes in between.
          proxy.delays.first = 20
          for (const [name, [form, each]] of Object.entries(forms)) {
            const times = 4
            let least = Infinity
            // A machine may stall for longer. Then the reset has its answer first.
            for (let i = 0; i < 5 && least > times * each + 1; i++) {
              const before = proxy.delays.trips
              yield* Effect.repeatN(form as Effect.Effect<unknown, unknown, Sql.Sql>, times - 1)
              least = Math.min(least, proxy.delays.trips - before)
            }
            // The first statement may find an answered reset.
            assert.isAtMost(least, times * each + 1, name)
          }
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("a reset that the server refuses closes the connection, and nobody is given an answer from behind it", () =>
    Effect.gen(function* () {
      const { primary } = yield* MariaDbCluster.MariaDbCluster
      // The command becomes one that no server knows.
      const proxy = yield* SlowProxy.make(primary, (chunk) => {
        const at = chunk.indexOf(RESET)
        return at < 0 ? chunk : Buffer.concat([chunk.subarray(0, at), UNKNOWN, chunk.subarray(at + RESET.length)])
      })
      yield* onPool({ ...always, url: yield* urlThrough(proxy) }, () =>
        Effect.gen(function* () {
          const seen = new Set<number>()
          for (let i = 0; i < 5; i++) seen.add(yield* Sql.read(thread))
          assert.strictEqual(seen.size, 5)
        })
      )
    }).pipe(Effect.scoped)
  )

  it.effect("an idle connection holds nothing of what only a function knows of", () =>
    Effect.zipRight(
      prepared,
      onPool(always, () =>
        Effect.gen(function* () {
          const { primary } = yield* MariaDbCluster.MariaDbCluster
          yield* hide
          yield* eventually(
            "the lock is free",
            Effect.map(
              primary.query("select is_free_lock('hidden') as free"),
              ([row]) => Number((row as any).free) === 1
            )
          )
        })
      )
    )
  )
})
