/** Ten million rows through one connection at constant memory, then as many again that nobody wants any more half-way. */
import { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { Sql } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { PgCluster } from "@sluice/testkit"
import { Clock, Effect, Fiber, Stream } from "effect"
import {
  atMost,
  balanced,
  opened as booksOf,
  type Claim,
  everySecond,
  exactly,
  isTrue,
  memory,
  needed,
  number,
  type Settings,
  type Soak,
  sockets,
  within,
  witness
} from "./soak.js"

/** Megabytes above the start: a piece of a cursor is 128 rows, so one is plenty. */
const LIMIT = 8

interface Progress {
  rows: number
  wrong: number
}

/** Reads the numbers from 1, and counts those that are not the next one. */
const reading = (rows: number, progress: Progress) =>
  Effect.flatMap(SqlClient, (sql) =>
    // In the list of columns, because in FROM the server would write all of them to a file first.
    Stream.runForEachChunk(sql<{ id: number }>`select generate_series(1, ${rows}::int) as id`.stream, (chunk) =>
      Effect.sync(() => {
        for (const { id } of chunk) if (id !== ++progress.rows) progress.wrong++
      })
    )
  )

const surroundings = {
  "outside of everything": (effect: Read) => effect,
  "in withConnection": (effect: Read) => Sql.withConnection(effect),
  "in a transaction": (effect: Read) => Sql.withTransaction(effect)
}

type Read = Effect.Effect<void, SqlError, SqlClient | Sql.Sql>

const run = ({ progress, rows = 10_000_000 }: Settings) =>
  Effect.gen(function* () {
    const { primary } = yield* PgCluster.PgCluster
    const server = yield* witness
    const socketsBefore = sockets()
    const claims: Array<Claim> = []
    const service = yield* Effect.gen(function* () {
      const one = <A extends object>(text: string) => Effect.map(Sql.query<A>(text), ([row]) => row!)
      const pid = Effect.map(one<{ pid: number }>("select pg_backend_pid() as pid"), (row) => row.pid)
      const first = yield* pid
      yield* reading(10_000, { rows: 0, wrong: 0 })
      const before = yield* needed

      const whole: Progress = { rows: 0, wrong: 0 }
      let most = 0
      const began = yield* Clock.currentTimeMillis
      yield* Effect.gen(function* () {
        let last = 0
        const measure = Effect.map(needed, (now) => {
          most = Math.max(most, now - before)
        })
        yield* measure.pipe(Effect.delay("250 millis"), Effect.forever, Effect.forkScoped)
        yield* everySecond((second) =>
          Effect.sync(() => {
            progress(
              `${String(second).padStart(3)} s   ${number(whole.rows).padStart(10)} rows   ${number(
                whole.rows - last
              ).padStart(9)} a second   ${number(memory())} MiB, started with ${number(before)}`
            )
            last = whole.rows
          })
        )
        yield* reading(rows, whole)
        yield* measure
      }).pipe(Effect.scoped)
      const elapsed = (yield* Clock.currentTimeMillis) - began
      progress(`${number(whole.rows)} rows in ${number(elapsed / 1_000)} s`)
      claims.push(
        exactly("rows read", whole.rows, rows),
        exactly("rows out of order", whole.wrong, 0),
        atMost("memory above the start, after a collection, at any time", most, LIMIT, " MiB")
      )

      for (const [where, around] of Object.entries(surroundings)) {
        const half: Progress = { rows: 0, wrong: 0 }
        const reader = yield* Effect.fork(around(reading(rows, half)))
        while (half.rows < rows / 2) yield* Effect.sleep("1 millis")
        const left = yield* Clock.currentTimeMillis
        yield* Fiber.interrupt(reader)
        const returned = (yield* Clock.currentTimeMillis) - left
        const name = `interrupted half-way, ${where}`
        progress(`${name}: ${number(half.rows)} rows, back after ${returned} ms`)
        claims.push(
          isTrue(`${name}: it was not at its end`, half.rows < rows),
          atMost(`${name}: the reader is back`, returned, 500, " ms"),
          isTrue(`${name}: the server runs nothing of ours, 1 s later`, yield* within("1 second", server.isQuiet)),
          isTrue(`${name}: the books balance`, yield* within("1 second", balanced)),
          isTrue(`${name}: the same connection is back`, (yield* pid) === first),
          exactly(
            `${name}: portals that are left`,
            (yield* one<{ n: number }>("select count(*)::int as n from pg_cursors where name <> ''")).n,
            0
          )
        )
      }
      return yield* Sql.Sql
    }).pipe(Effect.provide(PgSql.layer({ url: primary.url, applicationName: "soak-rows", pool: { maxSize: 1 } })))
    return [
      ...claims,
      booksOf((yield* service.stats).write, 1),
      isTrue("no session is left on the server, 1 s later", yield* within("1 second", server.isEmpty)),
      exactly("sockets that are left", sockets() - socketsBefore, 0)
    ]
  }).pipe(Effect.scoped, Effect.provide(PgCluster.layer()))

export const rows: Soak = {
  name: "rows",
  summary: "a stream of 10 million rows at constant memory; interrupted half-way",
  run
}
