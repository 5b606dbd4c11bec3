/** Several hosts: what a configuration makes of them, and what it cannot mean. */
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Redacted } from "effect"
import { Configured, type Endpoints } from "../src/driver/index.js"
import { problemsOf, resolve } from "./support/fakeLibrary.js"

type Configuration = Endpoints.Fields & Endpoints.Servers<Endpoints.Fields>

const url = (text: string) => Redacted.make(`fake://${text}`)

/** The addresses that a configuration stands for, first the guess of a primary. */
const found = (config: Configuration, environment: Readonly<Record<string, string>> = {}) =>
  Effect.map(resolve(config, undefined, environment), ({ primary, replicas, roles, target }) => ({
    keys: [primary, ...replicas].map(({ key }) => key.replace("fake://", "")),
    roles,
    target
  }))

const keysOf = (config: Configuration, environment: Readonly<Record<string, string>> = {}) =>
  Effect.map(found(config, environment), ({ keys, roles }) => {
    assert.strictEqual(roles, "found")
    return keys
  })

describe("hosts", () => {
  it.effect(
    "are servers whose roles are found, in the order that they are written in, with the fields around them",
    () =>
      Effect.gen(function* () {
        const around = { username: "app", database: "pay", port: 7, password: Redacted.make("p") }
        assert.deepStrictEqual(
          yield* found({ ...around, hosts: [{ host: "a" }, { host: "b", port: 8 }, { url: url("c:9/pay") }] }),
          { keys: ["app@a:7/pay", "app@b:8/pay", "app@c:9/pay"], roles: "found", target: "read-write" }
        )
        assert.deepStrictEqual(yield* found({ ...around, hosts: [{ host: "a" }] }), {
          keys: ["app@a:7/pay"],
          roles: "found",
          target: "read-write"
        })
        const inUrl = { url: url("app@/pay?target_session_attrs=standby"), hosts: [{ host: "a" }, { host: "b" }] }
        assert.deepStrictEqual(yield* found(inUrl), {
          keys: ["app@a:1/pay", "app@b:1/pay"],
          roles: "found",
          target: "standby"
        })
      })
  )

  it.effect("that are one server count once", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* keysOf({ hosts: [{ host: "a" }, { host: "b" }, { url: url("a") }, { host: "b" }] }),
        ["@a:1/", "@b:1/"]
      )
      assert.deepStrictEqual(yield* keysOf({ url: url("a,a:1,b/d") }), ["@a:1/d", "@b:1/d"])
    })
  )

  for (const [says, config, problems] of [
    ["none", { hosts: [] }, ["hosts is empty: name at least one server in it"]],
    ["no array", { hosts: { host: "a" } }, ["hosts must be an array, and is an object"]],
    [
      "servers with roles beside them",
      { hosts: [{ host: "a" }], primary: { host: "b" }, replicas: [{ host: "c" }] },
      [
        "hosts cannot stand beside primary and replicas: write every server into hosts to have the roles found by asking, or leave hosts out"
      ]
    ],
    [
      "a primary beside them",
      { hosts: [{ host: "a" }], primary: {} },
      [
        "hosts cannot stand beside primary: write every server into hosts to have the roles found by asking, or leave hosts out"
      ]
    ],
    [
      "options that are for all servers, and fields that are none",
      { hosts: [{ hostname: "a", startup: "lazy" }, { host: "b", hosts: [] }, { port: 0 }] },
      [
        "hosts[0].hostname is no option here: use host",
        "hosts[0].startup is no option here: write it beside hosts",
        "hosts[1].hosts is no option here: write each server into the outer hosts",
        "hosts[2].port must be an integer from 1 to 65535, and is 0"
      ]
    ],
    [
      "hosts inside of a primary",
      { primary: { hosts: ["a"] } },
      ["primary.hosts is no option here: write it instead of primary and replicas"]
    ],
    [
      "another database",
      { hosts: [{ url: url("a/pay") }, { url: url("b/pya") }, { url: url("c/pay") }] },
      ["hosts[1]: the database is another one than that of hosts[0], and a write could go to either"]
    ],
    [
      "one server with two users",
      { hosts: [{ url: url("app@a") }, { url: url("reader@a") }] },
      ["hosts[1]: the same server is among hosts already, with another user"]
    ],
    [
      "a host that is several",
      { hosts: [{ host: "a,b" }, { url: url("u:s3cret@c,d") }] },
      [
        "hosts[0]: host names several hosts: write each of them into hosts",
        "hosts[1]: the url names several hosts, whose roles are found by asking: write each of them into hosts, and leave primary and replicas out"
      ]
    ],
    [
      "several hosts beside replicas",
      { url: url("u:s3cret@a,b/d"), replicas: [{ url: url("c/d") }] },
      [
        "the url names several hosts, whose roles are found by asking: write each of them into hosts, and leave primary and replicas out"
      ]
    ],
    [
      "several hosts as a primary",
      { primary: { url: url("u:s3cret@a,b/d") } },
      [
        "primary: the url names several hosts, whose roles are found by asking: write each of them into hosts, and leave primary and replicas out"
      ]
    ],
    [
      "a host without a name",
      { url: url("u:s3cret@a,/d") },
      ["a host without a name is among the hosts: write localhost if that is meant"]
    ],
    [
      "ports that fit no hosts",
      { url: url("u:s3cret@a,b/d?port=1,2,3") },
      ["2 hosts and 3 ports are named: name one port for all hosts, or one for each"]
    ],
    [
      "a port that is none",
      { url: url("u:s3cret@a,b/d?port=1,x") },
      ["one of the ports is no integer from 1 to 65535"]
    ],
    ["what is wrong with all of them, once", { url: url("u:s3cret@a,b/none") }, ["there is no such database"]]
  ] as const) {
    it.effect(`are refused by name: ${says}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* problemsOf(config as Configuration), problems)
      })
    )
  }

  it.effect(
    "of a url are those of its address, of its words, or of the environment, with one port for all or one for each",
    () =>
      Effect.gen(function* () {
        const environment = { host: "x,y", port: "8,9" }
        for (const [text, keys] of [
          ["a:2,b:3/d", ["@a:2/d", "@b:3/d"]],
          ["u@a,b:3,[::1]:4", ["u@a:1/", "u@b:3/", "u@::1:4/"]],
          ["a,b/d?port=5", ["@a:5/d", "@b:5/d"]],
          ["a:2,b:3/d?host=c,e", ["@c:2/d", "@e:3/d"]],
          ["/d?host=a,b&port=2,", ["@a:2/d", "@b:1/d"]],
          [":4/d", ["@x:4/d", "@y:4/d"]],
          ["/d", ["@x:8/d", "@y:9/d"]]
        ] as const) {
          assert.deepStrictEqual(yield* keysOf({ url: url(text) }, environment), [...keys], text)
        }
        assert.deepStrictEqual(yield* keysOf({}, environment), ["@x:8/", "@y:9/"])
        assert.deepStrictEqual(yield* keysOf({}, { host: "x,y", port: "8" }), ["@x:8/", "@y:8/"])
        assert.deepStrictEqual(yield* keysOf({ url: url("/d?host=a,b"), path: "/run/db.sock" }), ["@a:1/d", "@b:1/d"])
        assert.deepStrictEqual(yield* keysOf({ url: url("a,b:3"), port: 5 }), ["@a:5/", "@b:3/"])
        assert.deepStrictEqual((yield* found({ host: "a", port: 2 }, environment)).keys, ["@a:2/"])
        assert.deepStrictEqual(yield* problemsOf({ host: "a" }, undefined, environment), [
          "1 host and 2 ports are named: name one port for all hosts, or one for each"
        ])
        assert.deepStrictEqual(yield* problemsOf({ replicas: [{ host: "a", port: 2 }] }, undefined, environment), [
          "the environment names several hosts, whose roles are found by asking: write each of them into hosts, and leave primary and replicas out"
        ])
      })
  )
})

describe("targetSessionAttrs", () => {
  const several = (word: string) => url(`a,b/d?target_session_attrs=${word}`)

  it.effect("is what the url says, else the option, else the environment, else read-write", () =>
    Effect.gen(function* () {
      const targetOf = (config: Configuration, environment: Readonly<Record<string, string>> = {}) =>
        Effect.map(found(config, environment), ({ target }) => target)
      const environment = { target_session_attrs: "standby" }
      for (const word of ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] as const) {
        assert.strictEqual(yield* targetOf({ url: several(word) }, environment), word)
        assert.strictEqual(yield* targetOf({ url: url("a,b"), targetSessionAttrs: word }, environment), word)
        assert.strictEqual(yield* targetOf({ url: several(word), targetSessionAttrs: word }), word)
      }
      assert.strictEqual(yield* targetOf({ url: url("a") }, environment), "standby")
      assert.strictEqual(yield* targetOf({ url: url("a") }), "read-write")
      // Where roles are given, `any` asks for nothing.
      const any = url("a?target_session_attrs=any")
      assert.strictEqual(yield* targetOf({ url: any, replicas: [{ url: any }] }), "read-write")
      assert.strictEqual(yield* targetOf({ url: any, targetSessionAttrs: "primary" }), "primary")
      assert.strictEqual(yield* targetOf({ host: "a", targetSessionAttrs: "any" }), "any")
      const primary = { url: url("a?target_session_attrs=primary") }
      assert.strictEqual(yield* targetOf({ primary, replicas: [{ host: "b" }] }), "primary")
    })
  )

  it.effect("is refused where it says another word, two words, or a word about one server alone", () =>
    Effect.gen(function* () {
      const words = '"any", "read-write", "read-only", "primary", "standby", "prefer-standby"'
      assert.deepStrictEqual(yield* problemsOf({ targetSessionAttrs: "readwrite" as "any" }), [
        `targetSessionAttrs must be one of ${words}, and is "readwrite": did you mean "read-write"?`
      ])
      assert.deepStrictEqual(yield* problemsOf({ url: several("secondary") }), [
        `?target_session_attrs must be one of ${words}, and is "secondary"`
      ])
      assert.deepStrictEqual(yield* problemsOf({ url: several("standby"), targetSessionAttrs: "any" }), [
        '?target_session_attrs=standby and targetSessionAttrs: "any" contradict each other: say one of them'
      ])
      const one = { url: url("b?target_session_attrs=standby") }
      const problem = "?target_session_attrs is about all servers: use the option targetSessionAttrs"
      assert.deepStrictEqual(yield* problemsOf({ replicas: [one] }), [`replicas[0]: ${problem}`])
      assert.deepStrictEqual(yield* problemsOf({ hosts: [{ host: "a" }, one] }), [`hosts[1]: ${problem}`])
      assert.deepStrictEqual(yield* problemsOf({ primary: { targetSessionAttrs: "any" } as object }), [
        "primary.targetSessionAttrs is no option here: write it beside primary and replicas"
      ])
    })
  )
})

describe("failoverHold", () => {
  it.effect("is off, or a duration from 1 millisecond to 5 minutes", () =>
    Effect.gen(function* () {
      for (const failoverHold of ["off", 0, 1, "2 seconds", "5 minutes"] as const) {
        yield* resolve({ host: "a", failoverHold } as Configuration)
      }
      for (const [failoverHold, is] of [
        ["on", '"on"'],
        [-1, "-1"],
        [Number.NaN, "NaN"],
        ["999 micros", '"999 micros"'],
        [300_001, "300001"],
        [Infinity, "Infinity"],
        [true, "true"]
      ] as const) {
        assert.deepStrictEqual(yield* problemsOf({ host: "a", failoverHold } as Configuration), [
          `failoverHold must be "off" or a duration from 1 millisecond to 5 minutes, and is ${is}`
        ])
      }
    })
  )
})

it.effect("maxCatchUp is a duration from 0 to 1 minute", () =>
  Effect.gen(function* () {
    for (const maxCatchUp of [0, 50, "1 second", "1 minute"] as const) {
      yield* resolve({ host: "a", maxCatchUp } as Configuration)
    }
    for (const [maxCatchUp, is] of [
      [-1, "-1"],
      [Number.NaN, "NaN"],
      [60_001, "60001"],
      [Infinity, "Infinity"],
      ["soon", '"soon"']
    ] as const) {
      assert.deepStrictEqual(yield* problemsOf({ host: "a", maxCatchUp } as Configuration), [
        `maxCatchUp must be a duration from 0 to 1 minute, and is ${is}`
      ])
    }
  })
)

it.effect("hosts, their word and their hold can be read from the configuration, the list too", () =>
  Effect.gen(function* () {
    const values = { HOSTS: "a,b", FIRST: "fake://a/d", SECOND: "fake://b/d", TARGET: "any", HOLD: "3 seconds" }
    const read = (config: Configured.Configured<Configuration>) =>
      Effect.withConfigProvider(
        Effect.flatMap(Configured.read<Configuration>(config), (config) => found(config)),
        ConfigProvider.fromMap(new Map(Object.entries(values)))
      )
    const listed = Config.map(Config.array(Config.string(), "HOSTS"), (hosts) => hosts.map((host) => ({ host })))
    assert.deepStrictEqual(
      yield* read({
        hosts: listed,
        targetSessionAttrs: Config.literal("any", "standby")("TARGET"),
        ...{ failoverHold: Config.duration("HOLD") }
      }),
      { keys: ["@a:1/", "@b:1/"], roles: "found", target: "any" }
    )
    const urls = { hosts: [{ url: Config.redacted("FIRST") }, { url: Config.redacted("SECOND") }] }
    assert.deepStrictEqual((yield* read(urls)).keys, ["@a:1/d", "@b:1/d"])
  })
)
