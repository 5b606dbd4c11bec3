/** What is found out about the servers when a client is made, and what cannot work is told. */
import { assert, describe, it } from "@effect/vitest"
import { Sql, SqlReason, Topology } from "@sluice/sql"
import { Effect, Layer } from "effect"
import { eventually } from "../contract/contract.js"
import { kinds, logged } from "./pairs.js"
import { booksBalance } from "./rig.js"

const local = ({ port }: { readonly port: number }) => ({ host: "127.0.0.1", port })

const one = Sql.query("select 1 as one")

const roles = Effect.map(Topology.Topology, (topology) => {
  const { isWritable, primary, replicas } = topology.snapshot()
  return { isWritable, primary: primary.label, replicas: replicas.map(({ label }) => label) }
})

/** A port on which nobody listens. */
const nowhere = (n: number) => ({ host: "127.0.0.1", port: n })

for (const kind of kinds) {
  describe(`${kind.name}: roles`, () => {
    const insert = kind.insert("one")

    it.scopedLive(
      "are found among hosts, whichever comes first; those of the configuration may be wrong; standbys alone are said",
      () =>
        Effect.gen(function* () {
          const [primary, replica] = yield* kind.pair
          const is = (port: number) => `127.0.0.1:${port}/sluice`
          const expected = { isWritable: true, primary: is(primary.port), replicas: [is(replica.port)] }
          for (const options of [
            { hosts: [local(primary), local(replica)] },
            { hosts: [local(replica), local(primary)] },
            { hosts: [local(replica), local(primary)], startup: "lazy" },
            { hosts: [nowhere(1), local(replica), local(primary)] },
            { primary: local(replica), replicas: [local(primary)] }
          ]) {
            const { layer } = yield* logged
            yield* Effect.gen(function* () {
              yield* insert
              const found = yield* roles
              assert.strictEqual(found.primary, expected.primary, JSON.stringify(options))
              assert.include(found.replicas, is(replica.port))
              assert.isTrue(found.isWritable)
              yield* Sql.read(one)
              yield* booksBalance
            }).pipe(Effect.provide(kind.connect(options)), Effect.provide(layer))
          }

          // Standbys alone: reads go on, writes wait as long as for a connection, and say why.
          const { layer, logs } = yield* logged
          yield* Effect.gen(function* () {
            yield* Sql.read(one)
            const error = yield* Effect.flip(Sql.withAcquireTimeout("300 millis")(insert))
            assert.strictEqual(SqlReason.of(error)._tag, "NotWritable")
            assert.match(String((error as Error).message), /no server takes writes|standby|read.only/i)
            assert.isFalse((yield* roles).isWritable)
            yield* booksBalance
          }).pipe(Effect.provide(kind.connect({ hosts: [local(replica), nowhere(1)] })), Effect.provide(layer))
          const said = logs.filter((line) => line.includes("no server takes writes"))
          assert.lengthOf(said, 1, logs.join("\n"))
          assert.match(said[0]!, /^WARN .*standby, read-only or cannot be reached/)
        }),
      120_000
    )

    it.live("a host that does not answer is no reason to hang, and none at all is a failure that says which", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(kind.connect({ hosts: [nowhere(1), nowhere(2)] }))))
        assert.strictEqual(SqlReason.of(error)._tag, "ConnectFailed")
        assert.include(String((error as Error).message), "127.0.0.1:1")
      })
    )

    it.scopedLive(
      "a server that has not the database gets no reads, and it is said",
      () =>
        Effect.gen(function* () {
          const [primary, replica] = yield* kind.pair
          const { layer, logs } = yield* logged
          yield* Effect.gen(function* () {
            yield* Effect.replicateEffect(Sql.read(one), 20)
            yield* eventually(
              "it is said",
              Effect.sync(() => logs.some((line) => line.startsWith("WARN replica") && line.includes("elsewhere")))
            )
            yield* booksBalance
          }).pipe(
            Effect.provide(
              kind.connect({ primary: local(primary), replicas: [{ ...local(replica), database: "elsewhere" }] })
            ),
            Effect.provide(layer)
          )
        }),
      120_000
    )
  })
}

const [postgresql] = kinds

describe("two clusters", () => {
  it.scopedLive(
    "hosts of two clusters are refused by name; a lazy client gives the stranger nothing and says so",
    () =>
      Effect.gen(function* () {
        const [[mine], [other]] = yield* Effect.all([postgresql!.pair, postgresql!.pair], { concurrency: 2 })
        for (const options of [
          { primary: local(mine), replicas: [local(other)] },
          { hosts: [local(mine), local(other)] }
        ]) {
          const error = yield* Effect.flip(Effect.scoped(Layer.build(postgresql!.connect(options))))
          assert.strictEqual(SqlReason.of(error)._tag, "InvalidOptions")
          assert.match(String((error as Error).message), /belongs to another cluster/)
        }
        const { layer, logs } = yield* logged
        yield* Effect.gen(function* () {
          const topology = yield* Topology.Topology
          yield* eventually(
            "the stranger is known",
            Effect.sync(() => topology.snapshot().replicas.length === 0)
          )
          yield* Effect.replicateEffect(Sql.read(postgresql!.insert("read")), 5)
          assert.lengthOf(yield* mine.count, 1)
          assert.deepStrictEqual((yield* other.count)[0], { n: "0" })
        }).pipe(
          Effect.provide(postgresql!.connect({ primary: local(mine), replicas: [local(other)], startup: "lazy" })),
          Effect.provide(layer)
        )
        assert.lengthOf(
          logs.filter((line) => line.startsWith("ERROR") && line.includes("belongs to another cluster")),
          1
        )
      }),
    120_000
  )
})
