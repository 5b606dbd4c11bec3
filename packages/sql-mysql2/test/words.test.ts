/** The words of MySQL and of `mysql2`: what each of them leads to. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { SqlReason } from "@sluice/sql"
import { Effect, Redacted } from "effect"
import * as tls from "../../sql/test/support/tls.js"
import { refusedByName } from "../../sql/test/support/words.js"
import * as endpoint from "../src/internal/endpoint.js"
import * as Words from "../src/internal/words.js"
import type { MysqlSqlConfig } from "../src/MysqlSql.js"

const at = (query: string, more: MysqlSqlConfig = {}, host = "h") =>
  endpoint.resolve({ url: Redacted.make(`mysql://u:s3cret@${host}/d?${query}`), ...more })

const problems = (query: string, more: object = {}, host = "h") =>
  Effect.map(Effect.flip(at(query, more, host)), (error) => {
    assert.strictEqual(SqlReason.of(error)._tag, "InvalidOptions")
    assert.notInclude(error.message, "s3cret")
    return (error.cause as unknown as { problems: ReadonlyArray<string> }).problems
  })

const checks = (query: string, more: MysqlSqlConfig = {}, host = "h") =>
  Effect.map(at(query, more, host), ({ primary }) => primary.ways.map((way): string => way?.check ?? "plain text"))

const file = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "sluice-words-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
  ),
  (folder) => {
    const path = join(folder, "ca.crt")
    writeFileSync(path, tls.certificate)
    return path
  }
)

describe("TLS", () => {
  for (const [query, ssl, expected] of [
    ["", undefined, ["plain text"]],
    ["ssl-mode=DISABLED", undefined, ["plain text"]],
    ["ssl-mode=PREFERRED", undefined, ["nothing", "plain text"]],
    ["ssl-mode=REQUIRED", undefined, ["nothing"]],
    ["ssl-mode=VERIFY_IDENTITY", undefined, ["identity"]],
    ["ssl_mode=required", undefined, ["nothing"]],
    ["sslMode=verify_identity", undefined, ["identity"]],
    ["sslmode=disable", undefined, ["plain text"]],
    ["sslmode=prefer", undefined, ["nothing", "plain text"]],
    ["sslmode=require", undefined, ["nothing"]],
    ["sslmode=verify-full", undefined, ["identity"]],
    ["ssl-mode=VERIFY_CA", { ca: "ca" }, ["authority"]],
    ["ssl-mode=REQUIRED", { ca: "ca" }, ["authority"]],
    ["ssl-mode=REQUIRED", true, ["identity"]],
    ["ssl-mode=VERIFY_IDENTITY", { ca: "ca" }, ["identity"]],
    ["ssl=true", undefined, ["identity"]],
    ["ssl=1", undefined, ["identity"]],
    ["ssl=false", undefined, ["plain text"]],
    ["ssl={}", undefined, ["authority"]],
    ['ssl={"rejectUnauthorized":false}', undefined, ["nothing"]],
    ['ssl={"rejectUnauthorized":true,"verifyIdentity":true}', undefined, ["identity"]],
    ["ssl=Amazon%20RDS", undefined, ["authority"]],
    ["", true, ["identity"]],
    ["", {}, ["authority"]],
    ["", { verifyIdentity: true }, ["identity"]],
    ["", { rejectUnauthorized: false }, ["nothing"]],
    ["", "Amazon RDS", ["authority"]]
  ] as const) {
    it.effect(`${query || "nothing"} in the url and ssl: ${JSON.stringify(ssl)} mean ${expected.join(", then ")}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* checks(query, { ssl }), [...expected])
      })
    )
  }

  for (const [query, ssl, says] of [
    ["ssl-mode=REQUIERD", undefined, /\?ssl-mode must be one of .*did you mean "REQUIRED"\?/],
    ["ssl-mode=DISABLED", {}, /ssl-mode=DISABLED and ssl contradict/],
    ["ssl-mode=REQUIRED", false, /contradict/],
    ["ssl-mode=PREFERRED", true, /contradict/],
    ["ssl-mode=VERIFY_IDENTITY", { rejectUnauthorized: false }, /contradict/],
    ["ssl-mode=VERIFY_CA", undefined, /needs the certificate of the authority: give ssl-ca or ssl\.ca/],
    ["ssl-mode=VERIFY_CA&ssl-ca=/nowhere.crt", undefined, /^ssl-ca: the file cannot be read \(ENOENT\)$/],
    ["ssl-mode=REQUIRED&sslmode=require", undefined, /are the same word/],
    ["ssl=true", {}, /ssl is said by the url and by the options/],
    ["ssl=yes", undefined, /\?ssl must be true, false, an object, or the name of a profile/],
    ["useSSL=true", undefined, /\?useSSL is no option here: use ssl-mode=VERIFY_IDENTITY, or ssl-mode=REQUIRED/],
    ["requireSSL=true", undefined, /use ssl-mode/],
    ["tls=true", undefined, /use ssl-mode/],
    ["tls=skip-verify", undefined, /use ssl-mode/],
    ["sslaccept=strict", undefined, /use ssl-mode=VERIFY_IDENTITY.*sslaccept=strict is the first/],
    ["sslcert=x", undefined, /did you mean \?ssl-cert\?/],
    ["verifyServerCertificate=true", undefined, /use ssl-mode/],
    ["", { verifyidentity: true }, /ssl\.verifyidentity is no option here: did you mean ssl\.verifyIdentity\?/],
    ["", { pfx: "x" }, /ssl\.pfx is no option here: use cert and key/],
    ["", "require", /ssl must be true, false, an object, or the name of a profile/],
    ["", { rejectUnauthorized: "no" }, /ssl\.rejectUnauthorized must be true or false/]
  ] as const) {
    it.effect(`${query || "nothing"} with ssl: ${JSON.stringify(ssl)} is refused, with the remedy`, () =>
      Effect.gen(function* () {
        const found = yield* problems(query, { ssl })
        assert.lengthOf(found, 1)
        assert.match(found[0]!, says)
      })
    )
  }

  it.effect(
    "the name in a certificate cannot be checked for an address, and is not silently checked for another name",
    () =>
      Effect.gen(function* () {
        for (const more of [{ ssl: true }, { ssl: { verifyIdentity: true } }]) {
          assert.match(
            (yield* problems("", more, "127.0.0.1")).join(),
            /against a name only, and 127\.0\.0\.1 is an address/
          )
        }
        assert.match((yield* problems("ssl-mode=VERIFY_IDENTITY", {}, "[::1]")).join(), /and ::1 is an address/)
        assert.deepStrictEqual(yield* checks("ssl-mode=REQUIRED", {}, "127.0.0.1"), ["nothing"])
      })
  )

  it.scoped("files that words name are read, and a certificate alone does not silently do nothing", () =>
    Effect.gen(function* () {
      const path = yield* file
      const { primary } = yield* at(`ssl-mode=VERIFY_CA&ssl-ca=${path}&ssl-cert=${path}`)
      assert.deepInclude(primary.ways[0]!.options, { ca: tls.certificate, cert: tls.certificate })
      assert.deepStrictEqual(yield* problems(`ssl-ca=${path}`), ["ssl-ca has no effect without a mode"])
    })
  )
})

describe("other words of a url", () => {
  refusedByName(problems, [
    ["connectionLimit=3", /use pool\.maxSize/],
    ["connection_limit=3", /use pool\.maxSize/],
    ["connectTimeout=10", /use pool\.connectTimeout/],
    ["pool_timeout=3", /use pool\.acquireTimeout/],
    ["multipleStatements=true", /use the option multipleStatements/],
    ["user=x", /write it before the question mark/],
    ["schema=x", /write the database before the question mark/],
    ["serverTimezone=UTC", /use timezone/],
    ["characterEncoding=utf8", /use charset/],
    ["timezne=Z", /did you mean \?timezone\?/],
    ["rowsAsArray=true", /use the values of a statement/],
    ["typeCast=false", /use the option mysql2/],
    ["isServer=true", /there are ssl-mode/],
    ["target_session_attrs=primary", /use the option targetSessionAttrs/],
    ["loadBalanceHosts=true", /reads are spread over the replicas by Sql\.read/]
  ])

  it("none of them is a word that is obeyed", () => {
    for (const word of Object.keys(Words.elsewhere)) assert.isFalse(Object.hasOwn(Words.table, word), word)
    for (const word of Object.keys(Words.mysql2Elsewhere)) assert.isFalse(Object.hasOwn(Words.mysql2Table, word), word)
  })

  it.effect(
    "the options of mysql2 that are plain data are obeyed, and win against the same option of the program",
    () =>
      Effect.gen(function* () {
        const { primary } = yield* at(
          'charset=latin1_swedish_ci&timezone=+02:00&dateStrings=["DATE"]&supportBigNumbers=false&socketPath=/run/db.sock',
          // A socket that never connects: `mysql2` would connect at once.
          { mysql2: { timezone: "Z", decimalNumbers: true, stream: () => new Socket() } }
        )
        const { config } = (yield* primary.client(undefined))() as any
        yield* Effect.sync(() => undefined)
        assert.deepInclude(config, {
          timezone: "+02:00",
          dateStrings: ["DATE"],
          supportBigNumbers: false,
          decimalNumbers: true,
          socketPath: "/run/db.sock"
        })
        assert.strictEqual(primary.names, "NAMES latin1 COLLATE latin1_swedish_ci")
      })
  )

  for (const [query, more, says] of [
    ["charset=klingon", {}, /\?charset must be a character set or collation of MySQL/],
    ["timezone=Europe/Vienna", {}, /\?timezone must be local, Z, or a difference/],
    ["dateStrings=maybe", {}, /\?dateStrings must be true, false, or an array/],
    ["supportBigNumbers=yes", {}, /\?supportBigNumbers must be true or false/],
    ["", { mysql2: { timezone: "CET" } }, /mysql2\.timezone must be local/],
    ["", { mysql2: { connectionLimit: 3 } }, /mysql2\.connectionLimit is no option here: use pool\.maxSize/],
    ["", { mysql2: { host: "h" } }, /mysql2\.host is no option here: use host, which is beside mysql2/],
    ["", { mysql2: { datestrings: true } }, /did you mean mysql2\.dateStrings\?/],
    ["", { mysql2: { nonsense: 1 } }, /mysql2\.nonsense is no option here: there are charset/],
    ["", { timezone: "Z" }, /^timezone is no option here: use mysql2\.timezone$/],
    ["", { poolConfig: {} }, /^poolConfig is no option here: use mysql2 for/],
    ["", { connectionLimit: 5 }, /^connectionLimit is no option here: use pool\.maxSize$/],
    ["", { proxy: "pgbouncer-transaction" }, /^proxy is no option here: use prepare: false/],
    ["", { prepare: "no" }, /^prepare must be true or false, and is "no"$/]
  ] as const) {
    it.effect(`${query || JSON.stringify(more)} has no meaning, and is refused`, () =>
      Effect.gen(function* () {
        const found = yield* problems(query, more)
        assert.lengthOf(found, 1)
        assert.match(found[0]!, says)
      })
    )
  }
})
