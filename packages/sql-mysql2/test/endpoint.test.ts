import { assert, describe, it } from "@effect/vitest"
import { SqlReason } from "@sluice/sql"
import { Effect, Redacted } from "effect"
import * as endpoint from "../src/internal/endpoint.js"
import type { MysqlSqlConfig } from "../src/MysqlSql.js"

const url = (text: string) => Redacted.make(text)

it.effect("an endpoint is read from a url, from fields, or from both, and replicas inherit what they leave out", () =>
  Effect.gen(function* () {
    const { primary, replicas } = yield* endpoint.resolve({
      primary: { url: url("mysql://app:p%40ss@db-1:6543/pay") },
      username: "reader",
      database: "pay",
      replicas: [
        { host: "db-2" },
        { host: "db-3", port: 7777 },
        { path: "/run/mysqld.sock" },
        { url: url("mariadb://u@db-4") }
      ]
    })
    assert.deepInclude(primary, { host: "db-1", port: 6543, database: "pay", user: "app", label: "db-1:6543/pay" })
    assert.strictEqual(Redacted.value(primary.password!), "p@ss")
    assert.deepStrictEqual(
      replicas.map(({ label, user }) => [label, user]),
      [
        ["db-2:3306/pay", "reader"],
        ["db-3:7777/pay", "reader"],
        ["/run/mysqld.sock/pay", "reader"],
        ["db-4:3306/pay", "u"]
      ]
    )
  })
)

it.effect("an endpoint shows no password, however it is printed", () =>
  Effect.gen(function* () {
    const { primary } = yield* endpoint.resolve({ url: url("mysql://app:s3cret@db/pay") })
    assert.notInclude(JSON.stringify(primary), "s3cret")
    assert.notInclude(String(primary.client), "s3cret")
  })
)

it.effect("the names of a session are those of its character set", () =>
  Effect.gen(function* () {
    const names = (charset: string) =>
      Effect.map(endpoint.resolve({ host: "db", mysql2: { charset } }), ({ primary }) => primary.names)
    assert.strictEqual(
      (yield* endpoint.resolve({ host: "db" })).primary.names,
      "NAMES utf8mb4 COLLATE utf8mb4_unicode_ci"
    )
    assert.strictEqual(yield* names("latin1_swedish_ci"), "NAMES latin1 COLLATE latin1_swedish_ci")
    assert.strictEqual(yield* names("utf8mb4_bin"), "NAMES utf8mb4 COLLATE utf8mb4_bin")
    assert.strictEqual(yield* names("binary"), "NAMES binary")
  })
)

const problems = (config: MysqlSqlConfig) =>
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
    assert.strictEqual((yield* endpoint.resolve({ ...at, statementTimeout: "100 micros" })).primary.statementTimeout, 1)
    assert.lengthOf(yield* problems({ ...at, statementTimeout: Infinity }), 1)
    for (const good of ["mysql://h/d", "mysql://u:p@h:1/d", "MariaDB://h"]) yield* endpoint.resolve({ url: url(good) })
    for (const bad of ["", "h/d", "http://u:s3cret@h/d", "mysql://u:s3cret@[h/d", "mysql://u:s3cret@h:99999/d"]) {
      const found = yield* problems({ url: url(bad) })
      assert.lengthOf(found, 1)
      assert.notInclude(found[0], "s3cret")
    }
  })
)

describe("several hosts in a url, as the connectors of MySQL and MariaDB write them", () => {
  for (const [text, hosts] of [
    ["mysql://u@a:1,b:2/d", ["a:1", "b:2"]],
    ["mariadb://u@a,b:2/d", ["a:3306", "b:2"]],
    ["mysql://u@a:1,b,c/d?ssl-mode=REQUIRED", ["a:1", "b:3306", "c:3306"]],
    ["mysql://u@[::1]:1,[::2]/d", ["::1:1", "::2:3306"]],
    ["mysql://u@a,a:3306,b/d", ["a:3306", "b:3306"]]
  ] as const) {
    it.effect(text, () =>
      Effect.gen(function* () {
        const { primary, replicas, roles, target } = yield* endpoint.resolve({ url: url(text) })
        assert.deepStrictEqual(
          [primary, ...replicas].map(({ label, user }) => [label, user]),
          hosts.map((host) => [`${host}/d`, "u"])
        )
        assert.deepStrictEqual([roles, target], ["found", "read-write"])
      })
    )
  }

  for (const [text, more, problem] of [
    ["mysql://u:s3cret@a,b/d?target_session_attrs=any", {}, /use the option targetSessionAttrs/],
    ["mysql://u:s3cret@a,/d", {}, /^a host without a name is among the hosts/],
    ["mysql://u:s3cret@[a:1,b:2]/d", {}, /^the url cannot be read/],
    ["mysql://u:s3cret@(host=a),(host=b)/d", {}, /^the url cannot be read/],
    ["mysql://u:s3cret@a,b/d?socketPath=/run/db.sock", {}, /several hosts, and one Unix socket for all of them/],
    ["mysql://u:s3cret@a,b/d", { replicas: [{ host: "c" }] }, /^the url names several hosts, whose roles are found/],
    ["mysql://u:s3cret@a,b/d", { targetSessionAttrs: "master" as "any" }, /^targetSessionAttrs must be one of/],
    ["mysql://u:s3cret@a/d", { hosts: [], primary: {} }, /^hosts is empty/]
  ] as const) {
    it.effect(`is refused, once: ${text} with ${JSON.stringify(more)}`, () =>
      Effect.gen(function* () {
        const found = yield* problems({ url: url(text), ...more })
        assert.match(found.join(), problem)
        assert.notInclude(found.join(), "s3cret")
      })
    )
  }
})
