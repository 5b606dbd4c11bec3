import { assert, it } from "@effect/vitest"
import { SqlReason } from "@sluice/sql"
import { Effect, Redacted } from "effect"
import { problemsOf, resolve } from "./support/fakeLibrary.js"

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

it.effect("all problems of all options are reported at once, then those of all addresses, and none shows a url", () =>
  Effect.gen(function* () {
    assert.deepStrictEqual(
      yield* problemsOf({
        statementTimeout: Infinity,
        pool: { maxsize: 5, max: 5 },
        startup: "lazzy",
        duplicates: true,
        color: "red",
        primary: { url: "fake://u:s3cret@h", port: 0, user: "app" },
        replicas: [{ password: "s3cret", maxSize: 5 }, { startup: "lazy" }]
      } as object),
      [
        "statementTimeout must be a finite duration of at least 1 millisecond, or 0 for none, and is Infinity",
        "pool.maxsize is no option here: did you mean pool.maxSize?",
        "pool.max is no option here: use pool.maxSize",
        'startup must be one of "eager", "lazy", and is "lazzy": did you mean "lazy"?',
        'duplicates must be one of "warn", "error", "allow", and is true',
        "color is no option here: use colour",
        "primary.url must be a Redacted, so that nothing shows it: write Redacted.make(url)",
        "primary.port must be an integer from 1 to 65535, and is 0",
        "primary.user is no option here: use username",
        "replicas[0].password must be a Redacted or an effect that gives one, so that nothing shows it: write Redacted.make(password)",
        "replicas[0].maxSize is no option here: write it beside primary and replicas",
        "replicas[1].startup is no option here: write it beside primary and replicas"
      ]
    )
    assert.deepStrictEqual(
      yield* problemsOf({
        primary: { url: Redacted.make("http://u:s3cret@h") },
        replicas: [{ url: Redacted.make("fake://u:s3cret@[h") }, { database: "none" }, {}, { host: "a,b" }]
      }),
      [
        "primary: url must begin with fake://",
        "replicas[0]: the url cannot be read; is every special character in it percent-encoded?",
        "replicas[1]: there is no such database",
        "replicas[3]: host names several hosts: write each of them into hosts"
      ]
    )
  })
)

it.effect("options that are no object are a problem too, whoever calls", () =>
  Effect.gen(function* () {
    for (const none of [undefined, null, "fake://", []]) {
      assert.match((yield* problemsOf(none as never)).join(), /^the options must be an object, and is /)
    }
    assert.deepStrictEqual(yield* problemsOf({ maxConnections: 3, replica: {}, pol: {} } as object), [
      "maxConnections is no option here: use pool.maxSize",
      "replica is no option here: did you mean replicas?",
      "pol is no option here: did you mean pool?"
    ])
  })
)

it.effect("words of a url that nobody reads are refused by name, and so are values that have no meaning", () =>
  Effect.gen(function* () {
    const of = (query: string) => problemsOf({ url: Redacted.make(`fake://u:s3cret@h/d?${query}`) })
    assert.deepStrictEqual(yield* of("schema=app&mod=fast&connection_limit=3"), [
      "?schema is no option here: set it on the role",
      "?mod is no option here: did you mean ?mode?",
      "?connection_limit is no option here: there are mode, zone, host, port, target_session_attrs"
    ])
    assert.deepStrictEqual(yield* of("mode=fsat"), [
      '?mode must be one of "fast", "slow", and is "fsat": did you mean "fast"?'
    ])
    assert.deepStrictEqual(yield* of("mode=fast&mode=slow"), ["the url says mode twice"])
    assert.deepStrictEqual(yield* of("pass@word"), [
      "the url cannot be read; is every special character in it percent-encoded?"
    ])
    const { primary } = yield* resolve({ url: Redacted.make("fake://h/d?mode=fast&zone=%2B02:00") })
    assert.deepStrictEqual(primary.words, { mode: "fast", zone: "+02:00" })
  })
)

it.effect("a url says what it says, and the fields beside it say the rest", () =>
  Effect.gen(function* () {
    const { primary, replicas } = yield* resolve({
      username: "app",
      password: Redacted.make("s3cret"),
      database: "pay",
      port: 9,
      primary: { url: Redacted.make("fake://db-1") },
      replicas: [{ url: Redacted.make("fake://reader:p%40ss@[::1]:7/other") }, { url: Redacted.make("fake:///pay") }]
    })
    assert.deepStrictEqual(
      [primary, ...replicas].map(({ key }) => key),
      ["fake://app@db-1:1/pay", "fake://reader@::1:7/other", "fake://app@localhost:9/pay"]
    )
    assert.deepStrictEqual((yield* primary.client(undefined))(), { password: "s3cret" })
    assert.deepStrictEqual((yield* replicas[0]!.client(undefined))(), { password: "p@ss" })
  })
)

it.effect("what would lose against the url of the surrounding configuration is a problem, and not ignored", () =>
  Effect.gen(function* () {
    const config = Redacted.make("fake://db-1")
    const lost = "has no effect, because the url of the surrounding configuration wins: give a url instead"
    assert.deepStrictEqual(
      yield* problemsOf({
        url: config,
        primary: { path: "/run/fake.sock" },
        replicas: [{ host: "db-2" }, { port: 7 }]
      }),
      [`primary: path ${lost}`, `replicas[0]: host ${lost}`, `replicas[1]: port ${lost}`]
    )
    assert.deepStrictEqual(
      yield* problemsOf({
        url: Redacted.make("fake://a:s3cret@db-1/pay"),
        replicas: [{ database: "d" }, { username: "b" }]
      }),
      [`replicas[0]: database ${lost}`, `replicas[1]: username ${lost}`]
    )
    const { primary, replicas } = yield* resolve({
      url: Redacted.make("fake://a:p@db-1:5/pay"),
      host: "ignored",
      username: "ignored",
      replicas: [{ url: Redacted.make("fake://b@db-2"), port: 8 }, {}]
    })
    assert.deepStrictEqual(
      [primary, ...replicas].map(({ key }) => key),
      ["fake://a@db-1:5/pay", "fake://b@db-2:8/", "fake://a@db-1:5/pay"]
    )
  })
)

it.effect("an error of the library is shown only by a driver that knows that it quotes no secret", () =>
  Effect.gen(function* () {
    assert.deepStrictEqual(yield* problemsOf({ username: "odd" }), ["the address cannot be read"])
    assert.deepStrictEqual(yield* problemsOf({ username: "odd" }, (error) => error.message), ["an odd user"])
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
    assert.deepStrictEqual((yield* primary.client(undefined))(), { password: "one" })
    assert.deepStrictEqual((yield* primary.client(undefined))(), { password: "two" })
    const error = yield* Effect.flip(primary.client(undefined))
    assert.deepInclude(SqlReason.of(error), { _tag: "ConnectFailed", retry: "always", connection: "none" })
    assert.match(error.message, /^Fake at db:1: the password could not be read/)
  })
)
