/**
 * A primary and two replicas, fifty workers, and faults at random: whatever a worker was told must be true at the end.
 *
 * A replica is promoted only after the primary was fenced and the replica has received all that it had acknowledged, because
 * replication is asynchronous: what a primary that crashed has not sent on is lost by the database, not by its client. So a
 * primary that was killed always comes back as the primary.
 */
import { Sql, Topology } from "@sluice/sql"
import { Effect, Fiber, Logger, Random, type Scope } from "effect"
import * as Faults from "./chaos/faults.js"
import { Ledger } from "./chaos/ledger.js"
import { type Database, type Kind, kinds, type Servers } from "./chaos/servers.js"
import { ACCOUNTS, type Load, MONEY, tables, WORKERS, worker } from "./chaos/workload.js"
import {
  atLeast,
  balanced,
  opened as booksOf,
  type Claim,
  everySecond,
  exactly,
  isTrue,
  memory,
  number,
  type Settings,
  type Soak,
  sockets,
  socketsOneByOne,
  within
} from "./soak.js"

/** The part of the throughput between faults that must be back. Not all of it: the machine does other things too. */
const PART = 0.5

/** Seconds within which it must be back after a fault has healed. */
const BACK = 20

const median = (numbers: ReadonlyArray<number>): number =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!

const isOdd = (n: number): boolean => n % 2 === 1

/** Milliseconds for which this process was held up, which no caller can be blamed for. */
const watchProcess = Effect.gen(function* () {
  let heldUp = 0
  let before = performance.now()
  yield* Effect.sleep("20 millis").pipe(
    Effect.zipRight(
      Effect.sync(() => {
        const now = performance.now()
        heldUp += Math.max(0, now - before - 25)
        before = now
      })
    ),
    Effect.forever,
    Effect.forkScoped
  )
  return () => heldUp
})

/** Work done per second, in the last second. */
const watchThroughput = (ledger: Ledger) =>
  Effect.gen(function* () {
    const samples: Array<{ readonly at: number; readonly done: number }> = []
    yield* Effect.sync(() => {
      samples.push({ at: performance.now(), done: ledger.done })
      if (samples.length > 11) samples.shift()
    }).pipe(Effect.zipRight(Effect.sleep("100 millis")), Effect.forever, Effect.forkScoped)
    return {
      now: () => {
        const [first] = samples
        if (first === undefined) return 0
        return ((ledger.done - first.done) * 1_000) / Math.max(1, performance.now() - first.at)
      },
      /** What was done before counts no more. */
      anew: () => void samples.splice(0)
    }
  })

/** One fault, or two that overlap. Both have healed at the end. */
const episode = (servers: Servers, ledger: Ledger, say: (text: string) => void) =>
  Effect.gen(function* () {
    const begin = Effect.flatMap(Faults.choose(servers), (fault) => {
      if (fault === undefined) return Effect.succeed(Fiber.void as Fiber.Fiber<void, unknown>)
      say(fault.text)
      if (fault.on.includes(servers.primary)) ledger.primaryTroubles |= 1
      return Effect.fork(Faults.run(servers, fault))
    })
    const first = yield* begin
    const isAlone = yield* Random.nextBoolean
    yield* Effect.sleep((yield* Random.nextRange(0, 2)) * 1_000)
    const second = isAlone ? Fiber.void : yield* begin
    yield* Fiber.join(first)
    yield* Fiber.join(second)
    yield* Faults.heal(servers)
  })

const audit = (servers: Servers, ledger: Ledger, from: number, to: number) =>
  Effect.suspend(() => {
    const told = ledger.told(from, to)
    return Effect.map(
      servers.primary.query<{ id: string; n: unknown }>(
        `select id, count(*) as n from entries where episode between ${from} and ${to} group by id`
      ),
      (rows) => ledger.audit(told, rows)
    )
  })

/** What is known of the client, for somebody who looks for the reason of a failed claim. */
const picture = Effect.gen(function* () {
  const { read, write } = yield* Sql.stats
  const { isWritable, primary, replicas } = (yield* Topology.Topology).snapshot()
  const pools = [write, ...read].map(
    ({ available, connecting, endpoint, host, quarantined, using, waiting }) =>
      `${endpoint}: ${host}, ${using} used, ${available} available, ${connecting} connecting, ${quarantined} quarantined, ${waiting} waiting`
  )
  const roles = [primary, ...replicas].map(
    ({ isSilent, isUp, label, lag, role }) =>
      `${label} ${role}${isUp ? "" : " down"}${isSilent ? " silent" : ""} lag ${lag}`
  )
  return [...pools, `${isWritable ? "writable" : "not writable"}: ${roles.join("; ")}`].join("\n      ")
})

const under = (
  { progress, seconds = 120, seed }: Settings,
  kind: Kind
): Effect.Effect<ReadonlyArray<Claim>, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const servers = yield* kind.make
    for (const statement of tables) yield* servers.primary.query(statement)
    yield* Faults.heal(servers)
    const began = performance.now()
    const elapsed = () => (performance.now() - began) / 1_000
    const say = (text: string) => progress(`${elapsed().toFixed(1).padStart(5)} s   ${text}`)
    const ledger = new Ledger(elapsed)
    const heldUp = yield* watchProcess
    const throughput = yield* watchThroughput(ledger)
    const failoverHold = isOdd(seed) ? "5 seconds" : undefined
    const claims: Array<Claim> = []
    let faults = 0
    const logger = Logger.make(({ logLevel, message }) => say(`${logLevel.label} ${String(message)}`))

    const service = yield* Effect.gen(function* () {
      const load: Load = { kind, ledger, seed, heldUp, since: new Map() }
      let isOver = false
      const workers = yield* Effect.forEach(Array.from({ length: WORKERS }), (_, n) =>
        Effect.fork(worker(load, n, () => isOver))
      )
      yield* Effect.gen(function* () {
        let last = 0
        yield* everySecond(() =>
          Effect.sync(() => {
            const failures = Array.from(ledger.failures, ([tag, n]) => `${tag} ${n}`).join(", ")
            say(
              `${number(ledger.done - last).padStart(6)} a second   ${number(memory())} MiB   ${
                ledger.wrongs.size === 0 ? "" : `WRONG: ${[...ledger.wrongs.keys()].join(", ")}   `
              }failures so far: ${failures || "none"}`
            )
            last = ledger.done
          })
        )
        yield* Effect.sleep("2 seconds")
        throughput.anew()
        yield* Effect.sleep("2 seconds")
        /** In the pauses between faults. */
        const calm = [throughput.now()]
        say(`${number(calm[0]!)} a second before the first fault${failoverHold === undefined ? "" : "; with a hold"}`)
        let slowest = 0
        let isBack = true
        let goesOn = true
        let audited = 0
        while (elapsed() < seconds) {
          ledger.episode = ++faults
          yield* episode(servers, ledger, say)
          const healed = performance.now()
          throughput.anew()
          if (
            !(yield* within(
              `${BACK} seconds`,
              Effect.sync(() => throughput.now() >= PART * median(calm))
            ))
          ) {
            isBack = false
            if (throughput.now() === 0) goesOn = false
            say(`throughput is not back:\n      ${yield* picture}`)
          }
          slowest = Math.max(slowest, (performance.now() - healed) / 1_000)
          ledger.primaryTroubles += ledger.primaryTroubles & 1
          yield* audit(servers, ledger, audited, faults - 1)
          audited = faults - 1
          yield* Effect.sleep((yield* Random.nextRange(0.5, 2)) * 1_000)
          calm.push(throughput.now())
        }
        claims.push(isTrue(`work goes on within ${BACK} s after each fault`, goesOn), {
          ...isTrue(`${number(100 * PART)} % of the throughput is back within ${BACK} s after each fault`, isBack),
          isOfTheMachine: true
        })
        say(`${faults} times faults; the longest time until throughput was back: ${slowest.toFixed(1)} s`)
      }).pipe(Effect.scoped, Effect.withRandom(Random.make(seed)))
      isOver = true
      const ended = yield* within(
        "1 minute",
        Effect.map(Effect.forEach(workers, Fiber.poll), (exits) => exits.every(({ _tag }) => _tag === "Some"))
      )
      const hanging = Array.from(
        load.since,
        ([n, { at, what }]) => `${n}: ${what}, ${Math.round(performance.now() - at)} ms`
      )
      claims.push(exactly("workers that hang", ended ? "none" : hanging.join("; "), "none"))
      yield* Fiber.interruptAll(workers).pipe(Effect.disconnect, Effect.timeoutOption("10 seconds"))
      const isBalanced = yield* within("10 seconds", balanced)
      if (!isBalanced) say(`the books do not balance:\n      ${yield* picture}`)
      claims.push(isTrue("the books balance", isBalanced))
      return yield* Sql.Sql
    }).pipe(
      Effect.provide(kind.client(servers, { maxSize: 10, failoverHold })),
      Effect.provide(Logger.replace(Logger.defaultLogger, logger))
    )

    const { read, write } = yield* service.stats
    const isEmpty = yield* within(
      "10 seconds",
      Effect.orElseSucceed(
        Effect.map(
          Effect.forEach(servers.all, ({ sessions }) => sessions),
          (all) => all.every((n) => n === 0)
        ),
        () => false
      )
    )
    yield* audit(servers, ledger, 0, faults)
    const [row] = yield* servers.primary.query<{ sum: unknown }>("select sum(balance) as sum from accounts")
    const states = Array.from(ledger.entries.values(), ({ state }) => state)
    const written = states.filter((state) => state === "written").length
    say(
      `${number(ledger.done)} times work done; of ${number(states.length)} writes with a number ${number(written)} were acknowledged, ${number(
        states.filter((state) => state === "absent").length
      )} told not to be there, ${number(states.filter((state) => state === "unknown").length)} are unknown`
    )
    return [
      atLeast("writes that were acknowledged", written, 1),
      exactly("money in all accounts", Number(row?.sum), ACCOUNTS * MONEY),
      ...(ledger.wrongs.size === 0
        ? [exactly("answers, rows, failures and delays that are wrong", 0, 0)]
        : Array.from(ledger.wrongs, ([what, { first, times }]) => exactly(`${what} (${first})`, times, 0))),
      ...claims,
      ...[write, ...read].map((pool) => ({
        ...booksOf(pool),
        name: `connections opened and closed (${pool.endpoint})`
      })),
      isTrue("no session of ours is left on the servers", isEmpty)
    ].map((claim) => ({ ...claim, name: `${kind.name}: ${claim.name}` }))
  }).pipe(Effect.scoped)

const databases = Object.keys(kinds) as ReadonlyArray<Database>

const run = (settings: Settings) =>
  Effect.gen(function* () {
    const socketsBefore = sockets()
    const chosen = settings.database === undefined ? databases : [settings.database]
    const claims = yield* Effect.forEach(chosen, (database) => under(settings, kinds[database]))
    yield* within(
      "10 seconds",
      Effect.sync(() => sockets() === socketsBefore)
    )
    const left = sockets() - socketsBefore
    const which = left === 0 ? "" : ` (${socketsOneByOne().join("; ")})`
    return [...claims.flat(), exactly(`sockets that are left${which}`, left, 0)]
  }).pipe(Effect.scoped)

export const chaos: Soak = {
  name: "chaos",
  summary: "faults at random on three servers; what 50 workers were told is true",
  run
}
