/** What happens to the servers and to the ways to them. Chance decides, from the seed; every fault heals by itself. */
import { Effect, Random } from "effect"
import type { Server, Servers } from "./servers.js"

export interface Fault {
  /** For the line of progress. */
  readonly text: string
  readonly on: ReadonlyArray<Server>
  readonly run: Effect.Effect<void, unknown>
}

/** What chance has decided about one fault. */
interface Throw {
  readonly servers: Servers
  readonly server: Server
  /** A server that is no primary and has no fault. */
  readonly replica: Server | undefined
  readonly seconds: number
  /** From 0 to 1, for what the faults differ in. */
  readonly chance: number
}

type Make = (given: Throw) => Fault | undefined

const during = (
  { seconds, server }: Throw,
  text: string,
  begin: Effect.Effect<unknown, unknown>,
  end: Effect.Effect<unknown, unknown>
): Fault => ({
  text: `${text} ${server.name} for ${seconds.toFixed(1)} s`,
  on: [server],
  run: begin.pipe(Effect.zipRight(Effect.sleep(seconds * 1_000)), Effect.zipRight(end), Effect.asVoid)
})

const kill: Make = (given) => {
  const { chance, server, servers } = given
  // A host that is down, or an address that nobody listens on.
  const leave =
    chance < 0.5
      ? Effect.zipRight(server.stop("immediate"), server.proxy.refuse)
      : midway(server, server.stop("immediate"))
  return during(given, "kill", leave, Effect.zipRight(server.proxy.heal, servers.start(server)))
}

const restart: Make = (given) => {
  const { server, servers } = given
  return during(given, "stop and start", server.stop("fast"), servers.start(server))
}

const pause: Make = (given) => during(given, "freeze the processes of", given.server.pause, given.server.resume)

/** Answers are on their way when the next fault comes, so that statements are executed and nobody hears of it. */
const midway = ({ proxy }: Server, fault: Effect.Effect<unknown, unknown>): Effect.Effect<unknown, unknown> =>
  proxy
    .delay(40)
    .pipe(Effect.zipRight(Effect.sleep("300 millis")), Effect.zipRight(fault), Effect.zipRight(proxy.delay(0)))

const freeze: Make = (given) => {
  const { proxy } = given.server
  // What hangs in a frozen connection, locks among it, goes when the connection is reset.
  const blackhole = midway(given.server, proxy.blackhole({ forGood: true, new: given.chance < 0.5 }))
  return during(given, "freeze the connections of", blackhole, Effect.zipRight(proxy.heal, proxy.reset))
}

const outage: Make = (given) =>
  during(given, "lose every byte to and from", given.server.proxy.blackhole(), given.server.proxy.heal)

const cut: Make = (given) => {
  const { proxy } = given.server
  const ends = midway(given.server, given.chance < 0.5 ? proxy.cut : proxy.reset)
  return during(given, given.chance < 0.5 ? "cut off twice" : "reset twice", ends, ends)
}

const delay: Make = (given) => {
  const millis = Math.round(5 + given.chance * 150)
  return during(given, `${millis} ms each way to and from`, given.server.proxy.delay(millis), given.server.proxy.heal)
}

const limit: Make = (given) => {
  const bytes = Math.round(2_000 + given.chance * 50_000)
  return during(given, `${bytes} bytes a second from`, given.server.proxy.limit(bytes), given.server.proxy.heal)
}

const lag: Make = ({ replica, ...given }) =>
  replica && during({ ...given, replica, server: replica }, "no replay on", replica.lag, replica.catchUp)

const promote: Make = ({ chance, replica, seconds, servers }) => {
  const last = servers.primary
  const options = { down: Effect.sleep(seconds * 1_000), isInPlace: chance < 0.3 }
  return last.isBusy || replica === undefined
    ? undefined
    : {
        text: `promote ${replica.name} in place of ${last.name}, which is ${options.isInPlace ? "kept" : "stopped"}, and a replica ${seconds.toFixed(1)} s later`,
        on: [last, replica],
        run: Effect.asVoid(servers.promote(replica, options))
      }
}

/** The address of the primary leads to a replica, or that of a replica to the primary. */
const misdirect: Make = ({ chance, replica, seconds, servers }) => {
  const { primary } = servers
  if (primary.isBusy || replica === undefined) return undefined
  const [from, to] = chance < 0.5 ? [primary, replica] : [replica, primary]
  const lead = (target: Server) => Effect.zipRight(from.proxy.aim(target), from.proxy.reset)
  return {
    text: `the address of ${from.name} leads to ${to.name} for ${seconds.toFixed(1)} s`,
    on: [primary, replica],
    run: lead(to).pipe(Effect.zipRight(Effect.sleep(seconds * 1_000)), Effect.zipRight(lead(from)))
  }
}

const makes: ReadonlyArray<readonly [weight: number, Make]> = [
  [3, kill],
  [1, restart],
  [2, pause],
  [3, freeze],
  [1, outage],
  [2, cut],
  [2, delay],
  [1, limit],
  [2, lag],
  [4, promote],
  [2, misdirect]
]

const all = makes.flatMap(([weight, make]) => Array.from({ length: weight }, () => make))

/** The next fault, on servers that have none. */
export const choose = (servers: Servers): Effect.Effect<Fault | undefined> =>
  Effect.gen(function* () {
    const make = all[yield* Random.nextIntBetween(0, all.length)]!
    const seconds = yield* Random.nextRange(0.3, 5)
    const chance = yield* Random.next
    const isOfPrimary = yield* Random.nextBoolean
    const first = yield* Random.nextIntBetween(0, servers.all.length)
    const free = [...servers.all.slice(first), ...servers.all.slice(0, first)].filter(({ isBusy }) => !isBusy)
    const replica = free.find((server) => server !== servers.primary)
    const server = isOfPrimary && !servers.primary.isBusy ? servers.primary : (replica ?? free[0])
    return server && make({ servers, server, replica, seconds, chance })
  })

/** Runs a fault; its servers have no other one meanwhile, and follow the primary of that time at its end. */
export const run = (servers: Servers, { on, run, text }: Fault): Effect.Effect<void, unknown> => {
  const mark = (isBusy: boolean) =>
    Effect.sync(() => {
      for (const server of on) server.isBusy = isBusy
    })
  return Effect.acquireUseRelease(
    mark(true),
    () => Effect.zipRight(run, Effect.forEach(on, servers.follow, { discard: true })),
    () => mark(false)
  ).pipe(Effect.mapError((cause) => new Error(`the servers could not be made to do this: ${text}`, { cause })))
}

/** Every server is in its role again, and shows what the primary has. */
export const heal = (servers: Servers): Effect.Effect<void, unknown> =>
  Effect.forEach(
    servers.all,
    (server) =>
      Effect.gen(function* () {
        yield* server.proxy.heal
        yield* servers.follow(server)
        if (server === servers.primary || (yield* servers.caughtUp(server))) return
        return yield* Effect.fail(
          new Error(`${server.name} does not follow ${servers.primary.name}:\n${yield* server.log}`)
        )
      }),
    { discard: true }
  )
