import { assert, describe, it } from "@effect/vitest"
import { Url } from "@sluice/sql/driver"
import { Either } from "effect"

const none = {
  hosts: [],
  ports: [],
  database: undefined,
  username: undefined,
  password: undefined,
  words: {}
}

describe("a url", () => {
  for (const [text, said] of [
    ["db://h", { hosts: ["h"] }],
    ["db://h/", { hosts: ["h"] }],
    ["db://u:p@h:5432/d", { hosts: ["h"], ports: [5432], database: "d", username: "u", password: "p" }],
    ["db://u@h", { hosts: ["h"], username: "u" }],
    ["db://u:@h", { hosts: ["h"], username: "u" }],
    ["db://u:p%40s%2Fs%3A@h", { hosts: ["h"], username: "u", password: "p@s/s:" }],
    ["db://u:p:q@h", { hosts: ["h"], username: "u", password: "p:q" }],
    ["db://u:p@ss@h", { hosts: ["h"], username: "u", password: "p@ss" }],
    ["db://[::1]:5433/d", { hosts: ["::1"], ports: [5433], database: "d" }],
    ["db://[fe80::1]", { hosts: ["fe80::1"] }],
    ["db://%2Frun%2Fdb/d", { hosts: ["/run/db"], database: "d" }],
    ["db:///d", { database: "d" }],
    ["db://u@/d?host=/run", { database: "d", username: "u", words: { host: "/run" } }],
    ["db://h/a%2Fb%20c", { hosts: ["h"], database: "a/b c" }],
    ["db://h/d?a=1&b=x%26y&c=&d", { hosts: ["h"], database: "d", words: { a: "1", b: "x&y", c: "", d: "" } }],
    ["db://h?zone=+02:00", { hosts: ["h"], words: { zone: "+02:00" } }],
    ["db://h?o=-c%20a%3Db", { hosts: ["h"], words: { o: "-c a=b" } }],
    [" db://h/d\n", { hosts: ["h"], database: "d" }],
    ["db://h1,h2/d", { hosts: ["h1", "h2"], ports: [undefined, undefined], database: "d" }],
    [
      "db://u:p@h1:5432,h2/d",
      { hosts: ["h1", "h2"], ports: [5432, undefined], database: "d", username: "u", password: "p" }
    ],
    ["db://h1,h2:7", { hosts: ["h1", "h2"], ports: [undefined, 7] }],
    ["db://[::1]:1,[::2],h:3", { hosts: ["::1", "::2", "h"], ports: [1, undefined, 3] }],
    ["db://%2Frun%2Fa,h", { hosts: ["/run/a", "h"], ports: [undefined, undefined] }],
    ["db://h1%2Ch2:7", { hosts: ["h1", "h2"], ports: [7] }],
    ["db://h1,", { hosts: ["h1", ""], ports: [undefined, undefined] }],
    ["db://:7", { ports: [7] }]
  ] as const) {
    it(`is read: ${text.trim()}`, () => {
      assert.deepStrictEqual(Either.getOrThrow(Url.read(text)), { ...none, ...said })
    })
  }

  for (const [text, problem] of [
    ["db://u:secret@h1:5432,h2:0/d", "no valid port"],
    ["db://u:secret@h1,[h2/d", "percent-encoded"],
    ["db://u:secret@[h1:1,h2:2]/d", "percent-encoded"],
    ["db://u:secret@h1,h2:x/d", "percent-encoded"],
    ["db://u:secret@h:0/d", "no valid port"],
    ["db://u:secret@h:65536/d", "no valid port"],
    ["db://u:secret@h:x/d", "percent-encoded"],
    ["db://u:sec/ret@h/d", "percent-encoded"],
    ["db://u:sec?ret@h/d", "percent-encoded"],
    ["db://u:1?sec@ret", "percent-encoded"],
    ["db://u:sec#ret@h/d", "percent-encoded"],
    ["db://h/d#secret", "percent-encoded"],
    ["db://u:100%secret@h/d", "percent-encoded"],
    ["db://[::1/d", "percent-encoded"],
    ["db://u%00secret@h", "percent-encoded"],
    ["db://h?a=%00secret", "percent-encoded"],
    ["secret", "percent-encoded"],
    ["", "percent-encoded"],
    ["db://h?a=1&a=2", "twice"]
  ] as const) {
    it(`is refused, and no part of it is shown: ${text}`, () => {
      const found = Either.getOrThrow(Either.flip(Url.read(text)))
      assert.include(found, problem)
      assert.match(found, /^the url /)
      assert.notMatch(found, /sec/)
    })
  }
})
