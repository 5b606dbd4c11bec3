/**
 * Time. A wall clock that is set forward or back moves nothing (F30), and a process that did not run for a while does not
 * fail callers whose answers lie in a socket already.
 */
import { connect as connectTo, type Socket } from "node:net"
import { Worker } from "node:worker_threads"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schedule } from "effect"
import { Pool, type PoolError } from "../src/index.js"
import { type Fixture, type Options, test } from "./support/Fixture.js"

const HOUR = 3_600_000

interface Case {
  readonly options: Options
  /** Begins; says whether what it began has ended. */
  readonly begin: (f: Fixture) => Effect.Effect<() => boolean, PoolError.AcquireError>
  /** It ends after so many milliseconds. */
  readonly ms: number
  /** It may end so much later, because the pool looks once a second. */
  readonly slack?: number
}

const leave = (f: Fixture, status: "dirty" | "busy" | "dead") =>
  Effect.flatMap(f.hold(), (lease) => {
    lease.connection.status = status
    return lease.release
  })

const cases: Readonly<Record<string, Case>> = {
  "an acquire that waits": {
    options: { maxSize: 1, acquireTimeout: 3_000 },
    ms: 3_000,
    begin: (f) =>
      Effect.zipRight(
        f.saturate,
        Effect.map(
          f.park(),
          ({ fiber }) =>
            () =>
              fiber.unsafePoll() !== null
        )
      )
  },
  "a connect": {
    options: { maxSize: 1, connectTimeout: 3_000, setUp: (host) => Object.assign(host, { connects: "hang" }) },
    ms: 3_000,
    begin: (f) => Effect.as(f.park({ acquireTimeout: "1 hour" }), () => f.stats().connectFailures === 1)
  },
  "a check": {
    options: { maxSize: 1, validateTimeout: 3_000 },
    ms: 3_000,
    begin: (f) =>
      Effect.gen(function* () {
        yield* f.warm(1)
        yield* f.pass(600)
        f.host.checks = "hang"
        yield* f.park({ acquireTimeout: "1 hour" })
        return () => f.stats().closed.validation === 1
      })
  },
  "a pause after a failed connect": {
    options: {
      maxSize: 1,
      backoff: Schedule.spaced(3_000),
      setUp: (host) => Object.assign(host, { connects: "unreachable" })
    },
    ms: 3_000,
    begin: (f) => Effect.as(f.park({ acquireTimeout: "1 hour" }), () => f.host.attempts.length === 2)
  },
  "a pause of a schedule that looks at the time": {
    options: {
      maxSize: 1,
      backoff: Schedule.fixed(3_000),
      setUp: (host) => Object.assign(host, { connects: "unreachable" })
    },
    ms: 3_000,
    begin: (f) => Effect.as(f.park({ acquireTimeout: "1 hour" }), () => f.host.attempts.length === 2)
  },
  "a reset": {
    options: { maxSize: 1, resetTimeout: 3_000, setUp: (host) => Object.assign(host, { resets: "hang" }) },
    ms: 3_000,
    begin: (f) => Effect.as(leave(f, "dirty"), () => f.stats().closed.reset === 1)
  },
  "an abort": {
    options: { maxSize: 1, abortTimeout: 3_000, setUp: (host) => Object.assign(host, { aborts: "hang" }) },
    ms: 3_000,
    begin: (f) => Effect.as(leave(f, "busy"), () => f.stats().closed.error === 1)
  },
  "a close": {
    options: { maxSize: 1, closeTimeout: 3_000, setUp: (host) => Object.assign(host, { closes: "hang" }) },
    ms: 3_000,
    begin: (f) => Effect.as(leave(f, "dead"), () => f.stats().closing === 0)
  },
  "a suspended pool": {
    options: { maxSize: 1 },
    ms: 3_000,
    begin: (f) => Effect.as(Pool.suspend(f.pool, { atMost: 3_000 }), () => f.stats().phase === "running")
  },
  "a drain": {
    options: { maxSize: 1, aborts: false },
    ms: 3_000,
    begin: (f) =>
      Effect.gen(function* () {
        yield* f.hold()
        yield* Effect.forkDaemon(Pool.drain(f.pool, { within: 3_000 }))
        return () => f.stats().phase === "closed"
      })
  },
  "an idle timeout": {
    options: { maxSize: 1, idleTimeout: 10_000 },
    ms: 10_000,
    slack: 1_000,
    begin: (f) => Effect.as(f.warm(1), () => f.stats().closed.idle === 1)
  },
  "a lifetime": {
    options: { maxSize: 1, maxLifetime: 12_500, idleTimeout: "1 hour" },
    ms: 10_000,
    slack: 3_500,
    begin: (f) => Effect.as(f.warm(1), () => f.stats().closed.lifetime === 1)
  },
  "a keepalive": {
    options: { maxSize: 1, keepAlive: 10_000, idleTimeout: "1 hour" },
    ms: 9_000,
    slack: 2_000,
    begin: (f) => Effect.as(f.warm(1), () => f.host.checked.length === 1)
  }
}

describe("F30: the wall clock is set forward or back in the middle", () => {
  for (const [name, { begin, ms, options, slack = 0 }] of Object.entries(cases)) {
    for (const step of [HOUR, -HOUR]) {
      test(`${name} ends no earlier and no later (${step > 0 ? "forward" : "back"})`, options, (f) =>
        Effect.gen(function* () {
          const hasEnded = yield* begin(f)
          yield* f.pass(ms / 2)
          f.clock.stepWall(step)
          yield* f.pass(ms / 2 - 1)
          assert.isFalse(hasEnded(), "too early")
          yield* f.pass(1 + slack)
          assert.isTrue(hasEnded(), "too late")
          f.host.letGo()
        })
      )
    }
  }

  test("an error shows since when connecting fails, on the wall clock of that moment", { maxSize: 1 }, (f) =>
    Effect.gen(function* () {
      f.host.connects = "unreachable"
      const caller = yield* f.park({ acquireTimeout: 1_000 })
      f.clock.stepWall(HOUR)
      yield* f.pass(1_000)
      const error = yield* caller.error
      assert.strictEqual(error.lastConnectFailure?.since, f.clock.unsafeCurrentTimeMillis() - 1_000)
    })
  )
})

/** A server in a thread of its own, which works while this thread is blocked. It greets, and then repeats what it is told. */
const server = `
const { parentPort } = require("node:worker_threads")
const server = require("node:net").createServer((socket) => {
  socket.on("error", () => {})
  socket.write("hello")
  socket.on("data", (data) => socket.write(data))
})
server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port))
`

const withServer = <A, E>(f: (port: number) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.acquireUseRelease(
    Effect.async<{ readonly worker: Worker; readonly port: number }>((resume) => {
      const worker = new Worker(server, { eval: true })
      worker.once("message", (port: number) => resume(Effect.succeed({ worker, port })))
    }),
    ({ port }) => f(port),
    ({ worker }) => Effect.promise(() => worker.terminate())
  )

/** One answer of the server. */
const answer = (socket: Socket): Effect.Effect<string> =>
  Effect.async((resume) => {
    const read = (data: Buffer) => resume(Effect.succeed(String(data)))
    socket.once("data", read)
    return Effect.sync(() => socket.off("data", read))
  })

const ask = (socket: Socket): Effect.Effect<string> =>
  Effect.suspend(() => {
    socket.write("what?")
    return answer(socket)
  })

const open = (port: number) => () =>
  Effect.acquireRelease(
    Effect.sync(() => connectTo({ port, host: "127.0.0.1", noDelay: true }).on("error", () => undefined)),
    (socket) => Effect.sync(() => socket.destroy())
  ).pipe(Effect.tap(answer))

/** The event loop does not turn for `ms`. */
const block = (ms: number): void => {
  for (const end = performance.now() + ms; performance.now() < end; );
}

const TIMEOUT = 500

describe("a process whose event loop was blocked for longer than every timeout", () => {
  it.live("serves the callers for which connections were being opened", () =>
    withServer((port) =>
      Effect.gen(function* () {
        const pool = yield* Pool.make({
          maxSize: 10,
          minIdle: 0,
          acquireTimeout: TIMEOUT,
          connectTimeout: TIMEOUT,
          connect: open(port)
        })
        const callers = yield* Effect.replicateEffect(Effect.fork(Pool.use(pool, () => Effect.succeed("served"))), 20)
        // The connect is on its way.
        yield* Effect.sleep(1)
        block(TIMEOUT + 200)
        const exits = yield* Effect.forEach(callers, Fiber.await)
        assert.deepStrictEqual(
          exits,
          Array.from({ length: 20 }, () => Exit.succeed("served"))
        )
        assert.strictEqual(Pool.unsafeStats(pool).connectFailures, 0)
      }).pipe(Effect.scoped)
    )
  )

  it.live("serves the callers that wait for connections whose answers have come meanwhile", () =>
    withServer((port) =>
      Effect.gen(function* () {
        const pool = yield* Pool.make({ maxSize: 4, minIdle: 4, acquireTimeout: TIMEOUT, connect: open(port) })
        while (Pool.unsafeStats(pool).available < 4) yield* Effect.sleep(5)
        const callers = yield* Effect.replicateEffect(Effect.fork(Pool.use(pool, ask)), 8)
        // The event loop does not turn meanwhile, so no answer comes before it is blocked.
        yield* Effect.yieldNow()
        assert.strictEqual(Pool.unsafeStats(pool).using, 4)
        block(TIMEOUT + 200)
        const exits = yield* Effect.forEach(callers, Fiber.await)
        assert.deepStrictEqual(
          exits,
          Array.from({ length: 8 }, () => Exit.succeed("what?"))
        )
      }).pipe(Effect.scoped)
    )
  )

  it.live("fails the callers that nothing has come for, and says that it did not run", () =>
    Effect.gen(function* () {
      const pool = yield* Pool.make({
        maxSize: 1,
        acquireTimeout: TIMEOUT,
        drainTimeout: 0,
        connect: () => Effect.succeed(1)
      })
      yield* Effect.fork(Pool.use(pool, () => Effect.never))
      yield* Effect.yieldNow()
      const caller = yield* Effect.fork(Effect.flip(Pool.use(pool, () => Effect.void)))
      yield* Effect.sleep(0)
      block(TIMEOUT + 200)
      const error = yield* Fiber.join(caller)
      assert.strictEqual(error._tag, "AcquireTimeout")
      assert.match(error.message, /The process did not run for \d+ ms or more: find what blocks the event loop\./)
    }).pipe(Effect.scoped)
  )
})
