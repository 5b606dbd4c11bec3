import { assert, it } from "@effect/vitest"
import { Router, Sql, type SqlHooks, Topology } from "@sluice/sql"
import { Chunk, Context, Effect, Fiber, Layer, Logger, Stream } from "effect"
import * as FakeDriver from "./support/fakeDriver.js"
import { advance, idle, layer, reasonOf, tick } from "./support/sql.js"

const host = Effect.map(Sql.query<{ host: string }>("a"), (rows) => rows[0]!.host)

const replicas = ["r1", "r2", "r3"]

class CurrentTenant extends Context.Reference<CurrentTenant>()("CurrentTenant", { defaultValue: () => 0 }) {}

const asTenant =
  (tenant: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provideService(effect, CurrentTenant, tenant)

const inTurn = Router.layer(Router.roundRobin())

it.effect("reads go to the replicas in turn, everything else to the primary", () => {
  const fake = FakeDriver.make()
  return Effect.gen(function* () {
    const seen: Array<string> = []
    for (let i = 0; i < 6; i++) seen.push(yield* Sql.read(host))
    assert.deepStrictEqual(seen, [...replicas, ...replicas])
    assert.strictEqual(yield* host, "primary")
    assert.strictEqual(yield* Sql.read(Sql.write(host)), "primary")
    assert.strictEqual(yield* Sql.withTransaction(host), "primary")
    yield* idle
  }).pipe(Effect.provide(layer(fake, { replicas }).pipe(Layer.provide(inTurn))))
})

it.effect("what a hook refuses on a replica is refused, and not sent to the primary instead", () => {
  const fake = FakeDriver.make()
  const asked: Array<string> = []
  const beforeAcquire = ({ endpoint, role }: SqlHooks.Where) =>
    Effect.zipRight(
      Effect.sync(() => asked.push(`${role} ${endpoint}`)),
      role === "replica" ? Effect.fail("no") : Effect.void
    )
  return Effect.gen(function* () {
    asked.length = 0
    assert.strictEqual((yield* reasonOf(Sql.read(host)))._tag, "HookFailed")
    assert.deepStrictEqual(asked, ["replica r1"])
    assert.strictEqual(yield* host, "primary")
    yield* idle
  }).pipe(Effect.provide(layer(fake, { replicas, hooks: { beforeAcquire } }).pipe(Layer.provide(inTurn))))
})

it.effect("a router of the program decides, by what the context of the fiber says", () => {
  const fake = FakeDriver.make()
  const asked: Array<ReadonlyArray<unknown>> = []
  const others = Router.roundRobin()
  const byTenant = Router.layer({
    choose: (intent, token, snapshot, deadline, context) => {
      asked.push([intent, token, deadline])
      const own = snapshot.replicas[Context.get(context, CurrentTenant)]
      return intent === "read" && own?.isUp ? own : others.choose(intent, token, snapshot, deadline, context)
    }
  })
  return Effect.gen(function* () {
    for (const [tenant, of] of replicas.entries()) {
      const all = Effect.all([host, host, Sql.withConnection(host), Sql.withTransaction(host)])
      assert.deepStrictEqual(yield* asTenant(tenant)(Sql.read(all)), [of, of, of, of])
    }
    assert.strictEqual(yield* asTenant(1)(host), "primary")
    // One that is down is left to the default.
    asked.length = 0
    assert.strictEqual(yield* asTenant(7)(Sql.read(Sql.withConsistency("eventual")(host))), "r1")
    assert.deepStrictEqual(asked, [["read", undefined, Infinity]])
    yield* idle
  }).pipe(Effect.provide(layer(fake, { replicas }).pipe(Layer.provide(byTenant))))
})

it.effect(
  "a router that has no opinion means the primary; one that invents a target fails the statement, typed",
  () => {
    const fake = FakeDriver.make()
    let target: Topology.Target | undefined
    const router = Router.layer({ choose: () => target })
    return Effect.gen(function* () {
      assert.strictEqual(yield* Sql.read(host), "primary")
      target = {
        label: "mine",
        role: "replica",
        isUp: true,
        isSilent: false,
        using: 0,
        available: 1,
        waiting: 0,
        max: 1,
        upSince: 0,
        isLagging: false,
        share: 1,
        latency: 0,
        lag: undefined,
        position: undefined
      }
      for (const statement of [host, Sql.read(host), Sql.withConnection(host), Sql.withTransaction(host)]) {
        assert.strictEqual((yield* reasonOf(statement))._tag, "InvalidUse")
      }
      yield* idle
    }).pipe(Effect.provide(layer(fake, { replicas }).pipe(Layer.provide(router))))
  }
)

it.effect("a replica whose host does not answer is passed over, and reads of the one that is left go on", () => {
  const fake = FakeDriver.make()
  fake.down.add("r1").add("r2")
  return Effect.gen(function* () {
    const topology = yield* Topology.Topology
    const labels = () =>
      topology
        .snapshot()
        .replicas.filter((replica) => replica.isUp)
        .map(({ label }) => label)
    const first = yield* Effect.fork(Effect.all([Sql.read(host), Sql.read(host)], { concurrency: 2 }))
    while (labels().length > 1) yield* tick
    yield* Fiber.interrupt(first)
    assert.deepStrictEqual(labels(), ["r3"])
    for (let i = 0; i < 4; i++) assert.strictEqual(yield* Sql.read(host), "r3")
    yield* idle
  }).pipe(Effect.provide(layer(fake, { replicas })))
})

it.effect("a replica that cannot be reached is reported once, with the reason, and again when it is back", () => {
  const fake = FakeDriver.make()
  fake.down.add("r1")
  const logs: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => void logs.push(`${logLevel.label} ${String(message)}`))
  return Effect.gen(function* () {
    yield* advance(5_000)
    assert.lengthOf(logs, 1)
    assert.match(logs[0]!, /^WARN replica r1 cannot be reached \(r1 is down\): reads go to/)
    assert.strictEqual(yield* Sql.read(host), "r2")
    fake.down.clear()
    yield* advance(5_000)
    assert.lengthOf(logs, 2)
    assert.match(logs[1]!, /^INFO replica r1 answers again/)
    // What the program has suspended itself is no news.
    yield* Sql.suspend()
    yield* advance(5_000)
    yield* Sql.resume
    assert.lengthOf(logs, 2)
    yield* idle
  }).pipe(Effect.provide(layer(fake, { replicas: ["r1", "r2"] })), Effect.provide(Logger.add(logger)))
})

it.effect("a replica that is back before it was reported is not reported, least of all after its return", () => {
  const fake = FakeDriver.make()
  fake.down.add("r1")
  const logs: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => void logs.push(`${logLevel.label} ${String(message)}`))
  return Effect.gen(function* () {
    // It was seen, and what is to be said waits for the next failed connect, which does not come.
    yield* advance(1_001)
    fake.down.clear()
    yield* advance(5_000)
    assert.deepStrictEqual(logs, [])
    assert.isTrue((yield* Topology.Topology).snapshot().replicas.every(({ isUp }) => isUp))
    yield* idle
  }).pipe(Effect.provide(layer(fake, { replicas: ["r1", "r2"] })), Effect.provide(Logger.add(logger)))
})

it.effect("a choice reads whether its candidates are up and not silent and nothing else, and allocates nothing", () => {
  const read: Array<string> = []
  const target = (label: string, isUp: boolean, isSilent = false): Topology.Target =>
    new Proxy(
      {
        label,
        role: "replica",
        isUp,
        isSilent,
        using: 0,
        available: 0,
        waiting: 0,
        max: 1,
        upSince: 0,
        isLagging: false,
        share: 1,
        latency: 0,
        lag: undefined,
        position: undefined
      },
      {
        get: (real, key) => {
          read.push(`${label}.${String(key)}`)
          return Reflect.get(real, key)
        }
      }
    )
  const [primary, up, down] = [target("primary", true), target("up", true), target("down", false)]
  const silent = target("silent", true, true)
  const snapshot: Topology.Snapshot = { primary, isWritable: true, replicas: [up, down, silent], at: 0 }
  const { choose } = Router.roundRobin()
  const of = (intent: Router.Intent) => choose(intent, undefined, snapshot, Infinity, Context.empty())
  assert.strictEqual(of("read"), up)
  assert.strictEqual(of("read"), up)
  assert.strictEqual(of("write"), primary)
  assert.deepStrictEqual([...new Set(read.map((field) => field.replace(/.*\./, "")))].sort(), [
    "isLagging",
    "isSilent",
    "isUp",
    "share"
  ])
  return Effect.void
})

it.effect("the topology shows each pool as it is, and publishes what is looked at again", () => {
  const fake = FakeDriver.make()
  return Effect.gen(function* () {
    const topology = yield* Topology.Topology
    const { client } = yield* Sql.Sql
    const { primary } = topology.snapshot()
    assert.deepStrictEqual([primary.label, primary.role, primary.using, primary.max], ["primary", "primary", 0, 3])
    yield* Effect.scoped(
      Effect.gen(function* () {
        yield* client.reserve
        assert.strictEqual(primary.using, 1)
      })
    )
    assert.deepStrictEqual([primary.using, primary.available, primary.waiting, primary.isUp], [0, 1, 0, true])
    const seen = yield* Effect.fork(Stream.runCollect(Stream.take(topology.changes, 2)))
    for (let i = 0; i < 5; i++) yield* tick
    const before = topology.snapshot()
    yield* topology.refresh
    const after = topology.snapshot()
    assert.notStrictEqual(after, before)
    assert.strictEqual(after.primary, before.primary)
    assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Fiber.join(seen)), [before, after])
    yield* Sql.suspend()
    assert.isFalse(primary.isUp)
    yield* Sql.resume
    yield* idle
  }).pipe(Effect.provide(layer(fake, { replicas: ["r1", "primary"], pool: { maxSize: 3 } })))
})

it.effect("a second Sql beneath uses the router that it finds, on targets of its own", () => {
  const fake = FakeDriver.make()
  const other = FakeDriver.make()
  const program = Effect.gen(function* () {
    assert.strictEqual(yield* Sql.read(host), "s1")
    yield* idle
  }).pipe(Effect.provide(layer(other, { primary: "second", replicas: ["s1"] })))
  return Effect.zipRight(Sql.read(host), program).pipe(Effect.provide(layer(fake, { replicas })))
})
