/** A library of a database that is none: what `Endpoints.resolve` makes of a configuration. */
import { assert } from "@effect/vitest"
import { OptionTable } from "@sluice/pool"
import { SqlReason } from "@sluice/sql"
import { Endpoints, Options } from "@sluice/sql/driver"
import { Effect, Either, Redacted } from "effect"

/** A library whose clients are what they were told. */
export const resolve = (
  config: Endpoints.Fields & Endpoints.Servers<Endpoints.Fields>,
  explain?: (error: Error) => string,
  environment: Readonly<Record<string, string>> = {}
) =>
  Endpoints.resolve<Endpoints.Fields, object, { readonly own: number; readonly words: object }>(config, {
    module: "FakeSql",
    database: "Fake",
    scheme: "fake",
    isUrl: /^fake:\/\//,
    urlForm: "fake://",
    explain,
    port: 1,
    environment: () => environment,
    words: {
      mode: OptionTable.oneOf("fast", "slow"),
      zone: OptionTable.text,
      host: OptionTable.text,
      port: OptionTable.text,
      target_session_attrs: Options.targetSessionAttrs
    },
    wordsElsewhere: { schema: "set it on the role" },
    ssl: OptionTable.flag,
    options: { colour: OptionTable.text },
    elsewhere: { color: "use colour" },
    read: (at, words, own) => {
      assert.isUndefined(at.url)
      if (at.username === "odd") throw new Error("an odd user")
      const password = Redacted.isRedacted(at.password) ? Redacted.value(at.password) : undefined
      return {
        host: words["host"] ?? at.host ?? environment["host"] ?? "localhost",
        port: Number(words["port"] ?? at.port ?? environment["port"] ?? 1),
        path: at.path,
        database: at.database,
        user: at.username ?? "",
        password,
        ways: Either.right([undefined]),
        client: (_, current = password) => ({ password: current }),
        more: { own, words },
        problem: at.database === "none" ? "there is no such database" : undefined
      }
    }
  })

/** What is wrong with this configuration. No problem shows a password. */
export const problemsOf = (...config: Parameters<typeof resolve>) =>
  Effect.map(Effect.flip(resolve(...config)), (error) => {
    assert.strictEqual(SqlReason.of(error)._tag, "InvalidOptions")
    assert.notInclude(error.message, "s3cret")
    return (error.cause as unknown as { problems: ReadonlyArray<string> }).problems
  })
