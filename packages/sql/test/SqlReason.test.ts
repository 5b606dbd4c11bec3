import { SqlError } from "@effect/sql/SqlError"
import { assert, it } from "@effect/vitest"
import { SqlReason } from "@sluice/sql"

it("an error carries its reason unseen: equal, printed and serialised as any SqlError", () => {
  const cause = new Error("driver")
  const error = SqlReason.toError(SqlReason.make("Deadlock", { code: "40P01", retry: "transaction", cause }), "told")
  assert.instanceOf(error, SqlError)
  assert.strictEqual(error.cause, cause)
  assert.strictEqual(error.message, "told")
  assert.deepStrictEqual(Object.keys(error).includes("reason"), false)
  assert.deepStrictEqual(SqlReason.of(error), {
    _tag: "Deadlock",
    code: "40P01",
    connection: "keep",
    outcome: "none",
    retry: "transaction",
    attempts: 1,
    cause
  })
})

it("the reason of any other value is Unclassified, never retried, with an unknown outcome", () => {
  for (const value of [new SqlError({ message: "foreign" }), new Error("x"), undefined, null, "text", 5]) {
    const reason = SqlReason.of(value)
    assert.strictEqual(reason._tag, "Unclassified")
    assert.strictEqual(reason.retry, "never")
    assert.strictEqual(reason.outcome, "unknown")
  }
})

it("is asks for one of several reasons", () => {
  const error = SqlReason.toError(SqlReason.make("LockTimeout"), "told")
  assert.isTrue(SqlReason.is("Deadlock", "LockTimeout")(error))
  assert.isFalse(SqlReason.is("Deadlock")(error))
})
