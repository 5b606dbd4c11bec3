import { EventEmitter } from "node:events"
import type { Socket } from "node:net"
import type { SqlError } from "@effect/sql/SqlError"
import { assert, it } from "@effect/vitest"
import { SqlReason } from "@sluice/sql"
import { Connect } from "@sluice/sql/driver"
import { Deferred, Effect, Exit, Fiber, Scope, TestClock } from "effect"

/** A library of one connection, which does what the test says. */
class Library extends EventEmitter implements Connect.Client, Connect.Wire {
  state: "idle" | "busy" = "idle"
  isEnding = false
  destroyed = 0
  ended = 0
  failed: unknown = undefined
  accept: (error: unknown) => void = () => {}
  readonly stream = Object.assign(new EventEmitter(), {
    destroyed: false,
    /** Bytes that the system has not taken yet. */
    writableLength: 0,
    destroy: () => this.destroyed++,
    end: () => {}
  }) as unknown as Socket
  readonly pipeline = {
    fail: (reason: unknown) => {
      this.failed = reason
    },
    destroy: () => this.stream.destroy()
  } as never
  readonly wire = this

  connect(callback: (error: unknown) => void): void {
    this.accept = callback
  }

  end(): void {
    this.ended++
  }

  status() {
    return this.state
  }
}

const refused = (cause: unknown): SqlError =>
  SqlReason.toError(SqlReason.make("ConnectFailed", { connection: "none", retry: "always", cause }), "refused")

/** Of a fiber, until it lets others run. With fewer it would never come to an end. */
const OPERATIONS = 11

type Means = Connect.Means<Library, Library>

const connect = (means: Pick<Means, "client"> & Partial<Means>) =>
  Connect.open<Library, Library>({
    signals: { broken: () => {}, fatal: () => {}, isEnding: () => false },
    wireOf: (client) => client,
    connection: (client) => () => {
      client.on("error", () => {})
      return client
    },
    refused,
    stop: () => Effect.void,
    ...means
  })

const opening = (library: Library, more: Partial<Means> = {}) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const signals = { broken: () => {}, fatal: () => {}, isEnding: () => library.isEnding }
    const fiber = yield* Effect.fork(
      Scope.extend(connect({ client: Effect.succeed(() => library), signals, ...more }), scope)
    )
    yield* Effect.yieldNow()
    return { fiber, scope }
  })

it.effect("an idle connection says goodbye, and its socket is cut when the server has closed its side", () =>
  Effect.gen(function* () {
    const library = new Library()
    const { fiber, scope } = yield* opening(library)
    library.accept(null)
    assert.strictEqual(yield* Fiber.join(fiber), library)
    const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
    yield* TestClock.adjust(Connect.GOODBYE - 1)
    assert.deepStrictEqual([library.ended, library.destroyed], [1, 0])
    library.emit("end")
    yield* Fiber.join(closing)
    assert.deepStrictEqual([library.ended, library.destroyed], [1, 1])
  })
)

it.effect(
  "when the pool ends, the socket is cut as soon as the goodbye was handed to the network, within a bound",
  () =>
    Effect.gen(function* () {
      const ending = Effect.fnUntraced(function* (writableLength: number) {
        const library = new Library()
        const { fiber, scope } = yield* opening(library)
        library.accept(null)
        yield* Fiber.join(fiber)
        library.isEnding = true
        Object.assign(library.stream, { writableLength })
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* Effect.yieldNow()
        return { library, closing }
      })
      const handedOver = yield* ending(0)
      yield* Fiber.join(handedOver.closing)
      assert.deepStrictEqual([handedOver.library.ended, handedOver.library.destroyed], [1, 1])

      const slow = yield* ending(5)
      assert.deepStrictEqual([slow.library.ended, slow.library.destroyed], [1, 0])
      slow.library.stream.emit("finish")
      yield* Fiber.join(slow.closing)
      assert.strictEqual(slow.library.destroyed, 1)

      const stuck = yield* ending(5)
      yield* TestClock.adjust(Connect.GOODBYE)
      yield* Fiber.join(stuck.closing)
      assert.strictEqual(stuck.library.destroyed, 1)
    })
)

it.effect("a goodbye that the server does not answer is cut short after its bound", () =>
  Effect.gen(function* () {
    const library = new Library()
    const { fiber, scope } = yield* opening(library)
    library.accept(null)
    yield* Fiber.join(fiber)
    const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
    yield* TestClock.adjust(Connect.GOODBYE)
    yield* Fiber.join(closing)
    assert.deepStrictEqual([library.ended, library.destroyed], [1, 1])
  })
)

it.effect("a busy connection is stopped and cut, without a goodbye", () =>
  Effect.gen(function* () {
    const library = new Library()
    const seen: Array<string> = []
    const { fiber, scope } = yield* opening(library, {
      stop: () => Effect.sync(() => seen.push(`stopped, ${library.destroyed} cut`))
    })
    library.accept(null)
    yield* Fiber.join(fiber)
    library.state = "busy"
    yield* Scope.close(scope, Exit.void)
    assert.deepStrictEqual([seen, library.ended, library.destroyed], [["stopped, 0 cut"], 0, 1])
  })
)

it.effect(
  "a connect that is interrupted, refused, or fails in its first statement leaves no socket and no listener",
  () =>
    Effect.gen(function* () {
      const interrupted = new Library()
      const one = yield* opening(interrupted)
      assert.strictEqual(interrupted.listenerCount("error"), 1, "an error before the answer does not end the process")
      yield* Fiber.interrupt(one.fiber)
      assert.isAtLeast(interrupted.destroyed, 1)

      const no = new Library()
      const two = yield* opening(no)
      no.accept(new Error("no"))
      assert.strictEqual(SqlReason.of(yield* Effect.flip(Fiber.join(two.fiber)))._tag, "ConnectFailed")
      assert.isAtLeast(no.destroyed, 1)

      const late = new Library()
      const three = yield* opening(late, { begin: () => Effect.fail(refused("begin")) })
      late.accept(null)
      yield* Effect.flip(Fiber.join(three.fiber))
      assert.isAtLeast(late.destroyed, 1)
    })
)

it.effect("a connect is interrupted while its first statement runs: the connection is closed with its scope", () =>
  Effect.gen(function* () {
    const library = new Library()
    const begun = yield* Deferred.make<void>()
    const { fiber } = yield* opening(library, {
      begin: () => Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)
    })
    library.accept(null)
    yield* Deferred.await(begun)
    yield* Fiber.interrupt(fiber)
    assert.isAtLeast(library.destroyed, 1)
  })
)

it.effect("a connect is interrupted at any moment: a socket that its library opens with the client is closed", () =>
  Effect.gen(function* () {
    let finished = 0
    const signals = { broken: () => {}, fatal: () => {}, isEnding: () => true }
    for (let ahead = 0; ahead < OPERATIONS; ahead++) {
      for (let step = 0; step < 200; step++) {
        let library: Library | undefined
        const client = Effect.succeed(() => {
          library = new Library()
          return library
        })
        const scope = yield* Scope.make()
        const fiber = yield* Effect.repeatN(Effect.void, ahead).pipe(
          Effect.zipRight(Scope.extend(connect({ client, signals }), scope)),
          Effect.withMaxOpsBeforeYield(OPERATIONS),
          Effect.fork
        )
        for (let i = 0; i < step; i++) {
          yield* Effect.yieldNow()
          library?.accept(null)
        }
        const exit = yield* Fiber.interrupt(fiber)
        yield* Scope.close(scope, Exit.void)
        if (library !== undefined) {
          assert.isAtLeast(library.destroyed, 1, `${ahead} operations ahead, ${step} steps`)
        }
        if (Exit.isFailure(exit)) continue
        finished++
        break
      }
    }
    assert.strictEqual(finished, OPERATIONS, "every connect has seen its end, so every step was tried")
  })
)

it.effect("a scope that another fiber closes before the password is known: no client is made", () =>
  Effect.gen(function* () {
    const password = yield* Deferred.make<void>()
    const scope = yield* Scope.make()
    let made = 0
    const client = Effect.as(Deferred.await(password), () => {
      made++
      return new Library()
    })
    const fiber = yield* Effect.fork(Scope.extend(connect({ client }), scope))
    yield* Effect.yieldNow()
    yield* Scope.close(scope, Exit.void)
    yield* Deferred.succeed(password, undefined)
    assert.strictEqual(SqlReason.of(yield* Effect.flip(Fiber.join(fiber)))._tag, "ConnectFailed")
    assert.strictEqual(made, 0)
  })
)
