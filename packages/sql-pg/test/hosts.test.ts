/**
 * Several hosts in one url, and in the environment, as libpq reads them: what it connects to was seen with `psql` 15, whose errors
 * name each host and port that it has tried.
 */
import { assert, describe, it } from "@effect/vitest"
import { SqlReason } from "@sluice/sql"
import { Effect, FastCheck, Redacted } from "effect"
import Pg from "pg"
import * as endpoint from "../src/internal/endpoint.js"
import * as FromPool from "../src/internal/fromPool.js"
import type { PgSqlConfig } from "../src/PgSql.js"
import { environment } from "./support/environment.js"

const resolve = (url: string, more: PgSqlConfig = {}) => endpoint.resolve({ url: Redacted.make(url), ...more })

/** Host and port of each server, as its connections are opened. */
const triedBy = (config: PgSqlConfig) =>
  Effect.gen(function* () {
    const { primary, replicas } = yield* endpoint.resolve(config)
    const clients = yield* Effect.forEach([primary, ...replicas], (one) =>
      Effect.map(one.client(undefined), (make) => make())
    )
    return clients.map(({ host, port }): readonly [host: string, port: number] => [host, port])
  })

const tried = (url: string, more: PgSqlConfig = {}) => triedBy({ url: Redacted.make(url), ...more })

const problems = (url: string, more: PgSqlConfig = {}) =>
  Effect.map(Effect.flip(resolve(url, more)), (error) => {
    assert.strictEqual(SqlReason.of(error)._tag, "InvalidOptions")
    assert.notInclude(error.message, "s3cret")
    return (error.cause as unknown as { problems: ReadonlyArray<string> }).problems
  })

describe("several hosts in a url", () => {
  for (const [url, hosts] of [
    ["postgres://u@a:1,b:2/d", ["a:1", "b:2"]],
    ["postgres://u@a,b:2/d", ["a:5432", "b:2"]],
    ["postgres://u@a:1,b/d", ["a:1", "b:5432"]],
    ["postgres://u@a,b/d", ["a:5432", "b:5432"]],
    ["postgres://u@a%2Cb:3/d", ["a:3", "b:3"]],
    ["postgres://u@a,b/d?port=7", ["a:7", "b:7"]],
    ["postgres://u@a:1,b:2/d?port=7", ["a:7", "b:7"]],
    ["postgres://u@a:1,b:2/d?host=c,e", ["c:1", "e:2"]],
    ["postgres:///d?host=a,b&port=1,2", ["a:1", "b:2"]],
    ["postgres:///d?host=a%2Cb&port=,2", ["a:5432", "b:2"]],
    ["postgres://u@[::1]:1,[::2]:2,c/d", ["::1:1", "::2:2", "c:5432"]],
    ["postgres:///d?host=::1,/run/a&port=3", ["::1:3", "/run/a:3"]],
    ["postgres://u@%2Frun%2Fa,b:4/d", ["/run/a:5432", "b:4"]],
    ["postgres://u@:5/d?host=a,b", ["a:5", "b:5"]],
    ["postgresql://u@a:1,b:2,c:3/d?target_session_attrs=read-write&load_balance_hosts=disable", ["a:1", "b:2", "c:3"]]
  ] as const) {
    it.effect(url, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(
          (yield* tried(url)).map(([host, port]) => `${host}:${port}`),
          [...hosts]
        )
        const { replicas, roles } = yield* resolve(url)
        assert.deepStrictEqual([roles, replicas.length], ["found", hosts.length - 1])
      })
    )
  }

  for (const [url, problem] of [
    ["postgres://u:s3cret@a:1,b:2/d?host=c", /^1 host and 2 ports are named/],
    ["postgres:///d?host=a,b&port=1,2,3", /^2 hosts and 3 ports are named: name one port for all hosts, or one/],
    ["postgres://u:s3cret@a/d?port=1,2", /^1 host and 2 ports are named/],
    ["postgres://u:s3cret@a,b/d?port=1,0", /^one of the ports is no integer from 1 to 65535/],
    ["postgres://u:s3cret@a,b/d?port=1,x", /^\?port must be the number of a port/],
    ["postgres://u:s3cret@a,b:99999/d", /^the url names no valid port/],
    ["postgres://u:s3cret@a,b/d?load_balance_hosts=random", /load_balance_hosts=random is not supported: .*Sql\.read/],
    ["postgres://u:s3cret@a,b/d?target_session_attrs=primry", /did you mean "primary"\?/],
    ["postgres://u:s3cret@a,b/d?targetServerType=primary", /use target_session_attrs/],
    ["postgres://u:s3cret@a,b/d?hostaddr=127.0.0.1,127.0.0.2", /use host/],
    ["postgres://u:s3cret@a,b/d?sslmode=verify-ca", /^sslmode=verify-ca needs the certificate/]
  ] as const) {
    it.effect(`is refused, once: ${url}`, () =>
      Effect.gen(function* () {
        const found = yield* problems(url)
        assert.lengthOf(found, 1)
        assert.match(found[0]!, problem)
      })
    )
  }

  it.effect("one without a name is refused, where libpq would take a socket of this machine", () =>
    Effect.gen(function* () {
      for (const url of ["postgres://u:s3cret@a,/d", "postgres:///d?host=a,,b", "postgres://u:s3cret@,/d"]) {
        const [problem, ...more] = yield* problems(url)
        assert.match(problem!, /^a host without a name is among the hosts: write localhost/)
        assert.lengthOf(more, 0)
      }
    })
  )

  it.effect("each is checked against its own name, and each has the whole rest of the url", () =>
    Effect.gen(function* () {
      const { primary, replicas } = yield* resolve(
        "postgres://u:s3cret@a,b:2/d?sslmode=verify-full&application_name=pay&options=-c%20geqo%3Doff"
      )
      for (const one of [primary, ...replicas]) {
        assert.deepStrictEqual([one.ways.map((way) => way?.check), one.user, one.database], [["identity"], "u", "d"])
        assert.strictEqual(Redacted.value(one.password!), "s3cret")
        assert.deepInclude((yield* one.client(one.ways[0]))().connectionParameters as object, {
          application_name: "pay",
          options: "-c geqo=off"
        })
      }
    })
  )

  it.effect("is also what a pool of pg says, whose options are taken over", () =>
    Effect.gen(function* () {
      const pool = new Pg.Pool({ connectionString: "postgres://u@a:1,b:2/d" })
      assert.deepStrictEqual(yield* triedBy(yield* FromPool.configOf(pool)), [
        ["a", 1],
        ["b", 2]
      ])
    })
  )

  it("any hosts and ports that are written as libpq takes them apart", () => {
    const host = FastCheck.oneof(
      FastCheck.stringMatching(/^[a-z][a-z0-9.-]{0,10}$/),
      FastCheck.ipV6().map((ip) => `[${ip}]`),
      FastCheck.ipV4()
    )
    const port = FastCheck.option(FastCheck.integer({ min: 1, max: 65_535 }))
    const places = FastCheck.uniqueArray(FastCheck.record({ host, port }), {
      minLength: 2,
      maxLength: 5,
      selector: (place) => `${place.host}:${place.port ?? 5432}`
    })
    FastCheck.assert(
      FastCheck.property(places, (places) => {
        const text = places.map(({ host, port }) => (port === null ? host : `${host}:${port}`)).join(",")
        assert.deepStrictEqual(
          Effect.runSync(tried(`postgres://u@${text}/d`)),
          places.map(({ host, port }): readonly [host: string, port: number] => [
            host.replace(/[[\]]/g, ""),
            port ?? 5432
          ])
        )
      })
    )
  })
})

describe("hosts of the environment", () => {
  it.scoped("are several where PGHOST is a list; PGPORT is one for all, or one for each", () =>
    Effect.gen(function* () {
      yield* environment({ PGHOST: "a,b", PGPORT: "6000", PGTARGETSESSIONATTRS: "standby" })
      assert.deepStrictEqual(yield* triedBy({}), [
        ["a", 6000],
        ["b", 6000]
      ])
      const { roles, target } = yield* endpoint.resolve({})
      assert.deepStrictEqual([roles, target], ["found", "standby"])
      assert.deepStrictEqual(yield* tried("postgres://:7/d"), [
        ["a", 7],
        ["b", 7]
      ])
      yield* environment({ PGPORT: "1,2" })
      assert.deepStrictEqual(yield* triedBy({}), [
        ["a", 1],
        ["b", 2]
      ])
      assert.match((yield* problems("postgres://c/d")).join(), /^1 host and 2 ports are named/)
      // A url with several hosts says all of their ports: those that it leaves out are 5432.
      assert.deepStrictEqual(yield* tried("postgres://c,d/d"), [
        ["c", 5432],
        ["d", 5432]
      ])
      assert.deepStrictEqual(yield* tried("postgres:///d?host=c,d"), [
        ["c", 1],
        ["d", 2]
      ])
    })
  )

  it.scoped("are not for servers that the program names itself, and PGTARGETSESSIONATTRS must be a word of libpq", () =>
    Effect.gen(function* () {
      yield* environment({ PGHOST: "a,b" })
      assert.deepStrictEqual(yield* triedBy({ host: "c" }), [["c", 5432]])
      assert.deepStrictEqual(yield* triedBy({ path: "/run/postgresql" }), [["/run/postgresql", 5432]])
      yield* environment({ PGTARGETSESSIONATTRS: "standbye" })
      assert.match(
        (yield* problems("postgres://c/d")).join(),
        /^PGTARGETSESSIONATTRS in the environment must be one of .*did you mean "standby"\?/
      )
    })
  )
})
