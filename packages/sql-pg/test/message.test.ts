import { createRequire } from "node:module"
import { assert, it } from "@effect/vitest"
import { bind, command, execution, problemOf } from "../src/internal/wire/message.js"

// What `pg` itself sends, as the measure.
const require = createRequire(import.meta.url)
const { serialize } = createRequire(require.resolve("pg"))("pg-protocol")

/** The messages in a piece of memory; of a Bind what it means, because a format for all can be said in several ways. */
const read = (bytes: Buffer): ReadonlyArray<unknown> => {
  const messages: Array<unknown> = []
  for (let at = 0; at < bytes.length; at += 1 + bytes.readInt32BE(at + 1)) {
    const letter = String.fromCharCode(bytes[at]!)
    const body = bytes.subarray(at + 5, at + 1 + bytes.readInt32BE(at + 1))
    messages.push([letter, letter === "B" ? bindOf(body) : body.toString("latin1")])
  }
  return messages
}

const bindOf = (body: Buffer) => {
  let at = 0
  const text = () => {
    const end = body.indexOf(0, at)
    const read = body.toString("latin1", at, end)
    at = end + 1
    return read
  }
  const count = () => {
    at += 2
    return body.readUInt16BE(at - 2)
  }
  const list = <A>(f: () => A) => Array.from({ length: count() }, f)
  const portal = text()
  const statement = text()
  const formats = list(count)
  const values = list(() => {
    const length = body.readInt32BE(at)
    at += 4 + Math.max(0, length)
    return length < 0 ? null : body.toString("latin1", at - length, at)
  })
  const results = list(count)
  assert.strictEqual(at, body.length)
  return {
    portal,
    statement,
    values,
    formats: values.map((_, i) => formats[formats.length === 1 ? 0 : i] ?? 0),
    binary: results.includes(1)
  }
}

const cases: ReadonlyArray<readonly [string, Array<string | Buffer | null>]> = [
  ["no parameter", []],
  ["text", ["a", "", "häß 😀"]],
  ["null", [null, "a", null]],
  ["bytes", [Buffer.from([0, 1, 255]), "a", null, Buffer.alloc(0)]],
  ["long", ["x".repeat(100_000), "ü".repeat(70_000)]],
  ["many", Array.from({ length: 65_535 }, (_, i) => String(i))]
]

for (const [what, values] of cases) {
  for (const describes of [true, false]) {
    it(`${what}: Bind, ${describes ? "Describe, " : ""}Execute and Sync say what those of pg say`, () => {
      const parts = [
        serialize.bind({ portal: "", statement: "s12", values }),
        ...(describes ? [serialize.describe({ type: "P", name: "" })] : []),
        serialize.execute({ portal: "", rows: 0 }),
        serialize.sync()
      ]
      assert.deepStrictEqual(read(execution("s12", values, describes)), read(Buffer.concat(parts)))
    })
  }
}

it("a statement that goes ahead is Parse, Bind and Execute, without a Sync", () => {
  for (const sql of ["BEGIN", "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", "BEGIN"]) {
    const parts = [
      serialize.parse({ text: sql, name: "" }),
      serialize.bind({ portal: "", statement: "", values: [] }),
      serialize.execute({ portal: "", rows: 0 })
    ]
    assert.deepStrictEqual(read(command(sql)), read(Buffer.concat(parts)))
  }
})

it("what no session would accept is refused before it is sent: a gigabyte, a NUL in the text, half of a character", () => {
  // Memory that nobody writes to takes no place.
  const half = Buffer.alloc(2 ** 29)
  for (const send of [() => execution("", [half, half], true), () => bind("", [half, "x", half])]) {
    assert.throws(send, /would be \d+ bytes, and PostgreSQL accepts 1073741822/)
  }
  assert.isUndefined(problemOf("select 'häß 😀'"))
  assert.match(problemOf("select 'a\0b'")!.message, /NUL/)
  assert.match(problemOf("select '\ud800'")!.message, /surrogate/)
})
