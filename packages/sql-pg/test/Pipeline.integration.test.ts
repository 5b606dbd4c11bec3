import { assert, layer } from "@effect/vitest"
import { PgCluster } from "@sluice/testkit"
import { Effect, Fiber } from "effect"
import pg from "pg"
import * as Pg from "../src/internal/wire/pg.js"
import { oneConnection } from "./support/packing.js"

/** What holds for each driver that packs is in `test/contract/packing.test.ts`. */
layer(PgCluster.layer(), { excludeTestServices: true, timeout: "2 minutes" })("packed reads", (it) => {
  it.effect("reads of a table that is changed between two packs are answered, each with the columns of then", () =>
    Effect.gen(function* () {
      const { connection, driver, read } = yield* oneConnection
      const other = yield* oneConnection
      const change = (sql: string) => driver.execute(other.connection, sql, [], "rows")
      yield* change("create table packed_columns (id int)")
      yield* change("insert into packed_columns values (1)")
      const reads = Effect.all(
        Array.from({ length: 20 }, (_, n) => read("select c.*, $1::int as n from packed_columns c", [n])),
        { concurrency: "unbounded" }
      )
      for (const [n, [row]] of (yield* reads).entries()) assert.deepStrictEqual(row, { id: 1, n })
      yield* change("alter table packed_columns add column more text default 'x'")
      for (const [n, [row]] of (yield* reads).entries()) assert.deepStrictEqual(row, { id: 1, more: "x", n })
      assert.strictEqual(connection.status(), "idle")
    }).pipe(Effect.scoped)
  )

  it.effect("the parts of pg that packing stands on are there", () =>
    Effect.gen(function* () {
      const { connection, read } = yield* oneConnection
      assert.isTrue((connection.client as any).pipeline)
      assert.isFunction(connection.client.getTypeParser)
      assert.isFunction(connection.client.getTypeParser(23))
      assert.isFunction(connection.wire.sendCopyFail)
      const result = new Pg.Result("array", connection.client)
      for (const method of ["addFields", "addCommandComplete", "parseRow"] as const) {
        assert.isFunction(result[method], method)
      }
      assert.isArray(result.rows)
      // What the driver sets by itself where it knows the columns.
      result.addFields([{ name: "n", dataTypeID: 23 }])
      assert.deepStrictEqual(
        [result.fields, result._parsers, result._prebuiltEmptyResultObject],
        [[{ name: "n", dataTypeID: 23 }], [connection.client.getTypeParser(23, "text")], { n: null }]
      )
      // Else `pg` would refuse it on a connection that pipelines.
      assert.instanceOf(new Pg.QueryBase(), pg.Query)
      yield* read("select 1 as n")
      const { stream } = connection.wire
      const first = yield* Effect.fork(read("select pg_sleep(1)"))
      // The server has answered the mark that goes ahead of a read whose text is not known yet.
      while (connection.pipeline.current?.isMark !== false) yield* Effect.sleep(1)
      const written = stream.bytesWritten
      const second = yield* Effect.fork(read("select 1 as n"))
      while (connection.pipeline.depth < 2) yield* Effect.yieldNow()
      yield* Effect.promise(() => Promise.resolve())
      // Sent although the first has no answer yet.
      assert.isAbove(stream.bytesWritten, written)
      assert.strictEqual(connection.pipeline.depth, 2)
      yield* Fiber.joinAll([first, second])
    }).pipe(Effect.scoped)
  )
})
