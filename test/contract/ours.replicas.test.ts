/** What is said about a replica that nobody can read from. Reads go on without it, so nobody would notice. */
import type { SqlError } from "@effect/sql/SqlError"
import { assert } from "@effect/vitest"
import { Sql, Topology } from "@sluice/sql"
import { FaultProxy } from "@sluice/testkit"
import { Effect, Fiber, Logger, Redacted } from "effect"
import { booksBalance, eventually, unique } from "./contract.js"
import { Server } from "./databases.js"
import { executing, type Options, ours } from "./ours.js"

ours("replicas", ({ dialect, end, it, optionsOf, session, sleep }) => {
  /** A client with this replica, and what is logged at INFO and above about it. */
  const watched = <A, E, R>(
    replica: (own: Options) => object,
    body: (logs: ReadonlyArray<string>, name: string) => Effect.Effect<A, E, R>
  ) =>
    Effect.gen(function* () {
      const name = unique("replicas")
      const own = yield* optionsOf(name)
      const logs: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (String(message).includes("replica")) logs.push(`${logLevel.label} ${String(message)}`)
      })
      const options = { duplicates: "allow", ...own, primary: {}, replicas: [replica(own)], pool: { maxSize: 2 } }
      return yield* body(logs, name).pipe(
        Effect.zipLeft(booksBalance),
        Effect.provide(dialect.layer(options as Options)),
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
    })

  /** The address of the client, with this instead of a part of it. Another host, or it would be the same pool as the primary's. */
  const at = ({ database, url, username }: Options, port: number, password = "sluice") =>
    url === undefined
      ? { database, username, host: "localhost", port, password: Redacted.make(password) }
      : {
          url: Redacted.make(Redacted.value(url).replace(/:[^:@/]*@.*:\d+\//, `:${password}@localhost:${port}/`))
        }

  it.scoped("one that cannot be reached is said at WARN, once, with the reason, and at INFO when it is back", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: yield* Server })
      yield* proxy.refuse
      yield* watched(
        (own) => at(own, proxy.port),
        (logs) =>
          Effect.gen(function* () {
            yield* Sql.read(session)
            yield* eventually(
              "it is said",
              Effect.sync(() => logs.length > 0)
            )
            assert.match(logs[0]!, /^WARN replica .* cannot be reached \(.*ECONNREFUSED.*\): reads go to/)
            yield* Sql.read(session)
            assert.lengthOf(logs, 1)
            yield* proxy.heal
            yield* eventually(
              "it is said again",
              Effect.sync(() => logs.length > 1)
            )
            assert.match(logs[1]!, /^INFO replica .* answers again/)
            yield* Sql.read(session)
            assert.lengthOf(logs, 2)
          })
      )
    })
  )

  it.effect("one whose password is wrong is said at WARN, once, with the reason and without the password", () =>
    Effect.gen(function* () {
      const { port } = yield* Server
      yield* watched(
        (own) => at(own, port, "s3cret"),
        (logs) =>
          Effect.gen(function* () {
            yield* Sql.read(session)
            yield* eventually(
              "it is said",
              Effect.sync(() => logs.length > 0)
            )
            assert.match(logs[0]!, /^WARN replica .* cannot be reached \(.*check username and password/)
            assert.notInclude(logs.join(), "s3cret")
            yield* Sql.read(session)
            assert.lengthOf(logs, 1)
          })
      )
    })
  )

  it.effect(
    "one that is the primary under another name, as a cloud's address for reads may be, keeps no write back",
    () =>
      Effect.gen(function* () {
        const { port } = yield* Server
        yield* watched(
          (own) => at(own, port),
          () =>
            Effect.gen(function* () {
              const { refresh, snapshot } = yield* Topology.Topology
              const { label } = snapshot().primary
              // Both addresses have said now that they take writes, and that they are the same server.
              yield* refresh
              yield* Sql.write(session)
              yield* Sql.read(session)
              const { primary, replicas } = snapshot()
              assert.strictEqual(primary.label, label)
              assert.deepStrictEqual(
                replicas.map(({ role }) => role),
                ["replica"]
              )
            })
        )
      })
  )

  /** Where a read goes on whose connection to the replica is ended while it runs. */
  const goesOn = (read: Effect.Effect<unknown, SqlError, Sql.Sql>) =>
    Effect.gen(function* () {
      const { port } = yield* Server
      return yield* watched(
        (own) => at(own, port),
        (_, name) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(Sql.read(read))
            yield* executing(name, "sleep(30)")
            const before = yield* Sql.stats
            assert.deepStrictEqual([before.write.using, before.read[0]!.using], [0, 1])
            yield* end(name)
            const isLost = Effect.map(Sql.stats, ({ read }) => read[0]!.closed.error > before.read[0]!.closed.error)
            yield* eventually("the connection is lost", isLost)
            yield* executing(name, "sleep(30)")
            const { read: replicas, write } = yield* Sql.stats
            yield* Fiber.interrupt(fiber)
            return write.using === 1 ? "primary" : replicas[0]!.using === 1 ? "replica" : "nowhere"
          })
      )
    })

  const forms: ReadonlyArray<readonly [string, Effect.Effect<unknown, SqlError, Sql.Sql>]> = [
    ["alone", sleep(30)],
    ["pinned", Sql.retry()(Sql.withConnection(sleep(30)))],
    ["in a transaction", Sql.withTransaction({ retry: true })(sleep(30))],
    ["under a policy of the program", Sql.retry()(sleep(30))]
  ]
  for (const [form, read] of forms) {
    it.effect(`a read that has lost its connection goes on at another server: ${form}`, () =>
      Effect.map(goesOn(read), (where) => assert.strictEqual(where, "primary"))
    )
  }
})
