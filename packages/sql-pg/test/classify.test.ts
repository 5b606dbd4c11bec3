import { assert, describe, it } from "@effect/vitest"
import { bySystem } from "@sluice/sql/driver/Classify"
import type { Phase } from "@sluice/sql/driver/Driver"
import type * as SqlReason from "@sluice/sql/SqlReason"
import { inConnect, inStatement, lost, type Phases } from "../../sql/test/support/checks.js"
import { byClass, byState, classify, connectMessage, statementMessage } from "../src/internal/classify.js"

const raised = (code: string | undefined, message = "message", more: object = {}) =>
  Object.assign(new Error(message), code === undefined ? {} : { code }, more)

/** What an open socket may fail with; the other errors of the system come from connecting. */
const heard = ["ECONNRESET", "ECONNABORTED", "EPIPE", "ETIMEDOUT"]

interface Case {
  readonly name: string
  readonly error: unknown
  readonly phases: Phases
}

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
>

const cases: Record<Raisable, ReadonlyArray<Case>> = {
  ConnectFailed: [
    // In a statement they are a connection that is lost: while connecting, what is not known means the same as they do.
    ...["57P03", "08001", "08004", ...Object.keys(bySystem).filter((code) => !heard.includes(code))].map((code) => ({
      name: code,
      error: raised(code),
      phases: { ...lost("ConnectionLost"), ...inConnect("ConnectFailed", code === "EACCES" ? "never" : "always") }
    })),
    {
      name: "all addresses refused",
      error: Object.assign(new Error(""), { errors: [raised("ECONNREFUSED")] }),
      phases: inConnect("ConnectFailed", "always")
    },
    {
      name: "ended during start-up",
      error: raised(undefined, "Connection terminated unexpectedly"),
      phases: inConnect("ConnectFailed", "always")
    },
    {
      name: "not PostgreSQL",
      error: raised(undefined, "received invalid response: 4a"),
      phases: inConnect("ConnectFailed", "never")
    },
    {
      name: "no TLS there",
      error: raised(undefined, "The server does not support SSL connections"),
      phases: inConnect("ConnectFailed", "never")
    },
    {
      name: "a certificate nobody trusts",
      error: raised("DEPTH_ZERO_SELF_SIGNED_CERT"),
      phases: inConnect("ConnectFailed", "never")
    },
    {
      name: "PgBouncer's server is away",
      error: raised("08P01", "server_login_retry"),
      phases: inConnect("ConnectFailed", "always")
    },
    {
      name: "a protocol violation",
      error: raised("08P01", "unsupported startup parameter"),
      phases: inConnect("ConnectFailed", "never")
    }
  ],
  TooManyConnections: [{ name: "53300", error: raised("53300"), phases: inConnect("TooManyConnections", "always") }],
  AuthenticationFailed: [
    ...["28P01", "28000", "28P02", "3D000", "42501"].map((code) => ({
      name: code,
      error: raised(code),
      phases: inConnect("AuthenticationFailed", "never")
    })),
    {
      name: "no password set",
      error: raised(undefined, "SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string"),
      phases: inConnect("AuthenticationFailed", "never")
    }
  ],
  ConnectionLost: [
    ...[...heard, "08006", "08003", "08000", "08007"].map((code) => ({
      name: code,
      error: raised(code),
      phases: lost("ConnectionLost")
    })),
    { name: "no code", error: raised(undefined, "Connection terminated unexpectedly"), phases: lost("ConnectionLost") },
    ...["query_wait_timeout", "server_login_retry", "cannot connect to the server"].map((text) => ({
      name: `PgBouncer: ${text}`,
      error: raised("08P01", text),
      phases: lost("ConnectionLost")
    })),
    ...["Connection terminated", "Client has encountered a connection error and is not queryable"].map((text) => ({
      name: text,
      error: raised(undefined, text),
      phases: lost("ConnectionLost")
    }))
  ],
  ServerShutdown: ["57P01", "57P02", "25P03", "57P05"].map((code) => ({
    name: code,
    error: raised(code),
    phases: lost("ServerShutdown")
  })),
  CommitUnknown: [
    {
      name: "a COMMIT without an answer",
      error: raised("ECONNABORTED"),
      phases: { commit: ["CommitUnknown", "destroy", "unknown", "idempotent"] }
    }
  ],
  NotWritable: [
    { name: "25006", error: raised("25006"), phases: inStatement("NotWritable", "keep", "rolledBack", "never") }
  ],
  SerializationFailure: [
    {
      name: "40001",
      error: raised("40001"),
      phases: inStatement("SerializationFailure", "keep", "rolledBack", "transaction")
    }
  ],
  Deadlock: [
    { name: "40P01", error: raised("40P01"), phases: inStatement("Deadlock", "keep", "rolledBack", "transaction") }
  ],
  LockTimeout: [
    { name: "55P03", error: raised("55P03"), phases: inStatement("LockTimeout", "keep", "rolledBack", "transaction") }
  ],
  StatementTimeout: [
    { name: "25P04", error: raised("25P04"), phases: inStatement("StatementTimeout", "destroy", "rolledBack", "never") }
  ],
  Cancelled: [
    {
      name: "57014, whose text says nothing: the connection knows its limit",
      error: raised("57014", "canceling statement due to statement timeout"),
      phases: inStatement("Cancelled", "keep", "rolledBack", "never")
    }
  ],
  StalePlan: [
    { name: "26000", error: raised("26000"), phases: inStatement("StalePlan", "keep", "rolledBack", "transaction") },
    { name: "42P05", error: raised("42P05"), phases: inStatement("StalePlan", "keep", "rolledBack", "transaction") },
    {
      name: "0A000 of a cached plan, in any language",
      error: raised("0A000", "gecachter Plan", { routine: "RevalidateCachedQuery" }),
      phases: inStatement("StalePlan", "keep", "rolledBack", "transaction")
    }
  ],
  UniqueViolation: [
    { name: "23505", error: raised("23505"), phases: inStatement("UniqueViolation", "keep", "rolledBack", "never") }
  ],
  ForeignKeyViolation: [
    { name: "23503", error: raised("23503"), phases: inStatement("ForeignKeyViolation", "keep", "rolledBack", "never") }
  ],
  CheckViolation: [
    { name: "23514", error: raised("23514"), phases: inStatement("CheckViolation", "keep", "rolledBack", "never") }
  ],
  NotNullViolation: [
    { name: "23502", error: raised("23502"), phases: inStatement("NotNullViolation", "keep", "rolledBack", "never") }
  ],
  InvalidData: ["22P02", "22003", "22007", "22001", "22012", "22021", "22P05"].map((code) => ({
    name: code,
    error: raised(code),
    phases: inStatement("InvalidData", "keep", "rolledBack", "never")
  })),
  SyntaxError: ["42601", "42P01", "42703"].map((code) => ({
    name: code,
    error: raised(code),
    phases: inStatement("SyntaxError", "keep", "rolledBack", "never")
  })),
  PermissionDenied: [
    { name: "42501", error: raised("42501"), phases: inStatement("PermissionDenied", "keep", "rolledBack", "never") }
  ],
  ResourceExhausted: ["53000", "53100", "53200", "53400", "58030"].map((code) => ({
    name: code,
    error: raised(code),
    phases: inStatement("ResourceExhausted", "keep", "rolledBack", "idempotent")
  })),
  TransactionAborted: [
    { name: "25P02", error: raised("25P02"), phases: inStatement("TransactionAborted", "keep", "rolledBack", "never") }
  ],
  Unclassified: [
    { name: "23P01", error: raised("23P01"), phases: inStatement("Unclassified", "keep", "rolledBack", "never") },
    { name: "40003", error: raised("40003"), phases: inStatement("Unclassified", "destroy", "unknown", "idempotent") },
    { name: "40002", error: raised("40002"), phases: inStatement("Unclassified", "keep", "rolledBack", "never") },
    {
      name: "0A000 otherwise",
      error: raised("0A000"),
      phases: inStatement("Unclassified", "keep", "rolledBack", "never")
    },
    {
      name: "08P01 in a statement",
      error: raised("08P01", "bad message"),
      phases: inStatement("Unclassified", "destroy", "rolledBack", "never")
    },
    {
      name: "a raise of the user's own",
      error: raised("P0001"),
      phases: inStatement("Unclassified", "keep", "rolledBack", "never")
    }
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
    const seen = new Set(
      Object.values(cases)
        .flat()
        .flatMap(({ error }) => (error as { code?: string } | undefined)?.code ?? [])
    )
    const missing = [...Object.keys(byState), ...Object.keys(bySystem)].filter((code) => !seen.has(code))
    assert.deepStrictEqual(missing, [])
    // A class is in a case when a code of it is that has no row of its own.
    const others = [...seen].filter((code) => byState[code] === undefined && bySystem[code] === undefined)
    const unseen = Object.keys(byClass).filter((prefix) => !others.some((code) => code.startsWith(prefix)))
    assert.deepStrictEqual(unseen, [])
  })
})

it("messages do not show the values that the server quotes", () => {
  const of = (code: string, message: string, sql = "", fields: object = {}) =>
    statementMessage(Object.assign(raised(code, message), fields), "db:5432/pay", {
      dialect: "postgresql",
      sql,
      params: ["t0p secret"],
      names: ["pay", "app"]
    })
  const rows: ReadonlyArray<readonly [code: string, message: string, shown: string, sql?: string, fields?: object]> = [
    ["22P02", 'invalid input syntax for type integer: "t0p"', "invalid input syntax for type integer"],
    ["22003", 'value "9999999" is out of range for type integer', "value is out of range for type integer"],
    ["22021", 'invalid byte sequence for encoding "UTF8": 0x74 0x30', "invalid byte sequence for encoding"],
    ["22023", 'invalid value for parameter "TimeZone": "t0p"', "invalid value for parameter"],
    ["42601", 'syntax error at or near "selekt"', 'syntax error at or near "selekt"', "selekt 1"],
    ["42601", 'syntax error at or near ")"', 'syntax error at or near ")"', "select )"],
    ["42601", `syntax error at or near "'t0p'"`, "syntax error", "select 1 't0p'"],
    ["42601", `unterminated quoted string at or near "'a "b" t0p"`, "unterminated quoted string"],
    ["42P01", 'relation "nowhere" does not exist', 'relation "nowhere" does not exist', "select * from nowhere"],
    ["42P01", 'relation "t0p" does not exist', 'relation "…" does not exist', "select 't0p'::regclass"],
    [
      "23505",
      'duplicate key value violates unique constraint "t_pkey"',
      'duplicate key value violates unique constraint "t_pkey"',
      "insert into t values ($1)",
      { constraint: "t_pkey", detail: "Key (id)=(t0p) already exists." }
    ],
    ["P0001", "no card t0p secret here", "no card … here"]
  ]
  for (const [code, message, shown, sql, fields] of rows) {
    assert.strictEqual(of(code, message, sql, fields), `PostgreSQL at db:5432/pay: ${shown} (${code})`)
  }
})

it("a failed connect says where, why and what to do", () => {
  const at = { host: "db", port: 5432, label: "db:5432/pay" }
  assert.strictEqual(
    connectMessage(raised("28P01", 'password authentication failed for user "app"'), at),
    'cannot connect to PostgreSQL at db:5432/pay: password authentication failed for user "app" (28P01). The server refuses the password: check username and password'
  )
  assert.strictEqual(
    connectMessage(raised("XX000", "internal"), at),
    "cannot connect to PostgreSQL at db:5432/pay: internal (XX000)"
  )
})
