/**
 * F30: the wall clock is set forward or back while something waits for a real server. Nothing ends early, nothing ends late, and
 * nothing that is under way becomes unknown.
 */
import { assert } from "@effect/vitest"
import * as Deadline from "@sluice/pool/Deadline"
import { Sql, SqlRetry } from "@sluice/sql"
import { Clock, Deferred, type Duration, Effect, Either, Fiber } from "effect"
import { executing, ours, reasonOf, rowsOf, table } from "./ours.js"

const HOUR = 3_600_000

/** Milliseconds that each form may take. The work would take a hundred times as long. */
const WAIT = 300

/** A live clock, and a way to set its wall time. */
const settable = () => {
  const live = Clock.make()
  let set = 0
  const millis = () => live.unsafeCurrentTimeMillis() + set
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: millis,
    unsafeCurrentTimeNanos: () => live.unsafeCurrentTimeNanos(),
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanos: live.currentTimeNanos,
    sleep: (duration: Duration.Duration) => live.sleep(duration)
  }
  const step = (by: number) =>
    Effect.sync(() => {
      set += by
    })
  return { clock, step }
}

ours("the wall clock", ({ insert, it, onPool, session, sleep }) => {
  const long = sleep(30)
  const after = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.zipRight(session, effect)
  /** Until its scope closes nobody else gets the only connection. */
  const held = Effect.gen(function* () {
    const isHeld = yield* Deferred.make<void>()
    const hold = after(Effect.zipRight(Deferred.succeed(isHeld, undefined), Effect.never))
    yield* Effect.forkScoped(Sql.withConnection(hold))
    yield* Deferred.await(isHeld)
  })
  const refused = Sql.withTransaction(Effect.zipRight(session, Effect.fail("refused" as const)))
  const forms = {
    "a statement with a deadline": ["StatementTimeout", Deadline.within(WAIT)(long)],
    "a pinned statement with a deadline": ["StatementTimeout", Sql.withConnection(after(Deadline.within(WAIT)(long)))],
    "a transaction with a timeout": ["StatementTimeout", Sql.withTransaction({ timeout: WAIT })(after(long))],
    "a wait for a connection": [
      "AcquireTimeout",
      Effect.scoped(Effect.zipRight(held, Sql.withAcquireTimeout(WAIT)(session)))
    ]
  } as const

  for (const by of [-HOUR, HOUR]) {
    const how = by < 0 ? "back" : "forward"
    for (const [form, [tag, effect]] of Object.entries(forms)) {
      it.effect(`${form} ends in time when it is set ${how}`, () => {
        const { clock, step } = settable()
        return onPool({ pool: { maxSize: 1 } }, () =>
          Effect.gen(function* () {
            yield* session
            const began = performance.now()
            const fiber = yield* Effect.fork(reasonOf(effect as Effect.Effect<unknown, unknown, Sql.Sql>))
            yield* Effect.sleep(WAIT / 3)
            yield* step(by)
            const reason = yield* Fiber.join(fiber)
            const elapsed = performance.now() - began
            assert.strictEqual(reason._tag, tag)
            assert.isTrue(elapsed >= WAIT - 20 && elapsed < 15_000, `${elapsed} ms`)
          })
        ).pipe(Effect.withClock(clock))
      })
    }

    it.effect(`a statement and a COMMIT that are under way end well when it is set ${how}`, () => {
      const { clock, step } = settable()
      return onPool({ pool: { maxSize: 2 }, statementTimeout: "30 seconds" }, (name) =>
        Effect.gen(function* () {
          yield* table("clocks", "id int primary key")
          const running = yield* Effect.fork(sleep(0.5))
          yield* executing(name, "sleep")
          yield* step(by)
          yield* Fiber.join(running)
          yield* Sql.withTransaction({ timeout: "30 seconds" })(Effect.zipRight(insert("clocks", 1), step(-by)))
          assert.deepStrictEqual(yield* rowsOf("clocks"), [1])
          assert.strictEqual(yield* Effect.flip(refused), "refused")
        })
      ).pipe(Effect.withClock(clock))
    })

    it.effect(`a policy is obeyed when it is set ${how}`, () => {
      const { clock, step } = settable()
      return onPool({}, () =>
        Effect.gen(function* () {
          let runs = 0
          const policy = Either.getOrThrow(SqlRetry.fromMatch({ match: [/.*/], max: 4, backoffBase: "20 millis" }))
          const failing = Effect.zipRight(
            Effect.sync(() => {
              runs++
            }),
            Effect.zipRight(step(by), Sql.query("select nothing_like_this"))
          )
          yield* Effect.flip(Sql.retry(policy)(Sql.idempotent(failing)))
          assert.strictEqual(runs, 4)
        })
      ).pipe(Effect.withClock(clock))
    })
  }
})
