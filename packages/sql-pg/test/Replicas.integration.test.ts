import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Router, Sql } from "@sluice/sql"
import { FaultProxy, PgCluster } from "@sluice/testkit"
import { Effect, Redacted, Stream } from "effect"
import { atOnce, eventually, onPool, reasonOf, table } from "./support/fixture.js"

const port = Effect.map(
  Sql.query<{ port: number }>("select current_setting('port')::int as port"),
  (rows) => rows[0]!.port
)

const times = (n: number, effect: typeof port) => Effect.forEach(Array.from({ length: n }), () => effect)

layer(PgCluster.layer({ replicas: 2 }), { excludeTestServices: true, timeout: "2 minutes" })("replicas", (it) => {
  const withReplicas = Effect.map(PgCluster.PgCluster, ({ replicas }) => ({
    replicas: replicas.map(({ url }) => ({ url }))
  }))

  it.effect("what is inside of Sql.read goes to the replicas, everything else to the primary", () =>
    Effect.flatMap(withReplicas, (config) =>
      onPool(config, () =>
        Effect.gen(function* () {
          const { primary, replicas } = yield* PgCluster.PgCluster
          const sql = yield* SqlClient.SqlClient
          const reads = yield* Sql.read(times(4, port))
          assert.deepStrictEqual(new Set(reads), new Set(replicas.map((node) => node.port)))
          assert.strictEqual(reads[0], reads[2])
          assert.deepStrictEqual(yield* times(2, port), [primary.port, primary.port])
          assert.strictEqual(yield* Sql.read(Sql.write(port)), primary.port)
          assert.include(reads, yield* Sql.read(Sql.withTransaction(port)))
          const streamed = yield* Sql.read(Stream.runCollect(sql`select pg_is_in_recovery() as standby`.stream))
          assert.deepStrictEqual(Array.from(streamed), [{ standby: true }])
          const stats = yield* Sql.stats
          assert.lengthOf(stats.read, 2)
          assert.deepStrictEqual(
            stats.read.map(({ endpoint }) => endpoint),
            replicas.map((node) => `127.0.0.1:${node.port}/sluice`)
          )
        })
      ).pipe(Effect.provideService(Router.Router, Router.roundRobin()))
    )
  )

  it.effect("a BEGIN that the server refuses fails its first statement, and spoils the plan of none", () =>
    Effect.flatMap(withReplicas, ({ replicas }) =>
      onPool({ replicas: replicas.slice(0, 1), pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          const one = Sql.query("select 1 as one where $1", [true])
          // No standby can be asked for it.
          const serializable = Sql.read(Sql.withTransaction({ isolation: "serializable" })(one))
          for (let i = 0; i < 2; i++) {
            assert.strictEqual((yield* reasonOf(serializable)).code, "0A000")
            assert.deepStrictEqual(yield* Sql.read(one), [{ one: 1 }])
            assert.deepStrictEqual(yield* Sql.read(Sql.withTransaction(one)), [{ one: 1 }])
          }
        })
      )
    )
  )

  it.effect("a connection pinned for reading is exchanged for one on the primary at the first Sql.write", () =>
    Effect.flatMap(withReplicas, (config) =>
      onPool(config, () =>
        Effect.gen(function* () {
          const { primary } = yield* PgCluster.PgCluster
          yield* Effect.gen(function* () {
            const first = yield* port
            assert.notStrictEqual(first, primary.port)
            assert.strictEqual(yield* port, first)
            assert.strictEqual(yield* Sql.write(port), primary.port)
            assert.strictEqual(yield* port, primary.port)
            assert.strictEqual(
              (yield* Sql.stats).read.reduce((sum, { using }) => sum + using, 0),
              0
            )
          }).pipe(Sql.withConnection({ intent: "read" }))
        })
      )
    )
  )

  it.effect("a write that reaches a replica is NotWritable", () =>
    Effect.flatMap(withReplicas, (config) =>
      onPool(config, () =>
        Effect.gen(function* () {
          const { awaitReplicated } = yield* PgCluster.PgCluster
          yield* table("misled", "id int")
          yield* awaitReplicated
          const before = (yield* Sql.stats).read.reduce((sum, { acquired }) => sum + acquired, 0)
          const reason = yield* reasonOf(Sql.read(Sql.query("insert into misled values (1)")))
          assert.strictEqual(reason._tag, "NotWritable")
          assert.strictEqual(reason.connection, "destroy")
          // It is not executed again: it would be refused again.
          assert.strictEqual(
            (yield* Sql.stats).read.reduce((sum, { acquired }) => sum + acquired, 0),
            before + 1
          )
        })
      )
    )
  )

  it.effect("a replica that is the primary itself shares its pool", () =>
    Effect.flatMap(PgCluster.PgCluster, ({ primary }) =>
      onPool({ replicas: [{ url: primary.url }], duplicates: "error", pool: { maxSize: 1 } }, () =>
        Effect.gen(function* () {
          assert.strictEqual(yield* Sql.read(port), primary.port)
          const stats = yield* Sql.stats
          assert.strictEqual(stats.read[0]!.acquired, stats.write.acquired)
        })
      )
    )
  )

  it.effect("when a replica goes away reads go on elsewhere, and come back to it when it is back", () =>
    Effect.gen(function* () {
      const { primary, replicas } = yield* PgCluster.PgCluster
      const replica = replicas[0]!
      const proxy = yield* FaultProxy.make({ target: replica })
      const url = Redacted.make(Redacted.value(replica.url).replace(`:${replica.port}/`, `:${proxy.port}/`))
      yield* onPool({ replicas: [{ url }], pool: { maxSize: 2, minIdle: 0, acquireTimeout: "1 second" } }, () =>
        Effect.gen(function* () {
          assert.strictEqual(yield* Sql.read(port), replica.port)
          yield* proxy.refuse
          yield* proxy.cut
          // The first may still meet the death of the old connection; none may wait for long.
          yield* Effect.ignore(Sql.read(port))
          yield* Sql.read(port)
          for (const read of yield* times(3, atOnce(Sql.read(port)))) assert.strictEqual(read, primary.port)
          yield* eventually(
            "nobody waits for the replica any more",
            Effect.map(Sql.stats, ({ read }) => read[0]!.waiting === 0 && read[0]!.connecting === 0)
          )
          yield* proxy.heal
          yield* eventually(
            "reads are back on the replica",
            Effect.map(Sql.read(port), (read) => read === replica.port)
          )
        })
      )
    }).pipe(Effect.scoped)
  )
})
