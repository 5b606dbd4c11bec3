import { assert, describe, it } from "@effect/vitest"
import type { Phase } from "@sluice/sql/driver/Driver"
import type * as SqlReason from "@sluice/sql/SqlReason"
import { inConnect, inStatement, lost, type Phases } from "../../sql/test/support/checks.js"
import { byErrno, byLibrary, classify, connectMessage, ofLogin, statementMessage } from "../src/internal/classify.js"

/** An error of the server, as `mysql2` makes it. */
const raised = (errno: number, message = "message", sqlState = "HY000") =>
  Object.assign(new Error(message), { code: "ER_SOMETHING", errno, sqlState })

/** An error of the system or of `mysql2`; those of the system have a negative errno. */
const coded = (code: string | undefined, message = "message") =>
  Object.assign(new Error(message), code === undefined ? {} : { code, errno: -111 })

const kept = (tag: SqlReason.Tag, retry: SqlReason.Retry = "never") => inStatement(tag, "keep", "rolledBack", retry)

/** Left, and whoever wanted to write needs another server. */
const left = (tag: SqlReason.Tag): Phases => ({
  statement: [tag, "destroy", "rolledBack", "always"],
  transaction: [tag, "destroy", "rolledBack", "transaction"],
  commit: [tag, "destroy", "rolledBack", "transaction"]
})

interface Case {
  readonly name: string
  readonly error: unknown
  readonly phases: Phases
}

const numbers = (phases: Phases, ...errnos: ReadonlyArray<number>): ReadonlyArray<Case> =>
  errnos.map((errno) => ({ name: String(errno), error: raised(errno), phases }))

/** A tag that this driver can raise and that has no case here does not compile. */
type Raisable = Exclude<
  SqlReason.Tag,
  | "AcquireTimeout"
  | "NoReplica"
  | "PoolSaturated"
  | "PoolShed"
  | "PoolClosed"
  | "NestedAcquire"
  | "DatabaseDown"
  | "HookFailed"
  | "LeaseReclaimed"
  | "InvalidOptions"
  | "InvalidUse"
  | "TransactionAborted"
>

const cases: Record<Raisable, ReadonlyArray<Case>> = {
  ConnectFailed: [
    ...["ECONNREFUSED", "EHOSTUNREACH", "ENOTFOUND", "EAI_AGAIN", "ENOENT", "PROTOCOL_CONNECTION_LOST"].map((code) => ({
      name: code,
      error: coded(code),
      phases: inConnect("ConnectFailed", "always")
    })),
    {
      name: "all addresses refused",
      error: Object.assign(new Error(""), { errors: [coded("ECONNREFUSED")] }),
      phases: inConnect("ConnectFailed", "always")
    },
    ...["HANDSHAKE_NO_SSL_SUPPORT", "HANDSHAKE_SSL_ERROR", "HANDSHAKE_UNKNOWN_ERROR", "CERT_HAS_EXPIRED"].map(
      (code) => ({ name: code, error: coded(code), phases: inConnect("ConnectFailed", "never") })
    ),
    ...numbers(inConnect("ConnectFailed", "never"), 1129),
    ...numbers(inConnect("ConnectFailed", "always"), 1135, 1053),
    {
      name: "1047 of a Galera node that is not ready",
      error: raised(1047, "WSREP has not yet prepared node for application use", "08S01"),
      phases: inConnect("ConnectFailed", "always")
    }
  ],
  TooManyConnections: [
    {
      name: "1040, whose state says something else",
      error: raised(1040, "Too many connections", "08004"),
      phases: inConnect("TooManyConnections", "always")
    },
    {
      name: "1203, whose state says something else",
      error: raised(1203, "max_user_connections", "42000"),
      phases: inConnect("TooManyConnections", "always")
    },
    {
      name: "1226, whose state says something else",
      error: raised(1226, "max_user_connections", "42000"),
      phases: inConnect("TooManyConnections", "always")
    }
  ],
  AuthenticationFailed: [
    ...numbers(inConnect("AuthenticationFailed", "never"), 1044, 1045, 1049, 1130, 1698, 1820, 1862, 3118, 4151),
    {
      name: "state 28000",
      error: raised(1251, "old protocol", "28000"),
      phases: inConnect("AuthenticationFailed", "never")
    },
    {
      name: "a plugin that fails",
      error: coded("AUTH_SWITCH_PLUGIN_ERROR"),
      phases: inConnect("AuthenticationFailed", "never")
    },
    {
      name: "a plugin that nobody has",
      error: coded(undefined, "Server requests authentication using unknown plugin x. Authentication plugin …"),
      phases: inConnect("AuthenticationFailed", "never")
    }
  ],
  ConnectionLost: [
    ...[
      "ECONNRESET",
      "EPIPE",
      "ETIMEDOUT",
      "PROTOCOL_CONNECTION_LOST",
      "PROTOCOL_ERROR",
      "PROTOCOL_UNEXPECTED_PACKET",
      "PROTOCOL_PACKETS_OUT_OF_ORDER"
    ].map((code) => ({
      name: code,
      error: coded(code),
      phases: lost("ConnectionLost")
    })),
    ...[
      "Can't add new command when connection is in closed state",
      "Connection lost: The server closed the connection."
    ].map((text) => ({
      name: text,
      error: coded(undefined, text),
      phases: lost("ConnectionLost")
    })),
    ...numbers(lost("ConnectionLost"), 2006, 2013, 1152, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161, 1184),
    { name: "state 08S01", error: raised(9999, "message", "08S01"), phases: lost("ConnectionLost") },
    {
      name: "1047 of a Galera node",
      error: raised(1047, "WSREP has not yet prepared node"),
      phases: left("ConnectionLost")
    }
  ],
  ServerShutdown: [
    ...numbers(lost("ServerShutdown"), 1053, 1077, 1079, 1927, 4031),
    {
      name: "said unasked, with its number as the code",
      error: Object.assign(new Error("gone"), { code: 4031, fatal: true }),
      phases: lost("ServerShutdown")
    }
  ],
  CommitUnknown: [
    {
      name: "a COMMIT without an answer",
      error: coded("ECONNRESET"),
      phases: { commit: ["CommitUnknown", "destroy", "unknown", "idempotent"] }
    }
  ],
  NotWritable: [
    ...numbers(kept("NotWritable"), 1792),
    ...numbers(left("NotWritable"), 1836),
    {
      name: "1290 of a read-only server",
      error: raised(
        1290,
        "The MariaDB server is running with the --read-only option so it cannot execute this statement"
      ),
      phases: left("NotWritable")
    }
  ],
  SerializationFailure: numbers(kept("SerializationFailure", "transaction"), 1020, 3101),
  Deadlock: [{ name: "1213", error: raised(1213, "Deadlock found", "40001"), phases: kept("Deadlock", "transaction") }],
  LockTimeout: numbers(kept("LockTimeout", "transaction"), 1205, 3572),
  StatementTimeout: [
    {
      name: "1969, whose state is that of a kill",
      error: raised(1969, "max_statement_time", "70100"),
      phases: kept("StatementTimeout")
    },
    ...numbers(kept("StatementTimeout"), 3024)
  ],
  Cancelled: [{ name: "1317", error: raised(1317, "interrupted", "70100"), phases: kept("Cancelled") }],
  StalePlan: numbers(kept("StalePlan", "transaction"), 1243, 1615),
  UniqueViolation: numbers(kept("UniqueViolation"), 1062, 1169, 1586),
  ForeignKeyViolation: numbers(kept("ForeignKeyViolation"), 1216, 1217, 1451, 1452),
  CheckViolation: [
    ...numbers(kept("CheckViolation"), 3819),
    { name: "4025 of MariaDB", error: raised(4025, "CONSTRAINT `c` failed", "23000"), phases: kept("CheckViolation") }
  ],
  NotNullViolation: numbers(kept("NotNullViolation"), 1048, 1364),
  InvalidData: [
    ...numbers(
      kept("InvalidData"),
      1264,
      1265,
      1292,
      1300,
      1365,
      1366,
      1367,
      1406,
      1411,
      1416,
      1525,
      1690,
      1977,
      3140,
      3141,
      3144,
      3156,
      3854,
      3903
    ),
    { name: "state 22032", error: raised(9999, "bad json", "22032"), phases: kept("InvalidData") }
  ],
  SyntaxError: [
    { name: "state 42S02", error: raised(1146, "no such table", "42S02"), phases: kept("SyntaxError") },
    { name: "state 42000", error: raised(1064, "syntax", "42000"), phases: kept("SyntaxError") },
    ...numbers(kept("SyntaxError"), 1049)
  ],
  PermissionDenied: numbers(
    kept("PermissionDenied"),
    1044,
    1045,
    1130,
    1142,
    1143,
    1227,
    1370,
    1698,
    1820,
    1862,
    3118,
    4151
  ),
  ResourceExhausted: [
    ...numbers(kept("ResourceExhausted", "idempotent"), 1021, 1037, 1041, 1114),
    {
      name: "1153: the packet is too large",
      error: raised(1153),
      phases: inStatement("ResourceExhausted", "destroy", "rolledBack", "never")
    },
    {
      name: "1226 in a statement",
      error: raised(1226, "max_questions", "42000"),
      phases: kept("ResourceExhausted", "idempotent")
    }
  ],
  Unclassified: [
    {
      name: "1290 otherwise",
      error: raised(1290, "running with the --secure-file-priv option"),
      phases: kept("Unclassified")
    },
    { name: "1047 otherwise", error: raised(1047, "Unknown command", "08S01"), phases: kept("Unclassified") },
    { name: "4025 of MySQL", error: raised(4025, "autoextend size"), phases: kept("Unclassified") },
    { name: "a signal of the user's own", error: raised(1644, "mine", "45000"), phases: kept("Unclassified") }
  ]
}

describe("classify", () => {
  for (const [tag, rows] of Object.entries(cases)) {
    for (const { error, name, phases } of rows) {
      it(`${tag}: ${name}`, () => {
        for (const [phase, expected] of Object.entries(phases)) {
          const reason = classify(error, phase as Phase)
          assert.deepStrictEqual([reason._tag, reason.connection, reason.outcome, reason.retry], expected, phase)
          assert.strictEqual(reason.cause, error)
        }
      })
    }
  }

  it("every row of the tables is in some case", () => {
    const errors = Object.values(cases)
      .flat()
      .map(({ error }) => error as { errno?: number; code?: unknown })
    const missing = [...Object.keys(byErrno), ...Object.keys(ofLogin)].filter(
      (errno) => !errors.some((error) => error.errno === Number(errno))
    )
    assert.deepStrictEqual(missing, [])
    assert.deepStrictEqual(
      Object.keys(byLibrary).filter((code) => !errors.some((error) => error.code === code)),
      []
    )
  })

  it("the code is the number, else what the system says", () => {
    assert.strictEqual(classify(raised(1205), "statement").code, "1205")
    assert.strictEqual(classify(coded("ECONNREFUSED"), "connect").code, "ECONNREFUSED")
    assert.strictEqual(classify(Object.assign(new Error("x"), { code: 1927 }), "statement").code, "1927")
    assert.isUndefined(classify(new Error("closed state"), "statement").code)
  })
})

it("messages do not show the values that the server quotes", () => {
  const of = (errno: number, message: string, sql = "", params: ReadonlyArray<unknown> = []) =>
    statementMessage(raised(errno, message), "db:3306/pay", { dialect: "mysql", sql, params, names: ["pay", "app"] })
  assert.strictEqual(
    of(1062, "Duplicate entry 't'0p' for key 'users.mail'"),
    "MySQL at db:3306/pay: Duplicate entry for key 'users.mail' (1062)"
  )
  assert.strictEqual(
    of(1366, "Incorrect integer value: 't0p' for column `pay`.`t`.`id` at row 1"),
    "MySQL at db:3306/pay: Incorrect integer value for column `pay`.`t`.`id` at row 1 (1366)"
  )
  assert.strictEqual(
    of(1292, "Truncated incorrect DOUBLE value: 't0p'"),
    "MySQL at db:3306/pay: Truncated incorrect DOUBLE value (1292)"
  )
  const syntax = (part: string) => `You have an error in your SQL syntax; check it near '${part}' at line 1`
  assert.strictEqual(
    of(1064, syntax("fro x where a = 't0p' and b = 5"), "select 1 fro x where a = ? and b = 5", ["t0p"]),
    "MySQL at db:3306/pay: You have an error in your SQL syntax; check it near 'fro x where a = ? and b = ?' at line 1 (1064)"
  )
  // Where the part begins with a literal, or is not a part of the text, nothing of it is shown.
  for (const part of ["'t0p' x", "5 x", "t0p x"]) {
    assert.match(of(1064, syntax(part), "select x"), /syntax; check it(?: near '…')? at line 1/)
  }
  assert.strictEqual(
    of(1146, "Table 'pay.nowhere' doesn't exist", "select * from nowhere"),
    "MySQL at db:3306/pay: Table 'pay.nowhere' doesn't exist (1146)"
  )
  assert.strictEqual(
    of(1054, "Unknown column 'nope' in 'field list'", "select nope"),
    "MySQL at db:3306/pay: Unknown column 'nope' in 'field list' (1054)"
  )
  assert.strictEqual(of(1048, "Column 'n' cannot be null"), "MySQL at db:3306/pay: Column 'n' cannot be null (1048)")
  for (const [errno, message] of [
    [1411, "Incorrect datetime value: 't0p' for function str_to_date"],
    [1525, "Incorrect DATE value: 't0p'"],
    [1298, "Unknown or incorrect time zone: 't0p'"],
    [1231, "Variable 'x' can't be set to the value of 't0p'"],
    [1690, "BIGINT value is out of range in '(t0p - 2)'"],
    [1644, "bad card t0p1"],
    [1644, "no card 't0p' here"]
  ] as const) {
    assert.notInclude(of(errno, message, "set x = 't0p1'", ["t0p"]), "t0p")
  }
})

it("a failed connect says where, why and what to do", () => {
  const at = { host: "db", port: 3306, label: "db:3306/pay" }
  assert.strictEqual(
    connectMessage(raised(1049, "Unknown database 'pay'"), at),
    "cannot connect to MySQL at db:3306/pay: Unknown database 'pay' (1049). There is no such database: create it, or correct its name"
  )
  assert.strictEqual(
    connectMessage(raised(9999, "internal"), at),
    "cannot connect to MySQL at db:3306/pay: internal (9999)"
  )
})
