import { assert, it } from "@effect/vitest"
import { Consistency, Router, Sql, SqlReason, Topology } from "@sluice/sql"
import { Effect, Exit, Fiber, Layer, Redacted } from "effect"
import { encode } from "../src/internal/routing/token.js"
import * as FakeDriver from "./support/fakeDriver.js"
import { idle, layer, played, reasonOf } from "./support/sql.js"

const host = Effect.map(Sql.query<{ host: string }>("a"), (rows) => rows[0]!.host)

const read = Sql.read(host)

const replicas = ["r1", "r2"]

/** A cluster whose primary is at 10, and whose replicas are all there too. */
const cluster = () => {
  const fake = FakeDriver.make()
  const asked: Array<string> = []
  for (const one of ["primary", ...replicas]) fake.positions.set(one, 10)
  const driver = {
    ...fake.driver,
    askPosition: (connection: FakeDriver.FakeConnection, role: "primary" | "replica") =>
      Effect.suspend(() => {
        asked.push(connection.host)
        return fake.driver.askPosition(connection, role)
      })
  }
  /** Everybody knows where everybody is. */
  const seen = Effect.flatMap(Topology.Topology, ({ refresh }) => refresh)
  const write = (position: number) =>
    Effect.zipRight(
      Effect.sync(() => fake.positions.set("primary", position)),
      Sql.query("insert")
    )
  const inTurn = Router.layer(Router.roundRobin())
  return {
    fake,
    driver,
    asked,
    seen,
    write,
    layer: (options?: object, router = inTurn) =>
      layer({ driver }, { replicas, ...options }).pipe(Layer.provide(router))
  }
}

it.effect("a read after a write goes to a replica that has it, and the primary is asked for its position once", () => {
  const { asked, fake, layer, seen, write } = cluster()
  return Effect.gen(function* () {
    yield* seen
    yield* write(11)
    fake.positions.set("r1", 11)
    fake.positions.set("r2", 11)
    yield* seen
    assert.deepStrictEqual(asked, [])
    const hosts: Array<string> = []
    for (let i = 0; i < 4; i++) hosts.push(yield* read)
    assert.deepStrictEqual(hosts, ["r1", "r2", "r1", "r2"])
    assert.deepStrictEqual(asked, ["primary"])
    yield* write(12)
    fake.positions.set("r2", 12)
    yield* seen
    assert.strictEqual(yield* played(read), "r2")
    assert.strictEqual(yield* read, "r2")
    assert.deepStrictEqual(asked, ["primary", "primary"])
    yield* idle
  }).pipe(Effect.provide(layer()))
})

it.effect("without a write, without a replica, and with eventual, nobody is asked", () => {
  const { asked, layer, seen, write } = cluster()
  return Effect.gen(function* () {
    yield* Effect.gen(function* () {
      yield* seen
      assert.strictEqual(yield* read, "r1")
      yield* write(11)
      assert.strictEqual(yield* Sql.withConsistency("eventual")(read), "r2")
      assert.strictEqual(yield* Sql.withConsistency("strong")(read), "primary")
      yield* idle
    }).pipe(Effect.provide(layer()))
    yield* Effect.gen(function* () {
      yield* write(11)
      assert.strictEqual(yield* read, "primary")
      yield* idle
    }).pipe(Effect.provide(layer({ replicas: [] })))
    assert.deepStrictEqual(asked, [])
  })
})

it.effect("a replica that is behind is waited for; one that does not come in time is not waited for again", () => {
  const { asked, fake, layer, seen, write } = cluster()
  return Effect.gen(function* () {
    yield* seen
    yield* write(11)
    const waiting = yield* Effect.fork(played(read))
    while (!asked.includes("r1")) yield* Effect.yieldNow()
    fake.positions.set("r1", 11)
    assert.strictEqual(yield* waiting, "r1")
    yield* write(12)
    // For the first moments it is not known to be more than a pause.
    for (let i = 0; i < 8; i++) assert.strictEqual(yield* played(read), "primary")
    const before = asked.length
    for (let i = 0; i < 20; i++) assert.strictEqual(yield* read, "primary")
    assert.isAtMost(asked.length - before, 2)
    // A trial shows that they follow again.
    fake.positions.set("r1", 12).set("r2", 12)
    yield* played(Effect.sleep("1 second"))
    yield* read
    yield* played(Effect.sleep("1 second"))
    yield* write(13)
    fake.positions.set("r1", 13).set("r2", 13)
    assert.notStrictEqual(yield* played(read), "primary")
    yield* idle
  }).pipe(Effect.provide(layer()))
})

it.effect("many reads that wait for one replica share its questions", () => {
  const { asked, fake, layer, seen, write } = cluster()
  return Effect.gen(function* () {
    yield* seen
    yield* write(11)
    const reads = yield* Effect.fork(
      played(
        Effect.all(
          Array.from({ length: 100 }, () => read),
          { concurrency: "unbounded" }
        )
      )
    )
    while (!asked.includes("r1") || !asked.includes("r2")) yield* Effect.yieldNow()
    fake.positions.set("r1", 11).set("r2", 11)
    const hosts = yield* reads
    assert.isFalse(hosts.includes("primary"))
    assert.isAtMost(asked.length, 8)
    yield* idle
  }).pipe(Effect.provide(layer({ pool: { maxSize: 100 } })))
})

it.effect("what a child has written its parent knows once it has joined it, however it was started", () => {
  const { fake, layer, seen, write } = cluster()
  let position = 10
  const child = Effect.suspend(() => write(++position))
  const forms: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown, Sql.Sql>]> = [
    ["fork", Effect.flatMap(Effect.fork(child), Fiber.join)],
    ["all", Effect.all([child, Effect.void], { concurrency: "unbounded" })],
    ["forEach", Effect.forEach([1, 2, 3], () => child, { concurrency: 2, discard: true })],
    ["timeout", Effect.timeout(child, "1 minute")],
    ["race", Effect.race(child, Effect.never)],
    ["grandchild", Effect.flatMap(Effect.fork(Effect.flatMap(Effect.fork(child), Fiber.join)), Fiber.join)],
    ["transaction", Sql.withTransaction(child)],
    ["transaction with a timeout", Sql.withTransaction({ timeout: "1 minute" })(child)],
    ["pin", Sql.withConnection(child)],
    ["failure", Effect.exit(Effect.zipRight(child, Effect.fail("after it")))],
    ["transaction without a statement that fails", Effect.exit(Sql.withTransaction(child))]
  ]
  return Effect.gen(function* () {
    for (const [form, effect] of forms) {
      yield* seen
      const first = yield* Effect.fork(
        Effect.gen(function* () {
          yield* Sql.read(host)
          yield* effect
          return yield* Sql.withConsistency("session")(played(read))
        })
      )
      assert.strictEqual(yield* first, "primary", form)
      // Another fiber knows nothing of it.
      fake.positions.set("r1", position).set("r2", position)
      yield* seen
    }
    yield* idle
  }).pipe(Effect.provide(layer({ maxCatchUp: 0 })))
})

it.effect("a fiber that has not written is not held back by one that has", () => {
  const { asked, layer, seen, write } = cluster()
  return Effect.gen(function* () {
    yield* seen
    const writer = yield* Effect.fork(write(11))
    yield* Fiber.await(writer)
    assert.strictEqual(yield* read, "r1")
    assert.deepStrictEqual(asked, [])
    yield* idle
  }).pipe(Effect.provide(layer()))
})

it.effect("a transaction that only reads, or that was rolled back, is no write", () => {
  const { asked, layer, seen } = cluster()
  return Effect.gen(function* () {
    yield* seen
    yield* Sql.read(Sql.withTransaction(Sql.query("a")))
    yield* Sql.withTransaction({ readOnly: true })(Sql.query("a"))
    yield* Effect.exit(Sql.withTransaction(Effect.zipRight(Sql.query("insert"), Effect.fail("no"))))
    assert.strictEqual(yield* read, "r2")
    assert.deepStrictEqual(asked, [])
    yield* idle
  }).pipe(Effect.provide(layer()))
})

it.effect("reads inside of a transaction or a pin stay on its connection", () => {
  const { layer, seen, write } = cluster()
  return Effect.gen(function* () {
    yield* seen
    const inside = Effect.zipRight(write(11), Effect.zip(read, Sql.withConsistency("eventual")(read)))
    assert.deepStrictEqual(yield* Sql.withTransaction(inside), ["primary", "primary"])
    assert.deepStrictEqual(yield* Sql.withConnection(inside), ["primary", "primary"])
    yield* idle
  }).pipe(Effect.provide(layer()))
})

it.effect("a router of the program sees the position, and gets only the replicas that have it", () => {
  const { fake, layer, seen, write } = cluster()
  const seenBy: Array<ReadonlyArray<unknown>> = []
  let targets: ReadonlyArray<Topology.Target> = []
  const router = Router.layer({
    choose: (intent, token, { primary, replicas }) => {
      seenBy.push([intent, token, replicas.map(({ label }) => label)])
      return intent === "read" ? targets[0] : primary
    }
  })
  return Effect.gen(function* () {
    targets = (yield* Topology.Topology).snapshot().replicas
    yield* seen
    yield* write(11)
    fake.positions.set("r2", 11)
    yield* seen
    seenBy.length = 0
    // It insists on one that is behind.
    assert.strictEqual(yield* read, "primary")
    assert.deepStrictEqual(seenBy, [["read", "11", ["r2"]]])
    yield* idle
  }).pipe(Effect.provide(layer({}, router)))
})

it.effect("after a failover the new primary is asked, because positions of before mean nothing", () => {
  const { fake, layer, seen, write } = cluster()
  return Effect.gen(function* () {
    fake.standbys.add("r1").add("r2")
    yield* seen
    yield* write(11)
    fake.positions.set("r1", 11).set("r2", 20)
    yield* seen
    assert.strictEqual(yield* read, "r1")
    fake.standbys.delete("r1")
    fake.standbys.add("primary")
    fake.positions.set("r1", 30)
    yield* seen
    assert.strictEqual((yield* Topology.Topology).snapshot().primary.label, "r1")
    assert.strictEqual(yield* played(read), "r1")
    yield* idle
  }).pipe(Effect.provide(layer({ maxCatchUp: 1 })))
})

it.effect("a token carries a write to another process, and bad ones are refused with what to do", () => {
  const { asked, fake, layer, seen, write } = cluster()
  const withToken = (token: string) => Sql.withConsistency({ token })(read)
  return Effect.gen(function* () {
    yield* seen
    assert.isUndefined(yield* Sql.consistencyToken)
    const token = yield* Effect.flatMap(
      Effect.fork(Effect.zipRight(write(11), Sql.consistencyToken)),
      Fiber.await
    ).pipe(Effect.flatten)
    assert.strictEqual(token, "1~Fake~~11")
    asked.length = 0
    fake.positions.set("r2", 11)
    yield* seen
    for (let i = 0; i < 3; i++) assert.strictEqual(yield* withToken(token!), "r2")
    assert.include(replicas, yield* Sql.withConsistency({ token: undefined })(read))
    assert.deepStrictEqual(asked, [])
    const cases: ReadonlyArray<readonly [string, RegExp]> = [
      ["", /it is none/],
      ["x", /it is none/],
      ["1~Fake~~", /it is none/],
      ["1~Fake~~eleven", /it is none/],
      ["1~Fake~~11~more", /it is none/],
      ["2~Fake~~11", /it is none/],
      ["1~Fake~~%zz", /it is none/],
      ["9".repeat(20_000), /it is none/],
      [encode({ database: "PostgreSQL", history: "", position: "1:0/1" }), /one of PostgreSQL/],
      [encode({ database: "MySQL", history: "", position: "11" }), /one of MySQL/],
      [encode({ database: "Fake", history: "", position: "99" }), /the primary has not come so far/]
    ]
    for (const [bad, why] of cases) {
      const error = yield* Effect.flip(played(withToken(bad)))
      assert.match(error.message, why, bad.slice(0, 20))
      assert.strictEqual(SqlReason.of(error)._tag, "InvalidData")
    }
    assert.strictEqual((yield* reasonOf(Sql.withConsistency("sometimes" as any)(read)))._tag, "InvalidUse")
    yield* idle
  }).pipe(Effect.provide(layer()))
})

it.effect("a primary that does not say how far it is, is read from; nobody waits for ever", () => {
  const { fake, layer, seen, write } = cluster()
  return Effect.gen(function* () {
    yield* seen
    yield* write(11)
    fake.positions.delete("primary")
    assert.strictEqual(yield* played(read), "primary")
    assert.strictEqual(yield* played(Sql.withConsistency({ token: "1~Fake~~99" })(read)), "primary")
    assert.isTrue(Exit.isFailure(yield* Effect.exit(played(Sql.consistencyToken))))
    yield* idle
  }).pipe(Effect.provide(layer()))
})

it.effect("strong waits for the server that takes the writes, and does not take one that did until now for it", () => {
  const { fake, layer, seen } = cluster()
  fake.standbys.add("r1").add("r2")
  const strong = Sql.withConsistency("strong")(read)
  return Effect.gen(function* () {
    yield* seen
    assert.strictEqual(yield* strong, "primary")
    fake.standbys.add("primary")
    yield* seen
    assert.strictEqual((yield* reasonOf(played(Sql.withAcquireTimeout(100)(strong))))._tag, "NotWritable")
    const waiting = yield* Effect.fork(strong)
    fake.standbys.delete("r1")
    yield* seen
    assert.strictEqual(yield* waiting, "r1")
    yield* idle
  }).pipe(Effect.provide(layer()))
})

it.effect("a signed token is read back; a changed one, and one with another secret, are refused", () =>
  Effect.gen(function* () {
    const secret = Redacted.make("a secret of this test")
    const token = encode({ database: "PostgreSQL", history: "7", position: "1:0/3000060" })
    assert.match(token, /^[\w%~.-]+$/)
    const signed = yield* Consistency.sign(token, secret)
    assert.match(signed, /^[\w%~.-]+$/)
    assert.strictEqual(yield* Consistency.verify(signed, secret), token)
    const forged = [
      token,
      "",
      `${token}~`,
      signed.slice(0, -1),
      `${signed}A`,
      signed.replace("3000060", "3000061"),
      yield* Consistency.sign(token, Redacted.make("another secret here"))
    ]
    for (const text of forged) {
      assert.strictEqual((yield* reasonOf(Consistency.verify(text, secret)))._tag, "InvalidData", text)
    }
    assert.strictEqual((yield* reasonOf(Consistency.verify(undefined as any, secret)))._tag, "InvalidData")
    assert.strictEqual((yield* reasonOf(Consistency.sign(token, Redacted.make("short"))))._tag, "InvalidUse")
  })
)
