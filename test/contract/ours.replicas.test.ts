/** What is said about a replica that nobody can read from. Reads go on without it, so nobody would notice. */
import { assert } from "@effect/vitest"
import { Sql, Topology } from "@sluice/sql"
import { FaultProxy } from "@sluice/testkit"
import { Effect, Logger, Redacted } from "effect"
import { booksBalance, eventually, unique } from "./contract.js"
import { Server } from "./databases.js"
import { type Options, ours } from "./ours.js"

ours("replicas", ({ dialect, it, optionsOf, session }) => {
  /** A client with this replica, and what is logged at INFO and above about it. */
  const watched = <A, E, R>(
    replica: (own: Options) => object,
    body: (logs: ReadonlyArray<string>) => Effect.Effect<A, E, R>
  ) =>
    Effect.gen(function* () {
      const own = yield* optionsOf(unique("replicas"))
      const logs: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (String(message).includes("replica")) logs.push(`${logLevel.label} ${String(message)}`)
      })
      const options = { duplicates: "allow", ...own, primary: {}, replicas: [replica(own)], pool: { maxSize: 2 } }
      return yield* body(logs).pipe(
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
})
