/** Several hosts in the configuration of a Layer of ours: what is refused, and that what is not refused connects. */
import { assert } from "@effect/vitest"
import { Sql } from "@sluice/sql"
import { FaultProxy } from "@sluice/testkit"
import { Config, ConfigProvider, Effect, Redacted } from "effect"
import { booksBalance, noSessions, unique } from "./contract.js"
import { Server } from "./databases.js"
import { failureOf, type Options, ours } from "./ours.js"

const words = '"any", "read-write", "read-only", "primary", "standby", "prefer-standby"'

ours("several hosts", ({ dialect, it, session }) => {
  const { scheme } = dialect

  const layerOf = (options: object) => dialect.layer({ duplicates: "allow", ...options } as Options)

  const url = (text: string) => Redacted.make(`${scheme}://app:s3cret@${text}`)

  for (const [name, options, problem] of [
    ["no host", { hosts: [] }, "hosts is empty: name at least one server in it"],
    ["a host that is no object", { hosts: ["db-1"] }, 'hosts[0] must be an object, and is "db-1"'],
    [
      "hosts beside a primary and replicas",
      { hosts: [{ host: "db-1" }], primary: { host: "db-1" }, replicas: [{ host: "db-2" }] },
      "hosts cannot stand beside primary and replicas: write every server into hosts to have the roles found by asking, or leave hosts out"
    ],
    [
      "a url with several hosts beside replicas",
      { url: url("db-1,db-2/pay"), replicas: [{ url: url("db-3/pay") }] },
      "the url names several hosts, whose roles are found by asking: write each of them into hosts, and leave primary and replicas out"
    ],
    [
      "a url with several hosts as a primary",
      { primary: { url: url("db-1,db-2/pay") } },
      "primary: the url names several hosts, whose roles are found by asking: write each of them into hosts, and leave primary and replicas out"
    ],
    [
      "several names in host",
      { host: "db-1,db-2", database: "pay" },
      "host names several hosts: write each of them into hosts"
    ],
    [
      "a host without a name",
      { url: url("db-1,/pay") },
      "a host without a name is among the hosts: write localhost if that is meant"
    ],
    [
      "servers with different databases",
      { hosts: [{ url: url("db-1/pay") }, { url: url("db-2/shop") }] },
      "hosts[1]: the database is another one than that of hosts[0], and a write could go to either"
    ],
    [
      "one server as two users",
      { host: "db-1", database: "pay", hosts: [{ username: "a" }, { username: "b" }] },
      "hosts[1]: the same server is among hosts already, with another user"
    ],
    [
      "what other libraries call hosts",
      { nodes: ["db-1"] },
      "nodes is no option here: use hosts, or primary and replicas"
    ],
    [
      "a wrong word for where statements go",
      { host: "db-1", targetSessionAttrs: "read-wirte" },
      `targetSessionAttrs must be one of ${words}, and is "read-wirte": did you mean "read-write"?`
    ],
    [
      "the word of one server alone",
      { hosts: [{ host: "db-1", targetSessionAttrs: "any" }] },
      "hosts[0].targetSessionAttrs is no option here: write it beside hosts"
    ],
    [
      "a hold that is no duration",
      { host: "db-1", failoverHold: "on" },
      'failoverHold must be "off" or a duration from 1 millisecond to 5 minutes, and is "on"'
    ],
    [
      "a hold without an end",
      { host: "db-1", failoverHold: Infinity },
      'failoverHold must be "off" or a duration from 1 millisecond to 5 minutes, and is Infinity'
    ]
  ] as const) {
    it.effect(`${name}: the Layer fails with InvalidOptions, says what to do, and shows no password`, () =>
      Effect.gen(function* () {
        const { message, reason } = yield* failureOf(layerOf(options))
        assert.deepStrictEqual([reason._tag, reason.outcome], ["InvalidOptions", "none"])
        assert.include(message, problem)
        assert.deepStrictEqual((reason.cause as { readonly problems?: unknown }).problems, [problem])
      })
    )
  }

  it.effect("target_session_attrs in a url is checked where it is libpq's word, and else leads to the option", () =>
    Effect.gen(function* () {
      const { message, reason } = yield* failureOf(
        layerOf({ url: url("db-1,db-2/pay?target_session_attrs=read-only-ish") })
      )
      assert.strictEqual(reason._tag, "InvalidOptions")
      assert.include(
        message,
        scheme === "postgres"
          ? `?target_session_attrs must be one of ${words}`
          : "?target_session_attrs is no option here: use the option targetSessionAttrs"
      )
    })
  )

  /** The url of a client whose sessions the server knows by this name. */
  const urlOf = (name: string) =>
    Effect.flatMap(Server, (server) => Effect.map(server.url(name), (url) => new URL(Redacted.value(url))))

  it.effect("the Layer connects to the hosts of a list, and to those of a url, of which one does not answer", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ target: yield* Server })
      yield* proxy.refuse
      const name = unique("hosts")
      const url = yield* urlOf(name)
      const { host } = url
      const text = url.href
      const several = text.replace(host, `${host},127.0.0.1:${proxy.port}`)
      const dead = text.replace(host, `127.0.0.1:${proxy.port}`)
      for (const options of [
        { url: Redacted.make(several) },
        { hosts: [{ url: Redacted.make(text) }, { url: Redacted.make(dead) }] },
        { url: Redacted.make(text.replace(`${host}/`, "/")), hosts: [{ host: "127.0.0.1" }], port: Number(url.port) }
      ]) {
        yield* Effect.zipRight(session, booksBalance).pipe(
          Effect.provide(layerOf({ applicationName: name, ...options }))
        )
        yield* noSessions(name)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("a server that is named twice has one pool", () =>
    Effect.gen(function* () {
      const name = unique("hosts")
      const url = yield* urlOf(name)
      const twice = Redacted.make(url.href.replace(url.host, `${url.host},${url.host}`))
      yield* Effect.gen(function* () {
        yield* session
        const { control } = yield* Sql.stats
        assert.lengthOf(control, 1)
        yield* booksBalance
      }).pipe(Effect.provide(layerOf({ applicationName: name, url: twice, pool: { maxSize: 2 } })))
      yield* noSessions(name)
    })
  )

  it.effect("layerConfig reads hosts, their word and their hold, as a list too", () =>
    Effect.gen(function* () {
      const name = unique("hosts")
      const url = yield* urlOf(name)
      const text = url.href
      const values = { FIRST: text, URLS: `${text},${text}`, TARGET: "primary", HOLD: "2 seconds" }
      const settings = {
        duplicates: "allow" as const,
        applicationName: name,
        targetSessionAttrs: Config.literal("primary", "standby")("TARGET"),
        failoverHold: Config.duration("HOLD")
      }
      const urls = Config.map(Config.array(Config.redacted(), "URLS"), (urls) => urls.map((url) => ({ url })))
      for (const layer of [
        dialect.layerConfig({ ...settings, hosts: [{ url: Config.redacted("FIRST") }, { url: Redacted.make(text) }] }),
        dialect.layerConfig({ ...settings, hosts: urls })
      ]) {
        const run = (values: Readonly<Record<string, string>>) =>
          Effect.zipRight(session, booksBalance).pipe(
            Effect.provide(layer),
            Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(values)), { seqDelim: "," }))
          )
        yield* run(values)
        yield* noSessions(name)
        assert.include(String(yield* Effect.flip(run({ ...values, TARGET: "secondary" }))), "TARGET")
      }
    })
  )
})
