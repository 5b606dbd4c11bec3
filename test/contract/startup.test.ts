/** Start-up on servers that do not work: what the original does is in its own fibers, as in `fixes.test.ts`. */
import * as Net from "node:net"
import type { SqlError } from "@effect/sql/SqlError"
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Redacted, type Scope, TestClock, TestServices } from "effect"
import * as Pg from "pg"
import { vi } from "vitest"
import { eventually } from "./contract.js"
import * as Drivers from "./drivers.js"

const ours = Drivers.driver("@sluice/sql-pg")
const original = Drivers.driver("@effect/sql-pg")

interface Fake {
  readonly url: Redacted.Redacted
  readonly open: () => number
}

/** A server on whose connections `talk` says what happens. */
const fake = (talk: (socket: Net.Socket) => void): Effect.Effect<Fake, never, Scope.Scope> =>
  Effect.gen(function* () {
    const sockets = new Set<Net.Socket>()
    const server = yield* Effect.acquireRelease(
      Effect.async<Net.Server>((resume) => {
        const server = Net.createServer((socket) => {
          sockets.add(socket)
          // Read, so that the end of the other side is seen.
          socket.on("error", () => {}).resume()
          socket.on("close", () => sockets.delete(socket))
          talk(socket)
        }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.sync(() => {
          for (const socket of sockets) socket.destroy()
          server.close()
        })
    )
    const { port } = server.address() as Net.AddressInfo
    return { url: Redacted.make(`postgres://user:password@127.0.0.1:${port}/database`), open: () => sockets.size }
  })

const message = (tag: string, body: Buffer) => {
  const head = Buffer.alloc(5)
  head.write(tag, 0)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

/** Welcomes everybody, and refuses every statement. */
const refusing = fake((socket) => {
  const ready = message("Z", Buffer.from("I"))
  const refusal = message("E", Buffer.from("SERROR\0VERROR\0C57P04\0Mdatabase was dropped\0\0", "latin1"))
  let welcomed = false
  socket.on("data", (data) => {
    if (!welcomed) {
      welcomed = true
      socket.write(Buffer.concat([message("R", Buffer.alloc(4)), ready]))
    } else if (data[0] === "X".charCodeAt(0)) socket.end()
    else socket.write(Buffer.concat([refusal, ready]))
  })
})

const build = (driver: Drivers.Driver, url: Redacted.Redacted) =>
  Effect.scoped(Layer.build(driver.layer({ url }))) as Effect.Effect<unknown, SqlError>

it.effect(
  "P13: a server that accepts and never answers is a typed failure within 5 seconds (the original: never)",
  () =>
    Effect.gen(function* () {
      const silent = yield* fake(() => {})
      const accepted = (count: number) =>
        TestServices.provideLive(
          eventually(
            `${count} are accepted`,
            Effect.sync(() => silent.open() === count)
          )
        )
      const ourStart = yield* Effect.forkDaemon(build(ours, silent.url))
      yield* accepted(1)
      yield* TestClock.adjust("5 seconds")
      const error = yield* Effect.flip(Fiber.join(ourStart))
      assert.strictEqual(error._tag, "SqlError")
      yield* accepted(0)

      const start = yield* Effect.forkDaemon(build(original, silent.url))
      yield* accepted(1)
      yield* TestClock.adjust("15 seconds")
      const ended = yield* TestServices.provideLive(Effect.timeoutOption(Fiber.await(start), "200 millis"))
      assert.isTrue(Option.isNone(ended))
      yield* Fiber.interruptFork(start)
    }).pipe(Effect.scoped)
)

it.live("P14: a first statement that fails leaves no connection open", () =>
  Effect.gen(function* () {
    const server = yield* refusing
    const error = yield* Effect.flip(build(ours, server.url))
    assert.strictEqual(error._tag, "SqlError")
    yield* eventually(
      "every connection is closed",
      Effect.sync(() => server.open() === 0)
    )
  }).pipe(Effect.scoped)
)

// Its pool drops the connection of a failed statement, so all that can be seen of it from outside is the pool itself.
it.live("(the original: the pool is never ended)", () =>
  Effect.gen(function* () {
    const end = vi.spyOn(Pg.Pool.prototype, "end")
    yield* Effect.addFinalizer(() => Effect.sync(() => end.mockRestore()))
    const server = yield* refusing
    assert.strictEqual((yield* Effect.flip(build(original, server.url)))._tag, "SqlError")
    assert.strictEqual(end.mock.calls.length, 0)
  }).pipe(Effect.scoped)
)

for (const driver of [original, ours]) {
  it.live(`${driver.name}: connectTimeout bounds the first connect`, () =>
    Effect.gen(function* () {
      const silent = yield* fake(() => {})
      const start = driver.layer({ url: silent.url, connectTimeout: "200 millis" })
      const error = yield* Effect.flip(Effect.timeout(Effect.scoped(Layer.build(start)), "3 seconds"))
      assert.strictEqual(error._tag, "SqlError")
    }).pipe(Effect.scoped)
  )
}
