/** The engine without Effect: what it may import, and the transitions that fibers reach only by chance. */
import { readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Rig } from "./support/EngineRig.js"

const folder = new URL("../src/internal/", import.meta.url)
/** The folder of what knows Effect. Everything else under `internal` is the engine. */
const effectful = "runtime"

const can = { canValidate: true, canReset: true, canAbort: true }

describe("the engine", () => {
  for (const name of readdirSync(folder).filter((file) => file !== effectful)) {
    it(`imports nothing of Effect: ${name}`, () => {
      const code = readFileSync(new URL(name, folder), "utf8")
      assert.notMatch(code, /from "effect/)
      // Modules that know Effect lend it types only.
      const values = [...code.matchAll(/^import (?!type\b)[^;]*? from "(\.[^"]+)"/gm)].map((match) => match[1]!)
      for (const from of values) {
        assert.match(from, /^\.\/\w+\.js$/)
      }
    })
  }

  it("serves a waiter after its deadline while timers are late, because the answer may have lain in the socket", () => {
    const rig = new Rig({ maxSize: 1, minIdle: 0 }, can, () => 0.5)
    rig.acquire("normal", false, Infinity, "first")
    rig.connected(0)
    rig.acquire("normal", false, 100, "second")
    rig.isLate = true
    rig.now += 500
    rig.end(rig.leases[0]!, "release")
    assert.deepStrictEqual([rig.leases.length, rig.waiting.size, rig.refused.length], [1, 0, 0])
    assert.deepStrictEqual(rig.watched.violations, [])
  })

  it("I5: fails it where timers are in time", () => {
    const rig = new Rig({ maxSize: 1, minIdle: 0 }, can, () => 0.5)
    rig.acquire("normal", false, Infinity, "first")
    rig.connected(0)
    rig.acquire("normal", false, 100, "second")
    rig.now += 500
    rig.end(rig.leases[0]!, "release")
    assert.deepStrictEqual([rig.leases.length, rig.waiting.size, rig.refused], [0, 0, ["AcquireTimeout"]])
  })

  it("starts no connect between a failure and the moment at which its pause is known", () => {
    const rig = new Rig({ maxSize: 2, minIdle: 0 }, can, () => 0.5)
    rig.acquire("normal", false, Infinity, "first")
    rig.failed(0, "unreachable")
    rig.pass(10_000)
    assert.strictEqual(rig.connects.length, 0)
    rig.pause(20)
    rig.pass(19)
    assert.strictEqual(rig.connects.length, 0)
    rig.pass(1)
    assert.strictEqual(rig.connects.length, 1)
  })
})
