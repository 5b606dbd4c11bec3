import { assert, it } from "@effect/vitest"
import { ErrorText } from "@sluice/sql/driver"

const address = { host: "db-1", port: 7, label: "db-1:7/pay" }

const hints: ErrorText.Hints = {
  byCode: { 1045: "Check the password", ENOENT: "Create the socket" },
  byText: [
    [/certificate of a friend/, "Ask the friend"],
    [/greeting/, ({ port }) => `Check the port ${port}`]
  ]
}

const connect = (message: string, code?: string) => ErrorText.connect({ message, code }, "Fake", address, hints)

it("an error of several addresses stands for its first one; what has no message is shown as it is", () => {
  const first = Object.assign(new Error("refused"), { code: "ECONNREFUSED" })
  const several = Object.assign(new Error(""), { errors: [first, new Error("other")] })
  const { code, message } = ErrorText.read(several)
  assert.deepStrictEqual([code, message], ["ECONNREFUSED", "refused"])
  assert.deepInclude(ErrorText.read(Object.assign(new Error("own"), { code: "E1", errors: [first] })), {
    code: "E1",
    message: "own"
  })
  assert.deepInclude(ErrorText.read(Object.assign(new Error("numbered"), { code: 1045 })), { code: 1045 })
  for (const odd of ["text", undefined, null, 7, { errors: [undefined] }]) {
    assert.deepInclude(ErrorText.read(odd), { code: undefined, message: String(odd) })
  }
})

it("a message has its code once", () => {
  assert.strictEqual(ErrorText.named("refused", "ECONNREFUSED"), "refused (ECONNREFUSED)")
  assert.strictEqual(ErrorText.named("connect ECONNREFUSED", "ECONNREFUSED"), "connect ECONNREFUSED")
  assert.strictEqual(ErrorText.named("refused", undefined), "refused")
})

it("a connect that failed says where, why and what to do: by code, by the system, by text, by certificate", () => {
  const what = "cannot connect to Fake at db-1:7/pay: "
  assert.strictEqual(connect("denied", "1045"), `${what}denied (1045). Check the password`)
  assert.strictEqual(connect("no entry", "ENOENT"), `${what}no entry (ENOENT). Create the socket`)
  assert.match(connect("getaddrinfo", "ENOTFOUND"), /The name db-1 cannot be resolved: check the host$/)
  assert.match(
    connect("self-signed", "DEPTH_ZERO_SELF_SIGNED_CERT"),
    /not trusted: give its authority in ssl\.ca, or in the url/
  )
  assert.match(connect("odd greeting"), /\. Check the port 7$/)
  assert.match(connect("the certificate of a friend"), /\. Ask the friend$/)
  assert.match(connect("a certificate"), /not trusted/)
  assert.strictEqual(connect("a surprise", "E7"), `${what}a surprise (E7)`)
})
