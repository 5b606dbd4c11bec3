import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Literals } from "@sluice/sql/driver"
import { FastCheck as fc } from "effect"

type Rows = ReadonlyArray<readonly [sql: string, shown: string]>

/** In every row `hunter2`, and whatever else is a value, is gone. */
const both: Rows = [
  ["select 'hunter2', 'it''s hunter2', '' from t", "select ?, ?, ? from t"],
  ["select 'a' 'hunter2'\n  'c'", "select ? ? ?"],
  ["select x'4855', B'01', n'hunter2', N'hunter2'", "select ?, ?, ?, ?"],
  ["select 4111111111111111, 1.5, .5, 1e10, 1.5E-3, -7, 0xDEAD, 0b01, 5.", "select ?, ?, ?, ?, ?, -?, ?, ?, ?"],
  ["select a1, t2.c3 from t2 where a1=5and b2>6", "select a1, t2.c3 from t2 where a1=? b2>?"],
  ["select 1 /* hunter2 */ , 2 -- hunter2\n from t", "select ? , ? from t"],
  ["  select\n\t a\n from t;  ", "select a from t;"],
  ["insert into t values ('hunter2', 5), (?, $1)", "insert into t values (?, ?), (?, $1)"],
  // No end: the rest is left out.
  ["select a, 'hunter2", "select a, …"],
  ["select a /* hunter2", "select a …"],
  ["select a, 'x\0hunter2'", "select a, ?"],
  ["select a\0 hunter2", "select a…"],
  // Whether a backslash escapes a quote is a setting of the session.
  ["select 'a\\\\', hunter", "select ?, hunter"],
  ["select a, 'it\\'s', b, 'hunter2'", "select a, …"],
  ["select a, 'it\\' , hunter2, '", "select a, …"],
  // Values that are bare words.
  ["set role_password = hunter2; select a", "set role_password = ?; select a"],
  ["SET a = hunter2, b = hunter2", "SET a = ?"],
  ["update t set a = b where c = 'hunter2'", "update t set a = b where c = ?"]
]

const postgresql: Rows = [
  ["select $$hunter2$$, $tag$ $$ hunter2 $x$ $tag$, a", "select ?, ?, a"],
  ["select $a$hunter2$b$", "select …"],
  ["select $1, $2::text, a$b$c, $1$$hunter2$$", "select $1, $2::text, a$b$c, $1?"],
  ["select E'it\\'s hunter2', e'\\\\', E'a''b', b", "select ?, ?, ?, b"],
  ["select se'hunter2'", "select se?"],
  ["select U&'\\0041hunter2', u&'x' uescape '!', U&\"d\\0061ta\"", 'select ?, ? uescape ?, U&"d\\0061ta"'],
  ['select "col", "odd ""name""", "it\'s" from "T"', 'select "col", "odd ""name""", "it\'s" from "T"'],
  ["select a /* x /* hunter2 */ hunter2 */ , b", "select a , b"],
  ["select a--hunter2\rfrom t", "select a from t"],
  ["select 1_000_000, 0o17, 10::numeric", "select ?, ?, ?::numeric"],
  ['select a, "hunter2', "select a, …"],
  ["select a # b, c", "select a # b, c"],
  ["listen hunter2; select a", "listen ?; select a"],
  ['UNLISTEN "hunter2"', "UNLISTEN ?"],
  ["notify hunter2, 'hunter2'", "notify ?"],
  ["set search_path to hunter2, public", "set search_path to ?"],
  ["alter role app set app.key to hunter2", "alter role app set app.key to ?"],
  ["alter table t rename a to b", "alter table t rename a to b"],
  ["do $body$ begin raise 'hunter2'; end $body$ language plpgsql", "do ? language plpgsql"]
]

const mysql: Rows = [
  ['select "hunter2", "it""s", `col`, `odd``name`, `it\'s`', "select ?, ?, `col`, `odd``name`, `it's`"],
  ["select _utf8mb4'hunter2', _latin1 'hunter2', _binary\"x\"", "select ?, _latin1 ?, ?"],
  ["select a # hunter2\n, b", "select a , b"],
  ["select a--1, 5--hunter, b -- hunter2", "select a--?, ?--hunter, b"],
  ["select a --\thunter2\n, b", "select a , b"],
  ["select a --", "select a"],
  ["select a /* x /* hunter2 */ , b", "select a , b"],
  ["select /*+ hunter2 */ a, /*!40101 hunter2 */ b", "select a, b"],
  // What the server does with it depends on its version.
  ["select a /*!99999 it's */ , 'hunter2'", "select a …"],
  ["select a /*M!100000 '*/ hunter2' */", "select a …"],
  ["select a /*! /* x */ hunter2 */", "select a …"],
  ["select 1st, x from 2nd", "select ?, x from ?"],
  ["select a, $$hunter2$$", "select a, …"],
  ['select a, "hunter2', "select a, …"],
  ["select `hunter2", "select …"],
  ["create user 'u'@'%' identified by 'hunter2'", "create user ?@? identified by ?"],
  ["set @a := hunter2, @b = 5", "set @a := ?"]
]

for (const [dialect, rows] of [
  ["postgresql", postgresql],
  ["mysql", mysql]
] as const) {
  describe(`a text of ${dialect} is shown without literals and comments`, () => {
    for (const [sql, shown] of [...both, ...rows]) {
      it(JSON.stringify(sql), () => assert.strictEqual(Literals.without(dialect, sql), shown))
    }
  })
}

it("a text is shown up to a length, and is not read further than that", () => {
  const sql = `select ${"a, ".repeat(1_000_000)} 'x`
  assert.strictEqual(Literals.without("mysql", sql, 10), "select a,…")
  assert.strictEqual(Literals.without("mysql", "select abc", 10), "select abc")
  // A literal of many megabytes is one question mark, and takes no stack.
  assert.strictEqual(Literals.without("postgresql", `select '${"''".repeat(4_000_000)}', a`, 80), "select ?, a")
})

/** The secret in each literal is made of characters that no other part of a text has. */
const SECRET = /[ßéø]/
const secret = fc.string({
  unit: fc.constantFrom("ß", "é", "ø", " ", "'", '"', "`", "$", "-", "/", "*", "#", ";", "(", "\n"),
  maxLength: 12
})
const twice = (quote: string) => (text: string) => `${quote}${text.replaceAll(quote, quote + quote)}${quote}`

const literals: Record<Literals.Dialect, fc.Arbitrary<string>> = {
  postgresql: fc.oneof(
    secret.map(twice("'")),
    secret.map((text) => `E'${text.replaceAll("'", "\\'")}\\\\'`),
    fc
      .tuple(secret, fc.constantFrom("", "a", "b1", "_"))
      .filter(([text, tag]) => !`${text}$`.includes(`$${tag}$`))
      .map(([text, tag]) => `$${tag}$${text}$${tag}$`),
    secret.map((text) => `U&${twice("'")(text)}`),
    fc.nat().map(String)
  ),
  mysql: fc.oneof(
    secret.map(twice("'")),
    secret.map(twice('"')),
    secret.map((text) => `_utf8mb4${twice("'")(text)}`),
    fc.nat().map(String),
    fc.nat().map((n) => `0x${n.toString(16)}`)
  )
}

const comments: Record<Literals.Dialect, fc.Arbitrary<string>> = {
  postgresql: fc.oneof(
    secret.filter((text) => !/\*\/|\/\*|\/$|^\/|\*$/.test(text)).map((text) => `/* ${text} /* ${text} */ ${text} */`),
    secret.map((text) => `--${text.replaceAll("\n", "")}\n`)
  ),
  mysql: fc.oneof(
    secret.filter((text) => !/\*\/|\*$/.test(text)).map((text) => `/* ${text} */`),
    secret.map((text) => `-- ${text.replaceAll("\n", "")}\n`),
    secret.map((text) => `#${text.replaceAll("\n", "")}\n`)
  )
}

const kept = {
  postgresql: ["select", "a1", ",", '"o ""x"', "(", ")", "::", "$1", "||"],
  mysql: ["select", "a1", ",", "`o ``x`", "(", ")", ":=", "?", "||"]
}

const SEED = 20_261_128

for (const dialect of ["postgresql", "mysql"] as const) {
  it(`every literal and comment that is put into a text of ${dialect} disappears, and the rest stays (seed ${SEED})`, () => {
    const part = fc.oneof(
      fc.constantFrom(...kept[dialect]).map((text) => ({ text, shown: text })),
      literals[dialect].map((text) => ({ text, shown: "?" })),
      comments[dialect].map((text) => ({ text, shown: "" }))
    )
    fc.assert(
      fc.property(fc.array(part), (parts) => {
        const sql = parts.map(({ text }) => text).join(" ")
        const shown = Literals.without(dialect, sql)
        assert.notMatch(shown, SECRET)
        assert.strictEqual(
          shown,
          parts
            .map(({ shown }) => shown)
            .filter((shown) => shown !== "")
            .join(" ")
        )
      }),
      { seed: SEED, numRuns: 1_000 }
    )
  })

  it(`whatever a text of ${dialect} is cut off at, no secret of it is shown (seed ${SEED})`, () => {
    const part = fc.oneof(fc.constantFrom(...kept[dialect]), literals[dialect], comments[dialect])
    fc.assert(
      fc.property(fc.array(part), fc.nat(), (parts, at) => {
        const sql = parts.join(" ")
        assert.notMatch(Literals.without(dialect, sql.slice(0, at % (sql.length + 1))), SECRET)
      }),
      { seed: SEED, numRuns: 1_000 }
    )
  })
}

describe("a message of a server is shown without the values that it quotes", () => {
  const rows: ReadonlyArray<readonly [message: string, about: Partial<Literals.About>, shown: string]> = [
    [
      'invalid input syntax for type integer: "hunter2"',
      { params: ["hunter2"] },
      'invalid input syntax for type integer: "…"'
    ],
    ['relation "nowhere" does not exist', { sql: "select * from nowhere" }, 'relation "nowhere" does not exist'],
    ['relation "hunter2" does not exist', { sql: "select 'hunter2'::regclass" }, 'relation "…" does not exist'],
    [
      'duplicate key value violates unique constraint "t_pkey"',
      { names: ["t_pkey", undefined] },
      'duplicate key value violates unique constraint "t_pkey"'
    ],
    ['syntax error at or near ")"', { sql: "select )" }, 'syntax error at or near ")"'],
    ["syntax error at or near \"'hunter2'\"", { sql: "select 'hunter2' 'x'" }, 'syntax error at or near "…"'],
    ["bad card 4111111111111111", { params: [4111111111111111] }, "bad card …"],
    ["bad token hunter2!", { sql: "select check_it('hunter2')" }, "bad token …!"],
    ["bad token hunter2!", { sql: "select check_it($$hunter2$$)" }, "bad token …!"],
    ["no hunter2 here", { sql: "do $$ begin raise exception 'no hunter2 here'; end $$" }, "…"],
    ["no hunter2 here", { sql: "do $$ begin execute $a$ select f('hunter2') $a$; end $$" }, "no … here"],
    ["syntaxe en entrée invalide : « hunter2 »", {}, "syntaxe en entrée invalide : «…»"],
    ["ungültige Syntax: „hunter2“", {}, "ungültige Syntax: „…“"],
    [
      "Table 'app.nowhere' doesn't exist",
      { sql: "select * from nowhere", names: ["app"] },
      "Table 'app.nowhere' doesn't exist"
    ],
    ["Unknown time zone: 'it's hunter2'", {}, "Unknown time zone: '…'"],
    ["value is fine", { params: ["fine", "is", 5] }, "value is …"]
  ]
  for (const [message, about, shown] of rows) {
    it(message, () =>
      assert.strictEqual(
        Literals.withoutValues(message, { dialect: "postgresql", sql: "select 1", params: [], names: [], ...about }),
        shown
      )
    )
  }
})

it("the error of a server is safe to be printed, and every field of it can be read", () => {
  const error = Object.assign(new Error('invalid: "hunter2"'), {
    code: "22P02",
    detail: "Key (a)=(hunter2)",
    where: "hunter2",
    constraint: "t_pkey"
  })
  Literals.conceal(error, 'invalid: "…"')
  Literals.conceal(error, "a second time")
  assert.strictEqual(error.message, 'invalid: "…"')
  assert.strictEqual((error as unknown as { originalMessage: string }).originalMessage, 'invalid: "hunter2"')
  assert.deepStrictEqual([error.code, error.constraint, error.detail], ["22P02", "t_pkey", "Key (a)=(hunter2)"])
  assert.notInclude(`${inspect(error)} ${JSON.stringify(error)} ${error.stack} ${error}`, "hunter2")
  assert.include(inspect(error), 'invalid: "…"')
  for (const odd of [undefined, "text", { message: "x" }]) Literals.conceal(odd, "y")
})
