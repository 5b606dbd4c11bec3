/** Where reads go while replicas are far behind. On real replicas, whose replay is stopped. */
import { assert, describe, it } from "@effect/vitest"
import { Router, Sql, Topology } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { Effect, Layer, Logger, Redacted } from "effect"
import { type Kind, mariaDb, type Node, postgresql } from "../soak/consistency.js"
import { booksBalance, eventually } from "./contract.js"

const login = {
  username: "sluice",
  password: Redacted.make("sluice"),
  database: "sluice",
  duplicates: "allow",
  pool: { maxSize: 4, acquireTimeout: "20 seconds" }
} as const

type Services = Sql.Sql | Topology.Topology

interface Database {
  readonly kind: Kind
  readonly layer: (options: object) => Layer.Layer<Services, unknown>
}

const databases: ReadonlyArray<Database> = [
  { kind: postgresql, layer: (options) => PgSql.layer({ ...login, ...options }) },
  { kind: mariaDb, layer: (options) => MysqlSql.layer({ ...login, ...options }) }
]

const at = ({ port }: Node) => ({ host: "127.0.0.1", port })

for (const { kind, layer } of databases) {
  describe(kind.name, () => {
    const read = Effect.map(Sql.read(Sql.query<{ readonly port: number }>(kind.read, [1])), ([row]) => row!.port)

    /** The servers that many reads go to. */
    const seen = Effect.map(
      Effect.forEach(Array.from({ length: 20 }), () => read),
      (ports) => [...new Set(ports)].sort()
    )

    const replicaAt = ({ port }: Node) =>
      Effect.map(
        Topology.Topology,
        (topology) => topology.snapshot().replicas.find(({ label }) => label.includes(`:${port}`))!
      )

    /** The primary writes on until this replica is out. */
    const untilLagging = (primary: Node, node: Node) =>
      eventually(
        "the replica is too far behind",
        Effect.zipRight(
          primary.query("update pairs set n = n + 1 where id = 1"),
          Effect.map(replicaAt(node), ({ isLagging }) => isLagging)
        )
      )

    it.live(
      "a replica that is too far behind gets no reads, is said once, and gets them when it has followed",
      () =>
        Effect.gen(function* () {
          const { awaitReplicated, nodes } = yield* kind.make
          const [primary, first, second] = nodes
          yield* primary.query("create table pairs (id int primary key, n int not null)")
          yield* primary.query("insert into pairs values (1, 0)")
          yield* awaitReplicated
          const logs: Array<string> = []
          const logger = Logger.make(({ logLevel, message }) => void logs.push(`${logLevel.label} ${String(message)}`))
          const both = [first.port, second.port].sort()
          yield* Effect.gen(function* () {
            yield* eventually(
              "reads go to both",
              Effect.map(seen, (ports) => `${ports}` === `${both}`)
            )
            yield* kind.pause(first)
            yield* untilLagging(primary, first)
            assert.deepStrictEqual(yield* seen, [second.port])
            assert.isAbove((yield* replicaAt(first)).lag!, 2_000)
            yield* eventually(
              "it is said",
              Effect.sync(() => logs.length > 0)
            )
            assert.match(logs[0]!, new RegExp(`^WARN replica .*:${first.port}.* is \\d+ ms behind the primary`))
            yield* kind.pause(second)
            yield* untilLagging(primary, second)
            assert.deepStrictEqual(yield* seen, [primary.port])
            yield* kind.resume(first)
            yield* kind.resume(second)
            for (const node of [first, second]) {
              yield* eventually(
                "the replica has followed",
                Effect.map(replicaAt(node), ({ isLagging }) => !isLagging)
              )
            }
            assert.notInclude(yield* seen, primary.port)
            yield* eventually(
              "it is said again",
              Effect.sync(() => logs.length >= 4)
            )
            assert.deepStrictEqual(logs.map((log) => log.replace(/ .*/, "")).sort(), ["INFO", "INFO", "WARN", "WARN"])
            yield* booksBalance
          }).pipe(
            Effect.provide(
              layer({ primary: at(primary), replicas: [at(first), at(second)] }).pipe(
                // All of their reads at once, so that it can be seen that there are any.
                Layer.provide(Router.layer(Router.leastBusy({ maxLag: "2 seconds", ramp: 0 })))
              )
            ),
            Effect.provide(Logger.replace(Logger.defaultLogger, logger))
          )
        }).pipe(Effect.scoped),
      120_000
    )
  })
}
