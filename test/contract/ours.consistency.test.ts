/** What a read sees of a write, when a replica may answer it and is behind. On real replicas, whose replay is stopped. */
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { Consistency, Sql, SqlReason, Topology } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import { PgSql } from "@sluice/sql-pg"
import { Effect, Fiber, type Layer, Redacted, Stream } from "effect"
import { type Kind, mariaDb, type Node, postgresql } from "../soak/consistency.js"
import { booksBalance, eventually } from "./contract.js"

const login = {
  username: "sluice",
  password: Redacted.make("sluice"),
  database: "sluice",
  duplicates: "allow",
  pool: { maxSize: 6, acquireTimeout: "20 seconds" }
} as const

interface Database {
  readonly kind: Kind
  readonly layer: (options: object) => Layer.Layer<Sql.Sql | SqlClient | Topology.Topology, unknown>
}

const databases: ReadonlyArray<Database> = [
  { kind: postgresql, layer: (options) => PgSql.layer({ ...login, ...options }) },
  { kind: mariaDb, layer: (options) => MysqlSql.layer({ ...login, ...options }) }
]

const at = ({ port }: Node) => ({ host: "127.0.0.1", port })

interface Seen {
  readonly n: number
  readonly port: number
}

for (const { kind, layer } of databases) {
  describe(kind.name, () => {
    const cluster = <A, E>(
      body: (nodes: readonly [Node, Node, Node], awaitReplicated: Effect.Effect<void, unknown>) => Effect.Effect<A, E>
    ) =>
      Effect.gen(function* () {
        const { awaitReplicated, nodes } = yield* kind.make
        yield* nodes[0].query("create table pairs (id int primary key, n int not null)")
        yield* nodes[0].query("insert into pairs values (1, 0)")
        yield* awaitReplicated
        return yield* body(nodes, awaitReplicated)
      }).pipe(Effect.scoped)

    const on = ([primary, replica]: ReadonlyArray<Node>, options?: object) =>
      layer({ primary: at(primary!), replicas: [at(replica!)], ...options })

    const read = Effect.map(Sql.read(Sql.query<Seen>(kind.read, [1])), ([row]) => row!)
    const write = (n: number) => Sql.query(kind.write, [n, 1])

    let last = 0
    const forms: ReadonlyArray<readonly [string, (n: number) => Effect.Effect<unknown, unknown, Sql.Sql | SqlClient>]> =
      [
        ["alone", write],
        ["with its rows", (n) => Sql.query(kind.returning, [n, 1])],
        ["with its numbers", (n) => Sql.execute(kind.write, [n, 1])],
        ["not prepared", (n) => Sql.query(kind.write, [n, 1], { prepare: false })],
        ["of the client", (n) => Effect.flatMap(SqlClient, (sql) => sql`update pairs set n = ${n} where id = 1`)],
        ["marked as a write in a read", (n) => Sql.read(Sql.write(write(n)))],
        ["in a pin", (n) => Sql.withConnection(write(n))],
        ["in a transaction", (n) => Sql.withTransaction(write(n))],
        ["in a savepoint", (n) => Sql.withTransaction(Sql.withTransaction(write(n)))],
        ["in a transaction with a timeout", (n) => Sql.withTransaction({ timeout: "1 minute" })(write(n))],
        ["in a child", (n) => Effect.flatMap(Effect.fork(write(n)), Fiber.join)],
        ["in one of several children", (n) => Effect.all([write(n), Sql.query("select 1")], { concurrency: 2 })],
        ["under a timeout of Effect", (n) => Effect.timeout(write(n), "1 minute")],
        ["tried again", (n) => Sql.retry()(Sql.idempotent(write(n)))],
        ["begun by hand", (n) => Sql.withConnection(Effect.all([Sql.query("begin"), write(n), Sql.query("commit")]))],
        ["before a failure", (n) => Effect.exit(Effect.zipRight(write(n), Sql.query("no statement")))],
        [
          "in a stream",
          (n) => Effect.flatMap(SqlClient, (sql) => Stream.runDrain(sql.unsafe(kind.returning, [n, 1]).stream))
        ]
      ]

    it.live(
      "a write in whatever form is seen by the next read, while the replica stands still and when it follows",
      () =>
        cluster(([primary, replica]) =>
          Effect.gen(function* () {
            yield* Effect.gen(function* () {
              for (const [form, writing] of forms) {
                const before = last
                yield* kind.pause(replica)
                yield* writing(++last)
                assert.deepStrictEqual(yield* read, { n: last, port: primary.port }, form)
                assert.deepStrictEqual(
                  yield* Sql.withConsistency("strong")(read),
                  { n: last, port: primary.port },
                  form
                )
                assert.deepStrictEqual(
                  yield* Sql.withConsistency("eventual")(read),
                  { n: before, port: replica.port },
                  form
                )
                assert.deepStrictEqual(yield* Sql.withTransaction(read), { n: last, port: primary.port }, form)
                yield* kind.resume(replica)
                yield* eventually(
                  `${form}: the replica answers again`,
                  Effect.map(read, (row) => {
                    assert.strictEqual(row.n, last, form)
                    return row.port === replica.port
                  })
                )
              }
            }).pipe(Effect.zipLeft(booksBalance), Effect.provide(on([primary, replica])))
          })
        )
    )

    it.live("a read waits for a replica that follows in time, and the others share its questions", () =>
      cluster(([primary, replica]) =>
        Effect.gen(function* () {
          yield* kind.pause(replica)
          yield* write(1)
          const reads = yield* Effect.fork(
            Effect.all(
              Array.from({ length: 20 }, () => read),
              { concurrency: 20 }
            )
          )
          // Somebody who has not written does not wait.
          const stranger = yield* Effect.flatMap(Effect.forkDaemon(Sql.withConsistency("eventual")(read)), Fiber.join)
          assert.deepStrictEqual(stranger, { n: 0, port: replica.port })
          yield* Effect.sleep("50 millis")
          assert.isNull(reads.unsafePoll())
          yield* kind.resume(replica)
          for (const row of yield* Fiber.join(reads)) assert.deepStrictEqual(row, { n: 1, port: replica.port })
        }).pipe(Effect.zipLeft(booksBalance), Effect.provide(on([primary, replica], { maxCatchUp: "1 minute" })))
      )
    )

    it.live("a token carries a write to another client; a wrong one is refused in words that say what to do", () =>
      cluster(([primary, replica, other], awaitReplicated) =>
        Effect.gen(function* () {
          const nodes = [primary, replica]
          const secret = Redacted.make("a secret of this test")
          yield* kind.pause(replica)
          const token = yield* Effect.gen(function* () {
            assert.isUndefined(yield* Sql.consistencyToken)
            yield* write(1)
            const token = yield* Sql.consistencyToken
            return yield* Consistency.verify(yield* Consistency.sign(token!, secret), secret)
          }).pipe(Effect.provide(on(nodes)))
          yield* Effect.gen(function* () {
            const withToken = (token: string) => Sql.withConsistency({ token })(read)
            assert.deepStrictEqual(yield* read, { n: 0, port: replica.port })
            assert.deepStrictEqual(yield* withToken(token), { n: 1, port: primary.port })
            yield* kind.resume(replica)
            yield* eventually(
              "the replica has it",
              Effect.map(withToken(token), (row) => {
                assert.strictEqual(row.n, 1)
                return row.port === replica.port
              })
            )
          }).pipe(Effect.zipLeft(booksBalance), Effect.provide(on(nodes)))
          // On a busy machine the primary may not say in time how far it is. Then it is read from, and nobody knows the token better.
          yield* Effect.gen(function* () {
            const withToken = (token: string) => Sql.withConsistency({ token })(read)
            const future =
              kind === postgresql ? token.replace(/[^~]*$/, "1%3A7FFFFFFF%2F0") : token.replace(/\d+$/, "99999999")
            const wrong: ReadonlyArray<readonly [string, RegExp]> = [
              ["nonsense", /it is none/],
              [`${token}~`, /it is none/],
              [token.replace(/~[^~]*$/, "~x"), /it is none/],
              [token.replace(/^1~[^~]+/, "1~Other"), /it is one of Other/],
              [future, /the primary has not come so far/]
            ]
            for (const [bad, why] of wrong) {
              const error = yield* Effect.flip(withToken(bad))
              assert.strictEqual(SqlReason.of(error)._tag, "InvalidData", bad)
              assert.match(error.message, why, bad)
            }
            if (kind === postgresql) {
              const stranger = token.replace(/~\d{10,}~/, "~1234567890123456789~")
              assert.match((yield* Effect.flip(withToken(stranger))).message, /it is of another cluster/)
            }
          }).pipe(Effect.zipLeft(booksBalance), Effect.provide(on(nodes, { maxCatchUp: "1 minute" })))
          // Without a replica nothing is noted, and the token is of everything until now.
          const all = yield* Sql.consistencyToken.pipe(Effect.provide(layer({ primary: at(primary) })))
          yield* awaitReplicated
          yield* primary.stop
          yield* replica.promote
          yield* kind.follow(other, replica)
          yield* Effect.gen(function* () {
            const withToken = Sql.withConsistency({ token: all! })(read)
            // It comes from before the failover: nobody can tell who has it, or the new primary has.
            assert.deepStrictEqual((yield* withToken).n, 1)
            yield* write(2)
            for (let i = 0; i < 5; i++) assert.strictEqual((yield* read).n, 2)
            assert.strictEqual((yield* withToken).n, 2)
            const later = yield* Sql.consistencyToken
            assert.notStrictEqual(later, all)
            yield* eventually(
              "the other replica answers",
              Effect.map(Sql.withConsistency({ token: later })(read), (row) => {
                assert.strictEqual(row.n, 2)
                return row.port === other.port
              })
            )
          }).pipe(Effect.zipLeft(booksBalance), Effect.provide(on([replica, other])))
        })
      )
    )

    it.live("how far a replica is behind is told by positions, without a privilege", () =>
      cluster(([primary, replica]) =>
        Effect.gen(function* () {
          const { refresh, snapshot } = yield* Topology.Topology
          const lag = Effect.map(refresh, () => snapshot().replicas[0]!.lag)
          yield* eventually(
            "it is not behind",
            Effect.map(lag, (lag) => lag === 0)
          )
          yield* kind.pause(replica)
          yield* write(1)
          yield* lag
          yield* Effect.sleep("300 millis")
          const behind = yield* lag
          assert.isAtLeast(behind!, 250)
          yield* kind.resume(replica)
          yield* eventually(
            "it is not behind any more",
            Effect.map(lag, (lag) => lag === 0)
          )
        }).pipe(Effect.zipLeft(booksBalance), Effect.provide(on([primary, replica])))
      )
    )
  })
}

describe("PostgreSQL", () => {
  it.live("a user without any privilege is told how far the servers are, too", () =>
    Effect.gen(function* () {
      const { awaitReplicated, nodes } = yield* postgresql.make
      const [primary, replica] = nodes
      yield* primary.query("create role plain login password 'sluice'")
      yield* primary.query("create table pairs (id int primary key, n int not null)")
      yield* primary.query("grant all on pairs to plain")
      yield* primary.query("insert into pairs values (1, 0)")
      yield* awaitReplicated
      yield* Effect.gen(function* () {
        yield* Sql.query("update pairs set n = 1 where id = 1")
        const token = yield* Sql.consistencyToken
        assert.match(token!, /^1~PostgreSQL~\d+~1%3A[0-9A-F]+%2F[0-9A-F]+$/)
        const [row] = yield* Sql.read(Sql.query<Seen>(postgresql.read, [1]))
        assert.deepStrictEqual(row, { n: 1, port: replica.port })
        const { refresh, snapshot } = yield* Topology.Topology
        yield* refresh
        assert.isDefined(snapshot().replicas[0]!.lag)
      }).pipe(
        Effect.zipLeft(booksBalance),
        Effect.provide(
          PgSql.layer({
            ...login,
            username: "plain",
            primary: at(primary),
            replicas: [at(replica)],
            maxCatchUp: "1 minute"
          })
        )
      )
    }).pipe(Effect.scoped)
  )

  it.live("a COMMIT that is answered before it is written is not missed either", () =>
    Effect.gen(function* () {
      const { nodes } = yield* postgresql.make
      const [primary, replica] = nodes
      yield* primary.query("create table pairs (id int primary key, n int not null)")
      yield* primary.query("insert into pairs values (1, 0)")
      yield* Effect.gen(function* () {
        for (let n = 1; n <= 100; n++) {
          yield* Sql.withTransaction(
            Effect.zipRight(
              Sql.query("set local synchronous_commit = off"),
              Sql.query("update pairs set n = $1 where id = 1", [n])
            )
          )
          const [row] = yield* Sql.read(Sql.query<Seen>(postgresql.read, [1]))
          assert.strictEqual(row!.n, n)
        }
      }).pipe(
        Effect.zipLeft(booksBalance),
        Effect.provide(PgSql.layer({ ...login, primary: at(primary), replicas: [at(replica)] }))
      )
    }).pipe(Effect.scoped)
  )
})
