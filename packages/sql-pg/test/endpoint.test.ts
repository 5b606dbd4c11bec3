import { assert, it } from "@effect/vitest"
import { SqlReason } from "@sluice/sql"
import { Effect, Redacted } from "effect"
import * as endpoint from "../src/internal/endpoint.js"
import type { PgSqlConfig } from "../src/PgSql.js"

const url = (text: string) => Redacted.make(text)

it.effect("an endpoint is read from a url, from fields, or from both, and replicas inherit what they leave out", () =>
  Effect.gen(function* () {
    const { primary, replicas } = yield* endpoint.resolve({
      primary: { url: url("postgres://app:p%40ss@db-1:6543/pay") },
      username: "reader",
      database: "pay",
      replicas: [{ host: "db-2" }, { host: "db-3", port: 7777 }, { path: "/run/postgresql" }]
    })
    assert.deepInclude(primary, { host: "db-1", port: 6543, database: "pay", user: "app", label: "db-1:6543/pay" })
    assert.deepStrictEqual(
      replicas.map(({ label, user }) => [label, user]),
      [
        ["db-2:5432/pay", "reader"],
        ["db-3:7777/pay", "reader"],
        ["/run/postgresql:5432/pay", "reader"]
      ]
    )
  })
)

it.effect("an endpoint shows no password, however it is printed", () =>
  Effect.gen(function* () {
    const { primary } = yield* endpoint.resolve({ url: url("postgres://app:s3cret@db/pay") })
    assert.notInclude(JSON.stringify(primary), "s3cret")
    assert.notInclude(String(primary.client), "s3cret")
  })
)

const problems = (config: PgSqlConfig) =>
  Effect.map(Effect.flip(endpoint.resolve(config)), (error) => {
    assert.strictEqual(SqlReason.of(error)._tag, "InvalidOptions")
    return (error.cause as unknown as { problems: ReadonlyArray<string> }).problems
  })

it.effect("each end of each range: ports, timeouts, urls", () =>
  Effect.gen(function* () {
    const at = { host: "db", username: "app" }
    for (const port of [1, 65_535]) yield* endpoint.resolve({ ...at, port })
    for (const port of [0, -1, 65_536, 1.5, Number.NaN]) assert.lengthOf(yield* problems({ ...at, port }), 1)
    for (const statementTimeout of [0, "1 millis", "1 hour"] as const)
      yield* endpoint.resolve({ ...at, statementTimeout })
    for (const statementTimeout of [Infinity]) assert.lengthOf(yield* problems({ ...at, statementTimeout }), 1)
    for (const good of ["postgres://h/d", "postgresql://u:p@h:1/d", "/run/postgresql"]) {
      yield* endpoint.resolve({ url: url(good) })
    }
    for (const bad of ["", "h/d", "http://u:s3cret@h/d", "postgres://u:s3cret@[h/d", "postgres://u:s3cret@h:99999/d"]) {
      const found = yield* problems({ url: url(bad) })
      assert.lengthOf(found, 1)
      assert.notInclude(found[0], "s3cret")
    }
  })
)

it.effect("onConnect is refused behind a proxy, where what it sets would reach other clients", () =>
  Effect.gen(function* () {
    const at = { host: "db", username: "app", proxy: "pgbouncer-transaction" } as const
    const [problem] = yield* problems({ ...at, hooks: { onConnect: () => Effect.void } })
    assert.match(problem!, /hooks\.onConnect sets would reach other clients of PgBouncer .*alter role/)
    yield* endpoint.resolve({ ...at, hooks: { afterAcquire: () => Effect.void } })
  })
)
