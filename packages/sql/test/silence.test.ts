/**
 * How silent connections are judged, on a clock that the test moves. That a real server is asked rightly is shown by
 * `test/fault/frozen.test.ts`.
 */
import { assert, it } from "@effect/vitest"
import * as Deadline from "@sluice/pool/Deadline"
import type * as Driver from "@sluice/sql/driver/Driver"
import * as SqlReason from "@sluice/sql/SqlReason"
import { Effect, Scope, TestClock } from "effect"
import * as Silence from "../src/internal/routing/silence.js"

/** A connection with one statement under way. */
class Connection implements Driver.Awaiting {
  isBusy = true
  operation: object | undefined = {}
  answeredAt = 0
  received = 100
  roundTrip = 1
  moved = 0
  lost: string | undefined = undefined
  observer: Driver.Observer | undefined = undefined
  session: Driver.SessionState = { state: "working", mark: "1" }

  constructor(
    readonly since: number,
    public server: string | undefined
  ) {}

  observe(observer: Driver.Observer): void {
    this.observer = observer
  }

  sendElsewhere(): void {
    this.moved++
  }

  lose(cause: Error): void {
    this.lost = cause.message
    this.isBusy = false
    this.operation = undefined
  }
}

const setup = Effect.gen(function* () {
  const real = yield* Deadline.make
  let skipped = 0
  const timers: Deadline.Timers["Type"] = {
    now: () => real.now() + skipped,
    set: (at, late) => real.set(at - skipped, late),
    isLate: () => false
  }
  /** The process does not run for so long. */
  const skip = (millis: number) =>
    Effect.sync(() => {
      skipped += millis
    })
  /** The server that new control connections are led to. */
  const world = {
    leadsTo: ["A"],
    isReachable: true,
    left: 0,
    hasOther: false,
    questions: [] as Array<number>,
    fatal: 0
  }
  let opened = 0
  let open: string | undefined
  const connect = () => world.leadsTo[opened++ % world.leadsTo.length]!
  const unreachable = SqlReason.toError(SqlReason.make("ConnectFailed", { connection: "none" }), "unreachable")
  const runOn =
    (isNew: boolean): Driver.Control<Connection> =>
    (f) =>
      Effect.suspend(() => {
        world.questions.push(timers.now())
        if (!world.isReachable) return Effect.fail(unreachable)
        open = isNew ? connect() : (open ?? connect())
        return f(new Connection(0, open))
      })
  const silence: Driver.Silence<Connection> = {
    awaiting: (connection) => connection,
    server: ({ server }) => server,
    ask: ({ server }, suspects) =>
      Effect.sync(() => ({
        server,
        sessions: suspects.map((one) => (one.server === server ? one.session : { state: "gone" as const, mark: "" }))
      }))
  }
  const connections: Array<Connection> = []
  const { connect: watched, isSilent } = yield* Silence.make<Connection>({
    driver: { silence } as unknown as Driver.Driver<any, Connection>,
    connect: () => Effect.sync(() => connections[connections.length - 1]!),
    control: {
      run: runOn(false),
      runAnew: runOn(true),
      rest: Effect.void,
      stats: () => ({ open: open === undefined ? 0 : 1, connects: 0 })
    },
    timers,
    leave: () => {
      world.left++
      return world.hasOther
    }
  })
  const scope = yield* Effect.scope
  const signals: Driver.Signals = {
    broken: () => {},
    fatal: () => {
      world.fatal++
    },
    isEnding: () => false,
    role: () => {}
  }
  /** Opens a connection that has a statement under way. */
  const busy = (server: string | null = "A") =>
    Effect.suspend(() => {
      connections.push(new Connection(timers.now(), server ?? undefined))
      return Scope.extend(watched(signals), scope)
    })
  const pass = (millis: number) => Effect.replicateEffect(TestClock.adjust(50), millis / 50, { discard: true })
  return { busy, isSilent, pass, skip, timers, world }
})

it.scoped("a session that the server does not know is lost after half a second, and the pool is told once", () =>
  Effect.gen(function* () {
    const { busy, pass, world } = yield* setup
    const gone = [yield* busy(), yield* busy()]
    const works = yield* busy()
    for (const one of gone) one.session = { state: "gone", mark: "" }
    yield* pass(450)
    assert.deepStrictEqual([world.questions.length, gone[0]!.lost], [0, undefined])
    yield* pass(200)
    for (const one of gone) assert.match(one.lost!, /^Connection terminated: the server does not know the session/)
    assert.deepStrictEqual([works.lost, world.fatal, world.questions.length], [undefined, 1, 1])
  })
)

it.scoped("one that waits for the client is lost when it says so twice, with a pause, and nothing has come", () =>
  Effect.gen(function* () {
    const { busy, pass, world } = yield* setup
    const [frozen, slow, busier] = [yield* busy(), yield* busy(), yield* busy()]
    for (const one of [frozen, slow, busier]) one.session = { state: "waiting", mark: "1" }
    yield* pass(650)
    assert.deepStrictEqual([world.questions.length, frozen.lost], [1, undefined])
    // An answer is on its way, and a statement of the session has begun after the first question.
    slow.received++
    busier.session = { state: "waiting", mark: "2" }
    yield* pass(400)
    assert.match(frozen.lost!, /waits for the client, and its answer does not arrive/)
    assert.deepStrictEqual([slow.lost, busier.lost, world.fatal, world.questions.length], [undefined, undefined, 1, 2])
    yield* pass(400)
    assert.isDefined(busier.lost)
  })
)

it.scoped("one that works is left alone, and the pauses between two questions grow up to five seconds", () =>
  Effect.gen(function* () {
    const { busy, pass, world } = yield* setup
    const works = yield* busy()
    yield* pass(20_000)
    assert.isUndefined(works.lost)
    const pauses = world.questions.map((at, i) => at - (world.questions[i - 1] ?? works.since))
    for (const [i, pause] of [500, 1_000, 2_000, 4_000, 5_000, 5_000].entries()) {
      assert.isAtLeast(pauses[i]!, pause)
      assert.isAtMost(pauses[i]!, pause + 150)
    }
    assert.lengthOf(pauses, 6)
    // Its next statement is another one.
    works.operation = {}
    works.received++
    yield* pass(700)
    assert.lengthOf(world.questions, 7)
  })
)

it.scoped("the server is asked once a second for all of them, and behind a long way after a second", () =>
  Effect.gen(function* () {
    const { busy, pass, world } = yield* setup
    const far = yield* busy()
    far.roundTrip = 150
    yield* pass(950)
    assert.lengthOf(world.questions, 0)
    for (let i = 0; i < 20; i++) {
      yield* busy()
      yield* pass(100)
    }
    const gaps = world.questions.map((at, i) => at - (world.questions[i - 1] ?? 0))
    for (const gap of gaps) assert.isAtLeast(gap, 1_000)
    assert.isAbove(gaps.length, 1)
  })
)

it.scoped("nobody is asked behind a proxy, nor while nothing is awaited, nor because this process did not run", () =>
  Effect.gen(function* () {
    const { busy, pass, skip, world } = yield* setup
    const behindProxy = yield* setup
    const proxied = yield* behindProxy.busy(null)
    const [resting, held] = [yield* busy(), yield* busy()]
    // The program reads a stream slowly.
    resting.operation = undefined
    yield* pass(300)
    yield* skip(600_000)
    yield* pass(100)
    held.operation = undefined
    yield* pass(3_000)
    assert.deepStrictEqual([world.questions, resting.lost], [[], undefined])
    assert.deepStrictEqual([behindProxy.world.questions, proxied.lost], [[], undefined])
  })
)

it.scoped("a load balancer leads the question to another server: the statement is left alone", () =>
  Effect.gen(function* () {
    const { busy, pass, timers, world } = yield* setup
    world.leadsTo = ["B", "C", "B", "A"]
    const works = yield* busy("A")
    yield* pass(15_000)
    assert.isUndefined(works.lost)
    // As long as another connection shows that the server lives, it has no successor.
    world.leadsTo = ["B"]
    const other = yield* busy("A")
    for (let i = 0; i < 3; i++) {
      other.answeredAt = timers.now()
      other.received++
      yield* pass(5_000)
    }
    assert.isUndefined(works.lost)
  })
)

it.scoped("a server that is gone for good has a successor: the statement is lost after ten seconds", () =>
  Effect.gen(function* () {
    const { busy, pass, world } = yield* setup
    world.leadsTo = ["B"]
    const frozen = yield* busy("A")
    const onOther = yield* busy("B")
    yield* pass(9_900)
    assert.isUndefined(frozen.lost)
    yield* pass(2_000)
    assert.match(frozen.lost!, /another server answers at this address/)
    assert.isUndefined(onOther.lost)
  })
)

it.scoped("a host that does not answer at all is silent: nothing is lost, reads go elsewhere, until it answers", () =>
  Effect.gen(function* () {
    const { busy, isSilent, pass, timers, world } = yield* setup
    world.isReachable = false
    const frozen = yield* busy()
    frozen.observer!.late(timers.now() + 5)
    assert.isTrue(isSilent())
    yield* pass(90)
    assert.deepStrictEqual([frozen.moved, world.left], [0, 0])
    yield* pass(100)
    // There is no other host, so nobody leaves before the server was asked.
    assert.strictEqual(frozen.moved, 0)
    assert.isAbove(world.left, 0)
    yield* pass(500)
    assert.isAbove(frozen.moved, 0)
    yield* pass(10_000)
    assert.isUndefined(frozen.lost)
    assert.isTrue(isSilent())
    // Somebody looks whether it is back, at most once a second.
    assert.isAtMost(world.questions.length, 11)
    world.isReachable = true
    yield* pass(1_200)
    assert.isFalse(isSilent())
    assert.isUndefined(frozen.lost)
  })
)

it.scoped(
  "a replica that answers on no connection, a new one neither, loses its statements: another can execute them",
  () =>
    Effect.gen(function* () {
      const { busy, pass, world } = yield* setup
      world.isReachable = false
      world.hasOther = true
      const [frozen, slow] = [yield* busy(), yield* busy()]
      yield* pass(450)
      assert.isUndefined(frozen.lost)
      yield* pass(300)
      for (const one of [frozen, slow]) assert.match(one.lost!, /no new connection to it is answered/)
      assert.strictEqual(world.fatal, 1)
    })
)

it.scoped(
  "a host is not silent while another connection of it gets bytes, and no longer than until the next byte",
  () =>
    Effect.gen(function* () {
      const { busy, isSilent, pass, timers, world } = yield* setup
      world.hasOther = true
      const [late, lively] = [yield* busy(), yield* busy()]
      yield* pass(100)
      lively.answeredAt = timers.now()
      lively.received++
      late.observer!.late(timers.now() - 50)
      assert.isFalse(isSilent())
      yield* pass(60)
      late.observer!.late(timers.now())
      assert.isTrue(isSilent())
      yield* pass(150)
      assert.isAbove(late.moved, 0)
      lively.received++
      assert.isFalse(isSilent())
    })
)
