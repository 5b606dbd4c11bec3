/** A packed read that is held up goes to another server than the one that holds it up. */
import { assert, it } from "@effect/vitest"
import { Router, Sql } from "@sluice/sql"
import type { Packing } from "@sluice/sql/driver/Driver"
import { Effect, Layer } from "effect"
import * as FakeDriver from "./support/fakeDriver.js"
import { idle, layer } from "./support/sql.js"

/** The hosts that one read is sent to, when all but the last one are late. The router wants the first replica that it is shown. */
const hostsOf = (replicas: ReadonlyArray<string>, late: number, options: Router.ReadOptions = {}) => {
  const fake = FakeDriver.make()
  for (const replica of replicas) fake.standbys.add(replica)
  const hosts: Array<string> = []
  const packing: Packing<FakeDriver.FakeConnection> = {
    depth: 4,
    packs: () => true,
    admits: () => true,
    stalls: () => false,
    start: (connection, request) => {
      hosts.push(connection.host)
      const answer = Effect.succeed([{ host: connection.host }])
      if (hosts.length > late) {
        request.resume(answer)
        return
      }
      const copy = request.again!(request, () => {}, connection)
      // The caller has the answer of the copy, and this connection has its own later.
      copy!.addObserver((exit) => {
        request.answer(exit)
        request.resume(answer)
      })
    }
  }
  const first = Router.layer({
    ...Router.leastBusy(options),
    choose: (_intent, _token, snapshot) => snapshot.replicas[0]
  })
  return Effect.gen(function* () {
    const [row] = yield* Sql.read(Sql.query<{ host: string }>("a"))
    assert.strictEqual(row!.host, hosts.at(-1))
    yield* idle
    return hosts
  }).pipe(Effect.provide(layer({ driver: { ...fake.driver, packing } }, { replicas }).pipe(Layer.provide(first))))
}

it.effect("to another replica", () =>
  Effect.gen(function* () {
    assert.deepStrictEqual(yield* hostsOf(["r1", "r2"], 0), ["r1"])
    assert.deepStrictEqual(yield* hostsOf(["r1", "r2"], 1), ["r1", "r2"])
  })
)

it.effect("to the primary where there is no other replica", () =>
  Effect.gen(function* () {
    assert.deepStrictEqual(yield* hostsOf(["r1"], 1), ["r1", "primary"])
  })
)

it.effect("to another connection where there is no other server", () =>
  Effect.gen(function* () {
    assert.deepStrictEqual(yield* hostsOf([], 1), ["primary", "primary"])
    assert.deepStrictEqual(yield* hostsOf(["r1"], 1, { target: "standby" }), ["r1", "r1"])
  })
)
