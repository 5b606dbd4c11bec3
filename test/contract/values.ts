/** The values that each database keeps: what a program sends for a column, and what it gets of it. */
import { Effect, Option, Redacted } from "effect"

/** A value that is sent as a parameter, or written into the text where a server takes it under special settings only. */
export interface Row {
  readonly type: string
  readonly sent: unknown
  /** What every way to read gives. */
  readonly read: unknown
  /** `sent` is SQL, not a value. */
  readonly isSql?: true
  /** The text protocol cannot give the value, so a statement that is not prepared fails with this. */
  readonly refusedAsText?: RegExp
}

/** A value that no way to write sends. */
export interface Refusal {
  readonly type: string
  readonly sent: unknown
  readonly says: RegExp
  /** It is no value at all, as that of a missing field is. */
  readonly isNone?: true
}

const same = (type: string, ...values: ReadonlyArray<unknown>): ReadonlyArray<Row> =>
  values.map((value) => ({ type, sent: value, read: value }))

const as = (type: string, ...pairs: ReadonlyArray<readonly [sent: unknown, read: unknown]>): ReadonlyArray<Row> =>
  pairs.map(([sent, read]) => ({ type, sent, read }))

const sql = (type: string, ...pairs: ReadonlyArray<readonly [sent: string, read: unknown]>): ReadonlyArray<Row> =>
  pairs.map(([sent, read]) => ({ type, sent, read, isSql: true }))

const bytes = Buffer.from([0, 1, 39, 92, 255])
const at = new Date(2024, 2, 5, 10, 11, 12, 345)
const second = new Date(2024, 2, 5, 10, 11, 12)
const day = new Date(2024, 2, 5)
const invalid = new Date(Number.NaN)
const text = 'it\'s "a" \\ ? \n\t\u0001 ä€😀 `x` -- # /* */'
const uuid = "123e4567-e89b-12d3-a456-426614174000"

/** A moment of local time in any year. */
const local = (year: number, month = 1, date = 1, hour = 0): Date => {
  const found = new Date(2000, 0, 1, hour)
  found.setFullYear(year, month - 1, date)
  return found
}

class Money {
  constructor(readonly amount: number) {}
}

/** Values that every driver refuses before anything is sent. */
const everywhere = (type: string): ReadonlyArray<Refusal> => [
  { type, sent: invalid, says: /parameter 2 is an invalid Date/ },
  { type, sent: "half \ud83d pair", says: /parameter 2 is no well-formed text/ },
  { type, sent: new Map([[1, 2]]), says: /parameter 2 is a Map/ },
  { type, sent: new Set([1]), says: /parameter 2 is a Set/ },
  { type, sent: () => 1, says: /parameter 2 is a function/, isNone: true },
  { type, sent: Symbol("s"), says: /parameter 2 is a symbol/, isNone: true },
  { type, sent: Promise.resolve(1), says: /parameter 2 is a Promise/, isNone: true },
  { type, sent: Option.some(1), says: /parameter 2 is an Effect, an Option/, isNone: true },
  { type, sent: Effect.succeed(1), says: /parameter 2 is an Effect/, isNone: true },
  { type, sent: Redacted.make("secret"), says: /parameter 2 is Redacted/, isNone: true },
  { type, sent: { big: 1n }, says: /BigInt/, isNone: true }
]

export const rows: { readonly postgresql: ReadonlyArray<Row>; readonly mysql: ReadonlyArray<Row> } = {
  postgresql: [
    ...same("int2", -32768, null),
    ...same("int4", 2147483647, -2147483648),
    ...as("int8", [9007199254740991, "9007199254740991"], [9007199254740993n, "9007199254740993"]),
    ...as("int8", ["-9223372036854775808", "-9223372036854775808"], [2 ** 53 + 2, "9007199254740994"]),
    ...as("numeric", [0.1, "0.1"], ["12345678901234567890.12345678901", "12345678901234567890.12345678901"]),
    ...as("numeric", [10n ** 40n, `1${"0".repeat(40)}`], [Number.NaN, "NaN"], ["-Infinity", "-Infinity"]),
    ...as("numeric(6, 3)", [1.5, "1.500"]),
    ...as("float4", [0.1, 0.1], [16777217, 16777216]),
    ...same("float4", Number.NaN, Number.POSITIVE_INFINITY),
    ...same("float8", 0.1, 5e-324, 1.7976931348623157e308, 1e21, Number.NaN, Number.NEGATIVE_INFINITY),
    ...same("bool", true, false),
    ...same("text", text, "", "x".repeat(20_000)),
    ...as("text", [7, "7"], [true, "true"], [9007199254740993n, "9007199254740993"], [{ a: [1] }, '{"a":[1]}']),
    ...as("text", [new Money(5), '{"amount":5}']),
    ...as("char(5)", ["ä", "ä    "]),
    ...same("varchar(9)", "😀"),
    ...same("bytea", bytes, Buffer.alloc(0)),
    ...as("bytea", [new Uint8Array(bytes), bytes], [new Uint8Array([1, 2, 3]).subarray(1), Buffer.from([2, 3])]),
    ...as("bytea", [new Uint8Array([7]).buffer, Buffer.from([7])]),
    ...as("date", [day, day], ["2024-03-05", day], ["infinity", Number.POSITIVE_INFINITY]),
    ...as("date", ["0044-03-15 BC", local(-43, 3, 15)], ["0050-01-01", local(50)], [local(12345), local(12345)]),
    ...as("date", [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]),
    ...same("timestamp", at, local(-43, 3, 15, 10), local(50, 1, 1, 5)),
    ...as("timestamp", ["2024-03-05 10:11:12.345678", at], ["infinity", Number.POSITIVE_INFINITY]),
    ...same("timestamptz", at, local(-43, 3, 15, 10), local(12345)),
    ...as("timestamptz", ["2024-03-05 10:11:12.345678+02", new Date("2024-03-05T08:11:12.345Z")]),
    ...as("timestamptz", ["-infinity", Number.NEGATIVE_INFINITY]),
    ...same("time", "10:11:12.345"),
    ...as("time(3)", ["10:11:12", "10:11:12"]),
    ...same("timetz", "10:11:12+02"),
    ...as("interval", ["infinity", Number.POSITIVE_INFINITY], ["-infinity", Number.NEGATIVE_INFINITY]),
    ...same("uuid", uuid),
    ...same("json", { a: [1, "x", null, { b: true }] }),
    ...as("json", [
      '{"n": 9007199254740993, "s": "9007199254740993"}',
      { n: "9007199254740993", s: "9007199254740993" }
    ]),
    ...as("json", [
      '[12345678901234567, 0.12345678901234566, 1e400, "1234567890123456789\\""]',
      ["12345678901234567", 0.12345678901234566, Number.POSITIVE_INFINITY, '1234567890123456789"']
    ]),
    ...as("jsonb", ['{"n": [-9007199254740993, 9007199254740991]}', { n: ["-9007199254740993", 9007199254740991] }]),
    ...as("jsonb", ["5", 5], ['"s"', "s"], ["null", null]),
    ...same(
      "int4[]",
      [1, null, -2],
      [],
      [
        [1, 2],
        [3, 4]
      ]
    ),
    ...as("int4[]", ["[2:3]={1,2}", [1, 2]]),
    ...as("int8[]", [[9007199254740993n], ["9007199254740993"]]),
    ...as("numeric[]", [
      ["0.1234567890123456789", null, 1.5],
      ["0.1234567890123456789", null, "1.5"]
    ]),
    ...same("float8[]", [0.1, Number.NaN, Number.POSITIVE_INFINITY]),
    ...same("text[]", [text, "", "NULL", null, "{}", "a,b"]),
    ...same("bool[]", [true, false]),
    ...same("bytea[]", [bytes, Buffer.alloc(0)]),
    ...as("bytea[]", [[new Uint8Array([1])], [Buffer.from([1])]]),
    ...same("timestamptz[]", [at, null]),
    ...as("date[]", [
      ["2024-03-05", "infinity"],
      [day, Number.POSITIVE_INFINITY]
    ]),
    ...same("json[]", [{ a: 'x"y' }, { b: [1] }]),
    ...as("jsonb[]", [['{"n": 9007199254740993}'], [{ n: "9007199254740993" }]]),
    ...as("interval[]", [
      ["infinity", null],
      [Number.POSITIVE_INFINITY, null]
    ]),
    ...same("uuid[]", [uuid]),
    ...as("point", ["(1,2.5)", { x: 1, y: 2.5 }]),
    ...as("circle", ["<(1,2),3>", { x: 1, y: 2, radius: 3 }]),
    ...same("box", "(1,2),(0,0)"),
    ...same("inet", "10.0.0.1/8", "::1"),
    ...same("cidr", "10.0.0.0/8"),
    ...same("macaddr", "08:00:2b:01:02:03"),
    ...same("bit(3)", "101"),
    ...same("int4range", "[1,5)", "empty"),
    ...same("numrange", "[1.5,)"),
    ...same("oid", 4294967295),
    ...same("mood", "sad"),
    ...as("mood[]", [["sad"], "{sad}"]),
    ...same("pair", '(1,"a b")'),
    ...same("positive", 7),
    ...as("money", ["1.5", "$1.50"])
  ],
  mysql: [
    ...same("tinyint", -128, null),
    ...as("boolean", [true, 1], [false, 0]),
    ...same("int unsigned", 4294967295),
    ...same("bigint", 9007199254740991, -9007199254740991, "-9223372036854775808"),
    ...as("bigint", [9007199254740993n, "9007199254740993"], [2 ** 60, "1152921504606846976"], [-5n, -5], ["7", 7]),
    ...as("bigint unsigned", [18446744073709551615n, "18446744073709551615"]),
    ...as("decimal(65, 10)", [0.1, "0.1000000000"], [10n ** 40n, `1${"0".repeat(40)}.0000000000`]),
    ...same("decimal(30, 10)", "12345678901234567890.1234567891"),
    ...[0.1, -16777216, 123456.79, 1e10, 3.4e38].map(
      (value): Row => ({ type: "float", sent: value, read: value, refusedAsText: /cast\(… as double\)/ })
    ),
    ...[1234.568].map(
      (value): Row => ({ type: "float(10, 3)", sent: value, read: value, refusedAsText: /cast\(… as double\)/ })
    ),
    ...same("double", 0.1, 5e-324, 1.7976931348623157e308, 9.123456789012344, 1e15, 1e21, 2 ** 53 + 2),
    ...same("double(10, 3)", 1234.568),
    ...same("varchar(200)", text, "", "a\0b"),
    ...as("varchar(200)", [7, "7"], [1e15, "1000000000000000"], [1e21, "1e21"], [0.1, "0.1"], [true, "1"]),
    ...as("varchar(200)", [12n, "12"], [{ a: [1] }, '{"a":[1]}'], [new Money(5), '{"amount":5}']),
    ...as("varchar(200)", [at, "2024-03-05 10:11:12.345000"], [Buffer.from("hi"), "hi"]),
    ...same("longtext", "x".repeat(20_000)),
    ...same("varchar(9) character set latin1", "ä"),
    ...same("varchar(9) collate utf8mb4_bin", "Ä"),
    ...as("char(5)", ["a ", "a"]),
    ...same("blob", bytes, Buffer.alloc(0)),
    ...as(
      "blob",
      [new Uint8Array(bytes), bytes],
      [new Uint16Array([258]), Buffer.from([2, 1])],
      ["x", Buffer.from("x")]
    ),
    ...as("blob", [new Uint8Array([7]).buffer, Buffer.from([7])]),
    ...same("varbinary(9)", bytes),
    ...as("int", [Buffer.from("12"), 12], ["12", 12]),
    ...as("bit(10)", [Buffer.from([1, 2]), Buffer.from([1, 2])], [5, Buffer.from([0, 5])], [true, Buffer.from([0, 1])]),
    ...as("date", [at, day], ["2024-03-05", day], ["1000-01-01", local(1000)], ["9999-12-31", local(9999, 12, 31)]),
    ...as("time", ["10:11:12", "10:11:12"], ["-838:59:59", "-838:59:59"], ["-00:00:01", "-00:00:01"]),
    ...as("time(3)", ["10:11:12.5", "10:11:12.500"], ["00:00:00", "00:00:00.000"], ["-00:00:00.1", "-00:00:00.100"]),
    ...as("time(3)", ["10:11:12", "10:11:12.000"]),
    ...same("time(6)", "10:11:12.123456", "10:11:12.120000"),
    ...as("datetime", [at, second], ["2024-03-05 10:11:12", second]),
    ...same("datetime(3)", at),
    ...as(
      "datetime(6)",
      ["2024-03-05 10:11:12.345678", at],
      ["1969-12-31 00:00:00.999999", new Date(1969, 11, 31, 0, 0, 0, 999)]
    ),
    ...same("timestamp(3) null", at),
    ...sql(
      "date",
      ["'0000-00-00'", invalid],
      ["'2024-00-15'", invalid],
      ["'2024-03-00'", invalid],
      ["'0050-01-01'", local(50)]
    ),
    ...sql("datetime(3)", ["'0000-00-00 00:00:00'", invalid], ["'2024-00-15 01:02:03'", invalid]),
    ...sql("datetime", ["'0050-01-01 05:00:00'", local(50, 1, 1, 5)], ["'2024-03-00 00:00:00'", invalid]),
    ...sql("timestamp null", ["'0000-00-00 00:00:00'", invalid]),
    ...same("year", 2024, 0),
    ...same("json", { a: [1, "x", null, { b: true }] }),
    ...as("json", [
      '{"n": 9007199254740993, "s": "9007199254740993"}',
      { n: "9007199254740993", s: "9007199254740993" }
    ]),
    ...as("json", ["[1, 0.5]", [1, 0.5]], ['"s"', "s"], [5, 5], ["null", null]),
    ...same("enum('a', 'ö')", "ö"),
    ...same("set('a', 'b')", "a,b", ""),
    ...same("uuid", uuid),
    ...same("inet6", "::1"),
    ...sql("point", ["point(1, 2.5)", { x: 1, y: 2.5 }]),
    ...sql("polygon", [
      "st_geomfromtext('polygon((0 0, 1 0, 1 1, 0 0))')",
      [
        [
          { x: 0, y: 0 },
          { x: 1, y: 0 },
          { x: 1, y: 1 },
          { x: 0, y: 0 }
        ]
      ]
    ])
  ]
}

export const refusals: { readonly postgresql: ReadonlyArray<Refusal>; readonly mysql: ReadonlyArray<Refusal> } = {
  postgresql: [
    ...everywhere("text"),
    { type: "text[]", sent: ["a", new Map()], says: /parameter 2 has an element that is a Map/ },
    { type: "date[]", sent: [[invalid]], says: /parameter 2 has an element that is an invalid Date/ },
    { type: "text", sent: "a\0b", says: /22021/ },
    { type: "json", sent: [1], says: /22P02/ },
    { type: "json", sent: [], says: /22P02/ },
    { type: "jsonb", sent: [], says: /22P02/ },
    { type: "int4", sent: "t0p secret", says: /22P02/ },
    { type: "int4", sent: 0.5, says: /22P02/ },
    { type: "int8", sent: 2n ** 63n, says: /22003/ },
    { type: "int2", sent: 32768, says: /22003/ },
    { type: "varchar(9)", sent: "0123456789", says: /22001/ },
    { type: "date", sent: "2024-02-30", says: /22008/ },
    { type: "mood", sent: "glad", says: /22P02/ },
    { type: "jsonb", sent: '{"a": "\\u0000"}', says: /22P05/ }
  ],
  mysql: [
    ...everywhere("longtext"),
    ...[[7, 8], [], [[1]]].map((sent) => ({ type: "longtext", sent, says: /parameter 2 is an array.*sql\.in/ })),
    { type: "json", sent: [1], says: /sql\.in/ },
    { type: "longtext", sent: undefined, says: /parameter 2 is undefined/, isNone: true },
    { type: "double", sent: Number.NaN, says: /no such number/ },
    { type: "double", sent: Number.NEGATIVE_INFINITY, says: /no such number/ },
    { type: "longtext", sent: 10n ** 65n, says: /more than 65 digits/ },
    { type: "datetime", sent: local(10000, 6), says: /year/ },
    { type: "datetime", sent: local(-5, 6), says: /year/ },
    { type: "longtext", sent: { toSqlString: () => "now()" }, says: /piece of SQL/, isNone: true },
    { type: "int unsigned", sent: -1, says: /1264/ },
    { type: "int", sent: "t0p secret", says: /1366/ },
    { type: "bigint", sent: 2n ** 63n, says: /1264/ },
    { type: "bigint", sent: 10n ** 30n, says: /1264/ },
    { type: "varchar(9) character set latin1", sent: "0123456789", says: /1406/ },
    { type: "date", sent: "2024-02-30", says: /1292/ },
    { type: "enum('a', 'ö')", sent: "z", says: /1265/ }
  ]
}

/** What the tables of a database need first. */
export const before: { readonly postgresql: ReadonlyArray<string>; readonly mysql: ReadonlyArray<string> } = {
  postgresql: [
    "create type mood as enum ('sad', 'happy')",
    "create type pair as (a int, b text)",
    "create domain positive as int check (value > 0)"
  ],
  mysql: []
}
