/**
 * A second pool on one server, database and user in one process.
 *
 * | the second pool has | warn | error, eager | error, lazy | allow |
 * | --- | --- | --- | --- | --- |
 * | the same address | one warning | the Layer fails | the Layer fails | nothing |
 * | the same server behind another address | one warning | the Layer fails | statements fail | nothing |
 * | another server, database or user; an ended pool; a pool of its own Layer | nothing | nothing | nothing | nothing |
 */
import { assert, it } from "@effect/vitest"
import type { Signals } from "@sluice/pool/PoolOptions"
import { Sql, SqlReason } from "@sluice/sql"
import type { Runtime } from "@sluice/sql/driver"
import { Context, Effect, Exit, Layer, Logger, Scope } from "effect"
import * as FakeDriver from "./support/fakeDriver.js"
import { idle, layer as on, played, reasonOf } from "./support/sql.js"

/** Pools on servers that tell who they are; an address that is not named leads to a server of its own. */
const setup = (servers: Record<string, string | undefined | "fails" | "silent">) => {
  const fake = FakeDriver.make()
  const warnings: Array<string> = []
  const asked: Array<string> = []
  const signals: Array<Signals> = []
  const logger = Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ message }) => {
      warnings.push(String(message))
    })
  )
  const driver: typeof fake.driver = {
    ...fake.driver,
    endpoint: (host) => ({ key: `fake://app@${host}/${process.pid}`, label: host }),
    connect: (host, given) => {
      signals.push(given)
      return fake.driver.connect(host, given)
    },
    identity: ({ host }) => {
      asked.push(host)
      const server = host in servers ? servers[host] : host
      return server === "fails" ? Effect.fail(FakeDriver.failure("no such function")) : Effect.succeed(server)
    }
  }
  const build = (primary: string, name: string, options: Partial<Runtime.RuntimeOptions<string>> = {}) =>
    played(
      Layer.build(
        on(
          { driver },
          {
            primary,
            duplicates: "warn",
            startup: "eager",
            madeAt: () => `at ${name}`,
            pool: { name, minIdle: 0 },
            ...options
          }
        )
      ).pipe(Effect.map(Context.get(Sql.Sql)), Effect.provide(logger))
    )
  const statement = (sql: Sql.Service) => played(Effect.provideService(Sql.query("a"), Sql.Sql, sql))
  return { fake, servers, warnings, asked, signals, build, statement }
}

it.scoped("the same server behind another address is reported once, with both names and places", () =>
  Effect.gen(function* () {
    const { asked, build, statement, warnings } = setup({ "localhost:1": "X", "db-1:1": "X" })
    yield* build("localhost:1", "requests")
    const jobs = yield* build("db-1:1", "jobs")
    assert.lengthOf(warnings, 1)
    assert.include(warnings[0]!, '"jobs", made at jobs, and "requests", made at requests')
    yield* statement(jobs)
    assert.lengthOf(warnings, 1)
    assert.deepStrictEqual(asked, ["localhost:1", "db-1:1"])
    yield* Effect.provideService(idle, Sql.Sql, jobs)
  })
)

it.scoped("the same address is reported at once and not again when the server has told who it is", () =>
  Effect.gen(function* () {
    const { build, statement, warnings } = setup({ "a:1": "X" })
    const requests = yield* build("a:1", "requests", { startup: "lazy" })
    const jobs = yield* build("a:1", "jobs", { startup: "lazy" })
    assert.lengthOf(warnings, 1)
    for (const sql of [jobs, requests, jobs]) yield* statement(sql)
    assert.lengthOf(warnings, 1)
    yield* Effect.provideService(idle, Sql.Sql, jobs)
  })
)

it.scoped("error refuses an eager Layer, and the statements of a lazy one for as long as the other pool lives", () =>
  Effect.gen(function* () {
    const { build, fake, statement, warnings } = setup({ "a:1": "X", "b:1": "X" })
    const scope = yield* Scope.make()
    yield* Scope.extend(build("a:1", "requests"), scope)
    const eager = yield* reasonOf(build("b:1", "jobs", { duplicates: "error" }))
    assert.strictEqual(eager._tag, "InvalidOptions")
    const jobs = yield* build("b:1", "jobs", { duplicates: "error", startup: "lazy" })
    const error = yield* Effect.flip(statement(jobs))
    assert.strictEqual(SqlReason.of(error)._tag, "InvalidOptions")
    assert.include(error.message, '"jobs", made at jobs, and "requests", made at requests')
    assert.isTrue(fake.connections.filter(({ host }) => host === "b:1").every(({ state }) => state === "dead"))
    yield* played(Scope.close(scope, Exit.void))
    // A host that has refused is not asked again at once.
    yield* played(Effect.sleep("2 seconds"))
    yield* statement(jobs)
    assert.deepStrictEqual(warnings, [])
    yield* Effect.provideService(idle, Sql.Sql, jobs)
  })
)

it.scoped("the pool that was made later decides, and is refused, whichever connects first", () =>
  Effect.gen(function* () {
    const servers = Object.fromEntries(["a:1", "b:1", "c:1", "d:1"].map((address) => [address, "X"]))
    const { build, statement, warnings } = setup(servers)
    const first = yield* build("a:1", "requests", { startup: "lazy", duplicates: "error" })
    const allowed = yield* build("b:1", "admin", { startup: "lazy", duplicates: "allow" })
    yield* statement(allowed)
    yield* statement(first)
    assert.deepStrictEqual(warnings, [])
    const warned = yield* build("c:1", "jobs", { startup: "lazy" })
    const last = yield* build("d:1", "other", { startup: "lazy", duplicates: "error" })
    yield* statement(warned)
    assert.lengthOf(warnings, 1)
    assert.include(warnings[0]!, '"jobs", made at jobs, and "')
    assert.strictEqual((yield* reasonOf(statement(last)))._tag, "InvalidOptions")
    yield* Effect.provideService(idle, Sql.Sql, first)
  })
)

it.scoped(
  "nothing is said of other servers, of one Layer alone, of pools that were closed or drained, and with allow",
  () =>
    Effect.gen(function* () {
      const { build, warnings } = setup({ "a:1": "X", "b:1": "Y", "c:1": "X", "d:1": undefined, "e:1": "fails" })
      const passing = (primary: string, name: string) => Effect.scoped(build(primary, name))
      yield* passing("a:1", "first")
      const drained = yield* build("a:1", "second")
      yield* played(drained.drain())
      yield* build("a:1", "third", { replicas: ["b:1", "c:1"] })
      yield* build("d:1", "fourth")
      yield* build("e:1", "fifth")
      yield* build("c:1", "sixth", { duplicates: "allow" })
      assert.deepStrictEqual(warnings, [])
      yield* build("f:1", "seventh")
      assert.deepStrictEqual(warnings, [])
    })
)

it.scoped("where no server can tell, the names of this machine are one address, and all others are their own", () =>
  Effect.gen(function* () {
    const { build, warnings } = setup({
      "localhost:1": undefined,
      "127.0.0.1:1": undefined,
      "::1:1": "fails",
      "127.0.0.1:2": undefined,
      "db-1:1": undefined
    })
    yield* build("localhost:1", "first")
    yield* build("127.0.0.1:2", "second")
    yield* build("db-1:1", "third")
    assert.deepStrictEqual(warnings, [])
    yield* build("127.0.0.1:1", "fourth")
    yield* build("::1:1", "fifth")
    assert.lengthOf(warnings, 2)
  })
)

it.scoped("after a lost connection the server is asked again: an address may lead to another server then", () =>
  Effect.gen(function* () {
    const { asked, build, fake, servers, signals, statement, warnings } = setup({ "a:1": "X", "b:1": "Y" })
    yield* build("a:1", "requests")
    const jobs = yield* build("b:1", "jobs")
    servers["b:1"] = "X"
    yield* statement(jobs)
    assert.deepStrictEqual(warnings, [])
    const last = fake.connections.at(-1)!
    last.state = "dead"
    signals.at(-1)!.broken(new Error("lost"))
    yield* statement(jobs)
    assert.lengthOf(warnings, 1)
    assert.deepStrictEqual(asked, ["a:1", "b:1", "b:1"])
    // The pool is no longer where it was.
    yield* build("c:1", "others")
    servers["d:1"] = "Y"
    yield* build("d:1", "more")
    assert.lengthOf(warnings, 1)
    yield* Effect.provideService(idle, Sql.Sql, jobs)
  })
)

it.scoped("two copies of this library in one process know of each other", () =>
  Effect.gen(function* () {
    const one = yield* Effect.promise(() => import("../src/internal/routing/registry.js"))
    const path = "../src/internal/routing/registry.js?another"
    const other: typeof one = yield* Effect.promise(() => import(/* @vite-ignore */ path))
    assert.notStrictEqual(one.make, other.make)
    const key = `copies-${process.pid}`
    const first = yield* one.make(() => "at first", "error")
    yield* first.pool("first").isAt(key)
    const second = yield* other.make(() => "at second", "error")
    const error = yield* Effect.flip(second.pool("second").isAt(key))
    assert.include(error.message, '"second", made at second, and "first", made at first')
    yield* first.end
    yield* second.pool("second").isAt(key)
  })
)
