/** Options of the verbs: which there are, and what happens to others. The names are checked also where no types are. */
import { assert, describe, it } from "@effect/vitest"
import { Sql, SqlReason, SqlRetry } from "@sluice/sql"
import { Effect, Either } from "effect"
import * as FakeDriver from "./support/fakeDriver.js"
import { idle, layer, texts } from "./support/sql.js"

const refusals: ReadonlyArray<readonly [verb: string, options: object, problem: string]> = [
  ["withTransaction", { isolationLevel: "serializable" }, "isolationLevel is no option here: use isolation"],
  ["withTransaction", { isolaton: "serializable" }, "isolaton is no option here: did you mean isolation?"],
  ["withTransaction", { readonly: true }, "readonly is no option here: did you mean readOnly?"],
  ["withTransaction", { readOnly: "read only; drop table x" }, "readOnly must be true or false"],
  ["withTransaction", { deferrable: "not; drop table x" }, "deferrable must be true or false"],
  ["withTransaction", { verifyCommit: "yes" }, "verifyCommit must be true or false"],
  ["withTransaction", { isolation: "Serializable" }, 'did you mean "serializable"?'],
  ["withTransaction", { maxRetries: 3 }, "maxRetries is no option here: use retry: true, or a policy of SqlRetry"],
  ["withTransaction", { retry: "always" }, "retry must be a policy of SqlRetry or a Schedule"],
  ["withTransaction", { acquireTimeout: 5 }, "acquireTimeout is no option here: use Sql.withAcquireTimeout around it"],
  ["withConnection", { acquiretimeout: 5 }, "acquiretimeout is no option here: did you mean acquireTimeout?"],
  ["withConnection", { connectionTimeoutMillis: 5 }, "connectionTimeoutMillis is no option here: use acquireTimeout"],
  ["withConnection", { intent: "reed" }, 'intent must be one of "read", "write", and is "reed": did you mean "read"?'],
  ["withConnection", { priority: "urgent" }, 'priority must be one of "critical", "high"'],
  ["query", { prepared: false }, "prepared is no option here: did you mean prepare?"],
  ["query", { prepare: "false" }, "prepare must be true or false"],
  ["query", [1], "the options must be an object, and is an array"]
]

const use = (verb: string, options: object): Effect.Effect<unknown, unknown, Sql.Sql> => {
  const work = Sql.query("a")
  switch (verb) {
    case "withTransaction":
      return Sql.withTransaction(options as Sql.TransactionOptions)(work) as never
    case "withConnection":
      return Sql.withConnection(options as Sql.ConnectionOptions)(work) as never
    default:
      return Sql.query("a", [], options)
  }
}

describe("an option of a verb that nobody reads", () => {
  for (const [verb, options, problem] of refusals) {
    it.effect(`is InvalidUse, and nothing is run: ${verb}(${JSON.stringify(options)})`, () => {
      const fake = FakeDriver.make()
      return Effect.gen(function* () {
        for (const around of [
          (effect: Effect.Effect<unknown, unknown, Sql.Sql>) => effect,
          Sql.withConnection as <E>(effect: Effect.Effect<unknown, E, Sql.Sql>) => Effect.Effect<unknown, E, Sql.Sql>
        ]) {
          const error = yield* Effect.flip(around(use(verb, options)))
          assert.strictEqual(SqlReason.of(error)._tag, "InvalidUse")
          assert.include((error as Error).message, problem)
        }
        assert.deepStrictEqual(texts(fake), [])
        yield* idle
      }).pipe(Effect.provide(layer(fake)))
    })
  }
})

describe("an option of a policy that nobody reads", () => {
  const problems = (policy: Either.Either<unknown, SqlRetry.InvalidPolicy>) =>
    Either.getOrThrow(Either.flip(policy)).problems

  it("is refused by name, with what it is called here", () => {
    assert.deepStrictEqual(problems(SqlRetry.make({ retries: 3, Max: 4, backof: 1 } as object)), [
      "retries is no option here: use max, which counts the first run too",
      "Max is no option here: did you mean max?",
      "backof is no option here: did you mean backoffBase?"
    ])
    assert.deepStrictEqual(problems(SqlRetry.make({ match: ["Deadlock"] } as object)), [
      "match is no option here: use SqlRetry.fromMatch"
    ])
    assert.deepStrictEqual(
      problems(SqlRetry.fromMatch({ match: ["Deadlock"], backoffJitter: 5 } as SqlRetry.MatchOptions)),
      ["backoffJitter is no option here: leave it out: every pause is random"]
    )
    assert.lengthOf(problems(SqlRetry.fromMatch(undefined as never)), 1)
    assert.lengthOf(problems(SqlRetry.make(null as never)), 1)
    assert.isTrue(Either.isRight(SqlRetry.fromMatch({ match: ["Deadlock"], max: 2, timeout: undefined })))
  })
})
