import { assert, it } from "@effect/vitest"
import { SqlReason } from "@sluice/sql"
import { Endpoints } from "@sluice/sql/driver"
import { Effect, Redacted } from "effect"

/** A library that reads a url with `URL`, and whose clients are what they were told. */
const resolve = (config: Endpoints.Fields & Endpoints.Servers<Endpoints.Fields>, explain?: (error: Error) => string) =>
  Endpoints.resolve<Endpoints.Fields, object, { readonly own: number }>(config, {
    module: "FakeSql",
    database: "Fake",
    scheme: "fake",
    isUrl: /^fake:\/\//,
    urlForm: "fake://",
    explain,
    read: (at, own) => {
      const url = at.url === undefined ? undefined : new URL(Redacted.value(at.url))
      if (at.username === "odd") throw new Error("an odd user")
      const password = url?.password ?? (Redacted.isRedacted(at.password) ? Redacted.value(at.password) : undefined)
      return {
        host: url?.hostname ?? at.host ?? "localhost",
        port: at.port ?? 1,
        path: at.path,
        database: at.database,
        user: at.username ?? "",
        password,
        client: (current = password) => ({ password: current }),
        more: { own },
        problem: at.database === "none" ? "there is no such database" : undefined
      }
    }
  })

const problemsOf = (config: Parameters<typeof resolve>[0], explain?: (error: Error) => string) =>
  Effect.map(Effect.flip(resolve(config, explain)), (error) => {
    assert.strictEqual(SqlReason.of(error)._tag, "InvalidOptions")
    return (error.cause as unknown as { problems: ReadonlyArray<string> }).problems
  })

it.effect("replicas take what they leave out from the configuration, but no socket when they have a host", () =>
  Effect.gen(function* () {
    const { primary, replicas } = yield* resolve({
      path: "/run/fake.sock",
      username: "app",
      database: "pay",
      replicas: [{ host: "db-2", port: 7 }, { username: "reader" }, { host: undefined, database: "other" }]
    })
    assert.deepStrictEqual(
      [primary, ...replicas].map(({ key, label }) => [key, label]),
      [
        ["fake://app@/run/fake.sock/pay", "/run/fake.sock/pay"],
        ["fake://app@db-2:7/pay", "db-2:7/pay"],
        ["fake://reader@/run/fake.sock/pay", "/run/fake.sock/pay"],
        ["fake://app@/run/fake.sock/other", "/run/fake.sock/other"]
      ]
    )
  })
)

it.effect("all problems of all endpoints are reported at once, and none shows a url", () =>
  Effect.gen(function* () {
    const found = yield* problemsOf({
      statementTimeout: Infinity,
      primary: { url: Redacted.make("http://u:s3cret@h"), port: 0 },
      replicas: [{ url: Redacted.make("fake://u:s3cret@[h") }, { database: "none" }, {}]
    })
    assert.deepStrictEqual(found, [
      "statementTimeout must be a finite duration of at least 1 millisecond, or 0 for none",
      "primary: url must begin with fake://",
      "primary: port must be an integer from 1 to 65535, and is 0",
      "replica 1: the url cannot be read (ERR_INVALID_URL); is every special character in it percent-encoded?",
      "replica 2: there is no such database"
    ])
  })
)

it.effect(
  "an address that would lose against the url of the surrounding configuration is a problem, and not ignored",
  () =>
    Effect.gen(function* () {
      const config = Redacted.make("fake://db-1")
      const lost = "has no effect, because the url of the surrounding configuration wins: give a url instead"
      assert.deepStrictEqual(
        yield* problemsOf({ url: config, primary: { path: "/run/fake.sock" }, replicas: [{ host: "db-2", port: 7 }] }),
        [`primary: path ${lost}`, `replica 1: host ${lost}`, `replica 1: port ${lost}`]
      )
      yield* resolve({ url: config, host: "ignored", replicas: [{ url: Redacted.make("fake://db-2"), port: 7 }, {}] })
    })
)

it.effect("an error of the library is shown only by a driver that knows that it does not quote the url", () =>
  Effect.gen(function* () {
    const hidden = "primary: the url cannot be read; is every special character in it percent-encoded?"
    assert.deepStrictEqual(yield* problemsOf({ username: "odd" }), [hidden])
    assert.deepStrictEqual(yield* problemsOf({ username: "odd" }, (error) => error.message), ["primary: an odd user"])
  })
)

it.effect("a statement timeout is a whole number of milliseconds, and 1 where it would be less", () =>
  Effect.gen(function* () {
    for (const [statementTimeout, millis] of [
      [undefined, 0],
      [0, 0],
      ["100 micros", 1],
      ["1600 micros", 2],
      ["1 hour", 3_600_000]
    ] as const) {
      const { primary } = yield* resolve({ statementTimeout })
      assert.deepStrictEqual([primary.statementTimeout, primary.own], [millis, millis])
    }
  })
)

it.effect("a password that is an effect is read for each client, and its failure is typed and may be tried again", () =>
  Effect.gen(function* () {
    const passwords = ["one", "two"].map(Redacted.make)
    const { primary } = yield* resolve({
      host: "db",
      password: Effect.suspend(() => {
        const next = passwords.shift()
        return next === undefined ? Effect.fail("no more") : Effect.succeed(next)
      })
    })
    assert.deepStrictEqual(yield* primary.client, { password: "one" })
    assert.deepStrictEqual(yield* primary.client, { password: "two" })
    const error = yield* Effect.flip(primary.client)
    assert.deepInclude(SqlReason.of(error), { _tag: "ConnectFailed", retry: "always", connection: "none" })
    assert.match(error.message, /^Fake at db:1: the password could not be read/)
  })
)
