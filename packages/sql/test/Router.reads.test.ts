/** What holds for reads around the choice of a router: lag, the share of the primary, words, and who is asked next. */
import { assert, describe, it } from "@effect/vitest"
import { Router, Sql, SqlReason, Topology } from "@sluice/sql"
import { Effect, Exit, Fiber, Layer, Logger } from "effect"
import * as FakeDriver from "./support/fakeDriver.js"
import { advance, idle, layer, played, reasonOf, tick } from "./support/sql.js"

const host = Effect.map(Sql.query<{ host: string }>("a"), (rows) => rows[0]!.host)

type Options = Parameters<typeof layer>[1]

/** A primary and the replicas r1 and r2, of which everything is known and good. */
const cluster = () => {
  const fake = FakeDriver.make()
  for (const replica of ["r1", "r2"]) fake.standbys.add(replica)
  for (const server of ["primary", "r1", "r2"]) fake.positions.set(server, 1)
  const logs: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => void logs.push(`${logLevel.label} ${String(message)}`))
  const run = <A, E, R>(body: Effect.Effect<A, E, R>, router: Router.Service = Router.leastBusy(), options?: Options) =>
    Effect.zipLeft(body, idle).pipe(
      Effect.provide(layer(fake, { replicas: ["r1", "r2"], ...options }).pipe(Layer.provide(Router.layer(router)))),
      Effect.provide(Logger.replace(Logger.defaultLogger, logger))
    )
  return { fake, logs, run }
}

type Cluster = ReturnType<typeof cluster>

const snapshot = Effect.map(Topology.Topology, (topology) => topology.snapshot())

const target = (label: string) =>
  Effect.map(Topology.Topology, (topology) => {
    const { primary, replicas } = topology.snapshot()
    return [primary, ...replicas].find((one) => one.label === label)!
  })

/** Where twelve reads go. */
const seen = Effect.map(
  Effect.forEach(Array.from({ length: 12 }), () => Sql.read(host)),
  (hosts) => [...new Set(hosts)].sort()
)

/** Reads are on their way that never end: so many connections are taken. */
const occupied = ({ fake }: Cluster, n: number) =>
  Effect.gen(function* () {
    fake.answers.set("hang", "hang")
    const begin = fake.log.length
    const fibers = yield* Effect.forEach(Array.from({ length: n }), () => Effect.fork(Sql.read(Sql.query("hang"))))
    while (fake.log.length < begin + n) yield* tick
    return { end: Fiber.interruptAll(fibers) }
  })

/** No replica is up, and the pools know that. */
const withoutReplicas = ({ fake }: Cluster) =>
  Effect.gen(function* () {
    fake.down.add("r1").add("r2")
    yield* advance(2_500)
  })

describe("a replica that does not answer", () => {
  it.effect("those who wait for a connection to it go elsewhere at once", () => {
    const all = cluster()
    return all.run(
      Effect.gen(function* () {
        const [r1, r2] = [yield* target("r1"), yield* target("r2")]
        const { end } = yield* occupied(all, 2)
        assert.deepStrictEqual([r1.using, r2.using], [1, 1])
        const waiting = yield* Effect.forEach([1, 2], () => Effect.fork(Sql.read(host)))
        while (r1.waiting + r2.waiting < 2) yield* tick
        assert.deepStrictEqual([r1.waiting, r2.waiting], [1, 1])
        all.fake.down.add("r1")
        // Half of the acquire timeout would be 2.5 s.
        yield* advance(2_100)
        assert.strictEqual(r1.waiting, 0)
        yield* end
        yield* Fiber.interruptAll(waiting)
      }),
      Router.leastBusy(),
      { pool: { maxSize: 1 } }
    )
  })
})

describe("lag", () => {
  it.effect(
    "one bad answer takes a replica out, said once; three good ones bring it back, said once, and spared",
    () => {
      const { fake, logs, run } = cluster()
      return run(
        Effect.gen(function* () {
          yield* advance(2_000)
          assert.deepStrictEqual(yield* seen, ["r1", "r2"])
          // The primary writes on, and r1 stays where it is.
          const write = Effect.gen(function* () {
            for (const server of ["primary", "r2"]) fake.positions.set(server, Number(fake.positions.get(server)) + 1)
            yield* advance(2_000)
          })
          yield* write
          const r1 = yield* target("r1")
          while (!r1.isLagging) {
            assert.isAtMost(r1.lag ?? 0, 10_000)
            yield* write
          }
          assert.isAbove(r1.lag!, 10_000)
          assert.isAtMost(r1.lag!, 12_000)
          yield* write
          yield* advance(1_000)
          assert.deepStrictEqual(yield* seen, ["r2"])
          assert.lengthOf(logs, 1)
          assert.match(logs[0]!, /^WARN replica r1 is \d+ ms behind the primary, which is more than the maxLag/)
          fake.positions.set("r1", Number(fake.positions.get("primary")))
          const { share } = r1
          assert.strictEqual(share, 1)
          let answers = 0
          for (; r1.isLagging; answers++) yield* advance(2_000)
          assert.strictEqual(answers, 3)
          assert.strictEqual(r1.lag, 0)
          assert.strictEqual(r1.share, 0.1)
          yield* advance(1_000)
          assert.lengthOf(logs, 2)
          assert.match(logs[1]!, /^INFO replica r1 is near enough/)
          // A tenth, then more with each answer, and all of it after half a minute.
          yield* advance(15_000)
          assert.closeTo(r1.share, 0.5, 0.1)
          yield* advance(16_000)
          assert.strictEqual(r1.share, 1)
          assert.strictEqual((yield* target("r2")).share, 1)
          assert.lengthOf(logs, 2)
        })
      )
    }
  )

  it.effect("a primary that writes nothing leaves nobody behind, whatever its replicas say", () => {
    const { fake, run } = cluster()
    fake.lags.set("r1", 3_600_000)
    return run(
      Effect.gen(function* () {
        yield* advance(20_000)
        assert.strictEqual((yield* target("r1")).lag, 0)
        assert.deepStrictEqual(yield* seen, ["r1", "r2"])
      })
    )
  })

  it.effect("what a replica says counts where positions say nothing", () => {
    const { fake, run } = cluster()
    fake.positions.delete("r1")
    fake.lags.set("r1", 3_000)
    return run(
      Effect.gen(function* () {
        yield* advance(100)
        assert.strictEqual((yield* target("r1")).lag, 3_000)
        assert.deepStrictEqual(yield* seen, ["r2"])
      }),
      Router.leastBusy({ maxLag: "2 seconds" })
    )
  })

  for (const what of ["is not told", "must not be asked for"]) {
    it.effect(`a lag that ${what} is warned of once, and the replica gets reads`, () => {
      const { fake, logs, run } = cluster()
      if (what === "is not told") {
        fake.positions.delete("r1")
        fake.lags.set("r1", undefined)
      } else fake.closed.add("r1")
      return run(
        Effect.gen(function* () {
          yield* advance(20_000)
          assert.deepStrictEqual(yield* seen, ["r1", "r2"])
          assert.lengthOf(logs, 1)
          assert.match(logs[0]!, /^WARN how far replica r1 is behind the primary cannot be told, so it gets reads/)
        })
      )
    })
  }

  it.effect("off means that nothing is too far behind, and nothing is said of a lag that is not known", () => {
    const { fake, logs, run } = cluster()
    fake.positions.delete("r1")
    fake.lags.set("r1", undefined)
    fake.lags.set("r2", 3_600_000)
    fake.positions.delete("r2")
    return run(
      Effect.gen(function* () {
        yield* advance(20_000)
        assert.deepStrictEqual(yield* seen, ["r1", "r2"])
        assert.deepStrictEqual(logs, [])
      }),
      Router.leastBusy({ maxLag: "off" })
    )
  })

  it.effect("while the primary does not answer nobody falls behind it", () => {
    const { fake, run } = cluster()
    return run(
      Effect.gen(function* () {
        yield* advance(2_000)
        for (const server of ["primary", "r2"]) fake.positions.set(server, 2)
        yield* advance(2_000)
        fake.down.add("primary")
        yield* advance(30_000)
        assert.deepStrictEqual(yield* seen, ["r1", "r2"])
      })
    )
  })

  it.effect("a replica that falls behind keeps the pin and the transaction that are on it", () => {
    const { fake, run } = cluster()
    const body = (end: Effect.Effect<void>) =>
      Effect.gen(function* () {
        const first = yield* host
        yield* end
        for (let i = 0; i < 5; i++) assert.strictEqual(yield* host, first)
        return first
      })
    const outdate = Effect.gen(function* () {
      for (const replica of ["r1", "r2"]) {
        fake.positions.delete(replica)
        fake.lags.set(replica, 60_000)
      }
      yield* advance(2_000)
      assert.isTrue((yield* snapshot).replicas.every(({ isLagging }) => isLagging))
    })
    return run(
      Effect.gen(function* () {
        yield* advance(2_000)
        const topology = yield* Topology.Topology
        const ends = Effect.provideService(outdate, Topology.Topology, topology)
        assert.include(["r1", "r2"], yield* Sql.read(Sql.withTransaction(body(ends))))
        assert.strictEqual(yield* Sql.read(host), "primary")
      })
    )
  })
})

describe("the primary in place of replicas", () => {
  it.effect("takes so many reads at the same time as its share says; the next ones wait, and writes do not", () => {
    const own = cluster()
    return own.run(
      Effect.gen(function* () {
        yield* withoutReplicas(own)
        const others = yield* occupied(own, 2)
        const third = yield* Effect.fork(Sql.read(host))
        const fourth = yield* Effect.fork(Sql.read(host))
        for (let i = 0; i < 20; i++) yield* tick
        assert.isNull(third.unsafePoll())
        assert.strictEqual(yield* host, "primary")
        yield* Fiber.interrupt(third)
        yield* others.end
        assert.strictEqual(yield* Fiber.join(fourth), "primary")
        assert.deepStrictEqual(yield* seen, ["primary"])
      }),
      Router.leastBusy(),
      { pool: { maxSize: 4 } }
    )
  })

  it.effect("pins and transactions keep their place of the share until they end", () => {
    const own = cluster()
    return own.run(
      Effect.gen(function* () {
        yield* withoutReplicas(own)
        const long = Effect.zipRight(host, Effect.sleep(1_000))
        for (const work of [Sql.withConnection(long), Sql.withTransaction(long)]) {
          const outer = yield* Effect.fork(Sql.read(work))
          yield* advance(100)
          const other = yield* Effect.fork(Sql.read(host))
          yield* advance(500)
          assert.isNull(other.unsafePoll())
          assert.strictEqual(yield* played(Fiber.join(other)), "primary")
          yield* Fiber.join(outer)
        }
      }),
      Router.leastBusy(),
      { pool: { maxSize: 2 } }
    )
  })

  it.effect("a read that has waited in vain fails with NoReplica, which says what to do", () => {
    const own = cluster()
    return own.run(
      Effect.gen(function* () {
        yield* withoutReplicas(own)
        const others = yield* occupied(own, 2)
        const error = yield* played(Effect.flip(Sql.read(host)))
        const reason = SqlReason.of(error)
        assert.deepInclude(reason, { _tag: "NoReplica", retry: "never", outcome: "none", connection: "none" })
        assert.match(
          error.message,
          /^Fake: no replica can be read from \(r1 cannot be reached, r2 cannot be reached\), and the primary has as many reads .*\(primaryReadShare, 50 % of its 4 connections\).*2\d\d ms.*What to do: .*raise primaryReadShare/
        )
        yield* others.end
      }),
      Router.leastBusy(),
      { pool: { maxSize: 4, acquireTimeout: "200 millis" } }
    )
  })

  it.effect("with a share of 0 it takes none, and nobody waits; with 1 all that it has", () => {
    const own = cluster()
    return Effect.zipRight(
      own.run(
        Effect.gen(function* () {
          yield* withoutReplicas(own)
          assert.strictEqual((yield* reasonOf(Sql.read(host)))._tag, "NoReplica")
          assert.strictEqual(yield* host, "primary")
        }),
        Router.leastBusy({ primaryReadShare: 0 })
      ),
      own.run(
        Effect.gen(function* () {
          yield* withoutReplicas(own)
          const others = yield* occupied(own, 4)
          yield* others.end
        }),
        Router.leastBusy({ primaryReadShare: 1 }),
        { pool: { maxSize: 4 } }
      )
    )
  })

  it.effect("who waits goes to the replica that comes back", () => {
    const own = cluster()
    return own.run(
      Effect.gen(function* () {
        yield* withoutReplicas(own)
        const others = yield* occupied(own, 1)
        const waits = yield* Effect.fork(Sql.read(host))
        yield* advance(200)
        assert.isNull(waits.unsafePoll())
        own.fake.down.delete("r2")
        assert.strictEqual(yield* played(Fiber.join(waits)), "r2")
        yield* others.end
      }),
      Router.leastBusy(),
      { pool: { maxSize: 2, acquireTimeout: "1 minute" } }
    )
  })

  it.effect("what a router sends there on purpose does not count", () => {
    const own = cluster()
    const router: Router.Service = {
      ...Router.leastBusy({ primaryReadShare: 0 }),
      choose: (_intent, _token, { primary }) => primary
    }
    return own.run(
      Effect.gen(function* () {
        const others = yield* occupied(own, 3)
        assert.strictEqual(yield* Sql.read(host), "primary")
        yield* others.end
      }),
      router,
      { pool: { maxSize: 4 } }
    )
  })
})

describe("words", () => {
  for (const word of ["standby", "read-only"] as const) {
    it.effect(`${word}: reads that no replica can take fail at once, and the primary gets none`, () => {
      const own = cluster()
      return own.run(
        Effect.gen(function* () {
          assert.notInclude(yield* seen, "primary")
          yield* withoutReplicas(own)
          const error = yield* played(Effect.flip(Sql.read(Sql.withTransaction(host))))
          assert.deepInclude(SqlReason.of(error), { _tag: "NoReplica", retry: "always", outcome: "none" })
          assert.match(error.message, new RegExp(`"${word}" sends no read to the primary.*prefer-standby`))
          assert.strictEqual(yield* host, "primary")
        }),
        Router.leastBusy({ target: word })
      )
    })

    it.effect(`${word} for what is not marked: the same, and what is marked goes by the word of the router`, () => {
      const own = cluster()
      return own.run(
        Effect.gen(function* () {
          assert.include(["r1", "r2"], yield* host)
          yield* withoutReplicas(own)
          assert.strictEqual((yield* reasonOf(played(host)))._tag, "NoReplica")
          assert.strictEqual(yield* Sql.read(host), "primary")
          assert.strictEqual(yield* Sql.write(host), "primary")
          // What has been written only the primary knows.
          assert.strictEqual(yield* host, "primary")
        }),
        Router.leastBusy(),
        { target: word }
      )
    })
  }

  it.effect("any for what is not marked: the primary, and without it any server that answers", () => {
    const own = cluster()
    return own.run(
      Effect.gen(function* () {
        assert.strictEqual(yield* host, "primary")
        own.fake.down.add("primary")
        yield* Sql.reset()
        yield* advance(2_500)
        assert.include(["r1", "r2"], yield* host)
      }),
      Router.leastBusy(),
      { target: "any" }
    )
  })

  it.effect("a server that stands alone answers for everybody", () => {
    const own = cluster()
    return own.run(
      Effect.gen(function* () {
        assert.strictEqual(yield* host, "primary")
        assert.strictEqual(yield* Sql.read(host), "primary")
      }),
      Router.leastBusy({ target: "standby", primaryReadShare: 0 }),
      { replicas: [], target: "standby" }
    )
  })
})

it.effect("a read that gets no connection in half of its time goes to another replica, and then to the primary", () => {
  const own = cluster()
  return own.run(
    Effect.gen(function* () {
      const others = yield* occupied(own, 2)
      assert.strictEqual(yield* played(Sql.read(host)), "primary")
      const read = yield* Effect.fork(Sql.read(host))
      yield* advance(550, 25)
      assert.isNull(read.unsafePoll())
      // The one that it was sent to first is the one that it does not wait for any more.
      const waiting = (yield* snapshot).replicas.filter((replica) => replica.waiting === 1)
      assert.lengthOf(waiting, 1)
      yield* others.end
      assert.strictEqual(yield* Fiber.join(read), waiting[0]!.label)
    }),
    Router.roundRobin(),
    { pool: { maxSize: 1, acquireTimeout: "1 second" } }
  )
})

it.effect("a router that insists on a target without a connection gets the primary, and no endless loop", () => {
  const own = cluster()
  own.fake.answers.set("hang", "hang")
  const router: Router.Service = { choose: (_intent, _token, { replicas }) => (kept ??= replicas[0]!) }
  let kept: Topology.Target | undefined
  return own.run(
    Effect.gen(function* () {
      const others = yield* occupied(own, 1)
      assert.strictEqual(yield* played(Sql.read(host)), "primary")
      const exit = yield* Effect.exit(others.end)
      assert.isTrue(Exit.isSuccess(exit))
    }),
    router,
    { pool: { maxSize: 1, acquireTimeout: "1 second" } }
  )
})

describe("a read whose connection was lost at a replica", () => {
  const lost = (cause: object) =>
    SqlReason.toError(
      SqlReason.make("ConnectionLost", { connection: "destroy", outcome: "unknown", retry: "idempotent", cause }),
      "lost"
    )

  /** Where a read goes on that has lost its connection at r1, which is the only replica and stays up. */
  const goesOn = (router: Router.Service) => {
    const { fake, run } = cluster()
    const read = Effect.gen(function* () {
      assert.strictEqual(yield* Sql.read(host), "r1")
      const cause = new Error("r1 stops")
      fake.connections.find((one) => one.host === "r1")!.signals.broken(cause)
      fake.failures.set("a", [lost(cause)])
      return yield* played(Sql.read(host))
    })
    return run(read, router, { replicas: ["r1"] })
  }

  it.effect("goes on at another server", () =>
    Effect.map(goesOn(Router.leastBusy()), (where) => assert.strictEqual(where, "primary"))
  )

  it.effect("goes on at the same one, if the primary takes no reads", () =>
    Effect.map(goesOn(Router.leastBusy({ primaryReadShare: 0 })), (where) => assert.strictEqual(where, "r1"))
  )

  it.effect("goes on at the same one, if the word of the router keeps it from the primary", () =>
    Effect.map(goesOn(Router.leastBusy({ target: "standby" })), (where) => assert.strictEqual(where, "r1"))
  )
})
