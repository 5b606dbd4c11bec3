import { assert, it } from "@effect/vitest"
import { type Move, watch } from "../src/internal/routing/hostName.js"

/** A name that leads to these addresses, one list for each look. */
const looks = (host: string | undefined, answers: ReadonlyArray<ReadonlyArray<string> | Error>) => {
  const told: Array<Move | number> = []
  const left = [...answers]
  const look = watch(
    host,
    (move) => told.push(move),
    (_host, _options, then) => {
      const answer = left.shift()!
      if (answer instanceof Error) then(answer, [])
      else
        then(
          null,
          answer.map((address) => ({ address, family: 4 }))
        )
    }
  )
  answers.forEach((_, i) => {
    told.push(i)
    look()
  })
  return { told, asked: answers.length - left.length }
}

it("a name that leads elsewhere is told once, and apart from one of whose addresses some are left", () => {
  const { told } = looks("db", [
    ["10.0.0.1"],
    ["10.0.0.1"],
    ["10.0.0.2"],
    ["10.0.0.2"],
    ["10.0.0.3", "10.0.0.2"],
    ["10.0.0.2"]
  ])
  assert.deepStrictEqual(told, [0, 1, 2, "moved", 3, 4, "changed", 5, "changed"])
})

it("the order of the addresses, a failure and an empty answer are no news", () => {
  const { told } = looks("db", [
    ["10.0.0.1", "10.0.0.2"],
    ["10.0.0.2", "10.0.0.1"],
    new Error("ENOTFOUND"),
    [],
    ["10.0.0.1", "10.0.0.2"]
  ])
  assert.deepStrictEqual(told, [0, 1, 2, 3, 4])
})

it("numbers and sockets are not looked up, and a second connect does not look while the first does", () => {
  for (const host of [undefined, "", "127.0.0.1", "::1", "/run/postgresql"]) {
    assert.strictEqual(looks(host, [["10.0.0.1"], ["10.0.0.2"]]).asked, 0, host)
  }
  let asked = 0
  const look = watch(
    "db",
    () => {},
    () => {
      asked++
    }
  )
  look()
  look()
  assert.strictEqual(asked, 1)
})
