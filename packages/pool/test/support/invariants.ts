/**
 * I1 to I12 as one function over the engine, and `watch`, which calls it after every transition, whoever causes it.
 *
 * A violation found inside a fiber of the pool would be swallowed with that fiber: so it is written down, and the
 * fixture fails the test with the first one.
 */
import type { Engine } from "../../src/internal/engine.js"
import { type Entry, type EntryList, EntryState, type Lease } from "../../src/internal/entry.js"
import type { Refusal } from "../../src/internal/host.js"
import type { Waiter } from "../../src/internal/queue.js"
import * as Shedding from "../../src/internal/shedding.js"

/** What the reference knows about the engine from outside: everything the engine has told its host. */
export interface Watched {
  readonly violations: Array<string>
  /** Waiters in the order in which they were served. */
  readonly served: Array<Waiter<any>>
  transitions: number
}

/** The queue as simply as it can be said: the specification that the intrusive lists are compared with. */
class ReferenceQueue {
  private readonly waiting: Array<Waiter<any>> = []
  private skips = 0

  get size(): number {
    return this.waiting.length
  }

  push(waiter: Waiter<any>): void {
    this.waiting.push(waiter)
  }

  remove(waiter: Waiter<any>): boolean {
    const at = this.waiting.indexOf(waiter)
    if (at >= 0) this.waiting.splice(at, 1)
    return at >= 0
  }

  /** The classes of which the first may have a connection. */
  open(mayHave: (waiter: Waiter<any>) => boolean): ReadonlyArray<Waiter<any>> {
    const heads = new Map<number, Waiter<any>>()
    for (const waiter of this.waiting) if (!heads.has(waiter.rank)) heads.set(waiter.rank, waiter)
    return this.waiting.filter((waiter) => mayHave(heads.get(waiter.rank)!))
  }

  /** The first of the highest class; after eight times in a row, the one who has waited longest of all. */
  next(mayHave: (waiter: Waiter<any>) => boolean): Waiter<any> | undefined {
    const open = this.open(mayHave)
    const highest = Math.min(...open.map((waiter) => waiter.rank))
    const severalClasses = open.some((waiter) => waiter.rank !== highest)
    return this.skips >= 8 && severalClasses ? open[0] : open.find((waiter) => waiter.rank === highest)
  }

  serve(waiter: Waiter<any>, mayHave: (waiter: Waiter<any>) => boolean): void {
    const open = this.open(mayHave)
    const severalClasses = open.some((other) => other.rank !== waiter.rank)
    this.skips = severalClasses && waiter !== open[0] ? this.skips + 1 : 0
    this.remove(waiter)
  }

  hasBelow(rank: number): boolean {
    return this.waiting.some((waiter) => waiter.rank > rank)
  }

  hasAbove(rank: number, is: (waiter: Waiter<any>) => boolean): boolean {
    return this.waiting.some((waiter) => waiter.rank < rank && is(waiter))
  }
}

const walk = <A>(list: EntryList<A>, name: string): Array<Entry<A>> => {
  const forth: Array<Entry<A>> = []
  for (let entry = list.head; entry !== undefined; entry = entry.next) {
    if (forth.includes(entry)) throw new Error(`connection ${entry.id} is twice in ${name}`)
    forth.push(entry)
  }
  const back: Array<Entry<A>> = []
  for (let entry = list.tail; entry !== undefined; entry = entry.prev) back.push(entry)
  if (forth.length !== list.size) throw new Error(`${name} says ${list.size} and has ${forth.length}`)
  if (back.reverse().some((entry, i) => entry !== forth[i])) throw new Error(`${name} is another list backwards`)
  return forth
}

const must = (holds: boolean, sentence: () => string): void => {
  if (!holds) throw new Error(sentence())
}

/** What I1 bounds, counted here: the engine's own sum may be what is wrong. */
const all = ({ state }: Engine<any>): number =>
  state.idle.size + new Set(state.leases.entries()).size + state.inTransit.size + state.connecting + state.closing

/** The leases of one list, forwards; throws if the list is another one backwards. */
const walkLeases = <A>(list: Engine<A>["state"]["leases"]["exclusive"], name: string): Array<Lease<A>> => {
  const forth: Array<Lease<A>> = []
  for (let lease = list.oldest; lease !== undefined; lease = lease.newer) forth.push(lease)
  const back: Array<Lease<A>> = []
  for (let lease = list.newest; lease !== undefined; lease = lease.older) back.push(lease)
  if (forth.length !== list.size) throw new Error(`the ${name} leases say ${list.size} and are ${forth.length}`)
  if (back.reverse().some((lease, i) => lease !== forth[i])) throw new Error(`the ${name} leases differ backwards`)
  if (forth.some((lease, i) => i > 0 && lease.since < forth[i - 1]!.since)) {
    throw new Error(`the ${name} leases are not in the order in which they were granted`)
  }
  return forth
}

/** What the classes hold and may hold, counted here. */
const holdings = <A>({ config, state }: Engine<A>) => {
  const leases = [...state.leases]
  const connections = (chosen: ReadonlyArray<Lease<A>>) =>
    chosen.filter((lease) => !lease.shared).length +
    Math.ceil(chosen.filter((lease) => lease.shared).length / config.concurrency)
  return {
    limitOf: (rank: number) =>
      config.classLimits[rank] === 1
        ? Infinity
        : Math.max(1, Math.floor(config.maxSize * config.classLimits[rank]! + 1e-6)),
    heldBy: (rank: number) => connections(leases.filter((lease) => lease.rank === rank)),
    // Without `reserved` nothing holds these classes back: a pool that was made smaller still uses what it has.
    unreserved: config.reserved === 0 ? Infinity : config.maxSize - Math.min(config.reserved, config.maxSize - 1),
    heldByOthers: new Set(leases.filter((lease) => lease.rank !== 0).map((lease) => lease.entry)).size,
    /** What is in use but for what one critical caller has alone. */
    used: new Set(leases.filter((lease) => lease.rank !== 0 || lease.shared).map((lease) => lease.entry)).size,
    with: (rank: number, shared: boolean) => {
      const own = leases.filter((lease) => lease.rank === rank)
      const exclusive = own.filter((lease) => !lease.shared).length + (shared ? 0 : 1)
      const together = own.filter((lease) => lease.shared).length + (shared ? 1 : 0)
      return exclusive + Math.ceil(together / config.concurrency)
    }
  }
}

/** Whether the class of a waiter may have one more connection. */
const mayHave = <A>(engine: Engine<A>, waiter: Waiter<A>): boolean => {
  const { classLimits, concurrency, reserved } = engine.config
  if (reserved === 0 && classLimits.every((share) => share === 1)) return true
  const now = holdings(engine)
  if (classLimits[waiter.rank]! < 1) {
    const most = waiter.rank === 0 ? now.limitOf(0) : Math.min(now.limitOf(waiter.rank), now.unreserved)
    if (now.with(waiter.rank, waiter.shared) > most) return false
  }
  if (waiter.rank === 0 || reserved === 0 || now.used < now.unreserved) return true
  const canJoin = engine.state.leases.joinable(concurrency, engine.host.admits) !== undefined
  return waiter.shared && now.used === now.unreserved && canJoin
}

/** Throws a sentence that begins with the number of the invariant that is broken. */
export const check = <A>(engine: Engine<A>, bound: number = engine.config.maxSize): void => {
  const { config, state } = engine
  const { queue } = engine.admission
  const { leases } = state
  const now = engine.host.now()

  must(
    all(engine) <= bound,
    () =>
      `I1: ${all(engine)} connections (${state.open} open, ${state.connecting} connecting, ${state.closing} closing), max ${config.maxSize}`
  )
  for (const count of [state.connecting, state.closing, state.validating, state.resetting, state.quarantined]) {
    must(count >= 0, () => `I1: a count is negative: ${JSON.stringify(engine.stats(now))}`)
  }
  const idle = walk(state.idle, "idle")
  const shared = walk(leases.sharedEntries, "the shared connections")
  const exclusiveLeases = walkLeases(leases.exclusive, "exclusive")
  const sharedLeases = walkLeases(leases.shared, "shared")
  const exclusive = exclusiveLeases.map((lease) => lease.entry)
  const leased = [...exclusive, ...shared]
  const inTransit = [...state.inTransit]
  must(
    new Set([...idle, ...leased, ...inTransit]).size === state.open &&
      idle.length + leased.length + inTransit.length === state.open,
    () => "I1: an entry is in two places"
  )
  const inState = (wanted: EntryState) => inTransit.filter((entry) => entry.state === wanted).length
  must(
    idle.every((entry) => entry.state === EntryState.Idle) &&
      leased.every((entry) => entry.state === EntryState.Leased),
    () => "I1: an entry stands in a list that is not its state's"
  )
  must(
    inState(EntryState.Validating) === state.validating &&
      inState(EntryState.Resetting) === state.resetting &&
      inState(EntryState.Quarantined) === state.quarantined,
    () => "I1: the counts differ from the entries"
  )
  must(
    idle.every((entry, i) => i === 0 || entry.lastUsedAt <= idle[i - 1]!.lastUsedAt),
    () => "the idle stack is not ordered by last use"
  )

  for (const entry of leased) {
    const holders = [...exclusiveLeases, ...sharedLeases].filter((lease) => lease.entry === entry)
    must(
      holders.length === entry.holders && holders.every((lease) => lease.shared === entry.isShared && !lease.isOver),
      () => `I2: connection ${entry.id} has ${entry.holders} holders and ${holders.length} leases`
    )
    must(
      entry.isShared ? entry.holders >= 1 && entry.holders <= config.concurrency : entry.holders === 1,
      () =>
        `I2: connection ${entry.id} has ${entry.holders} holders${entry.isShared ? ` of ${config.concurrency}` : ""}`
    )
  }
  must(
    sharedLeases.every((lease) => shared.includes(lease.entry)),
    () => "I2: a shared lease is of a connection that is not shared"
  )
  must(
    [...idle, ...inTransit].every((entry) => entry.holders === 0),
    () => "I2: a connection that is not leased has a holder"
  )
  const packed = shared.length === 0 ? 1 : sharedLeases.length / shared.length
  const shares = [
    ...exclusiveLeases.map((lease) => now - lease.since),
    ...sharedLeases.map((lease) => (now - lease.since) / packed)
  ]
  const mean = shares.length === 0 ? 0 : shares.reduce((sum, share) => sum + share, 0) / shares.length
  must(Math.abs(mean - leases.meanShare(now)) < 0.01, () => "the mean age of the leases is wrong")
  const oldest = Math.min(...[...exclusiveLeases, ...sharedLeases].map((lease) => lease.since))
  must((leases.oldest?.since ?? Infinity) === oldest, () => "the oldest lease is another one")

  const waiters = [...queue]
  must(waiters.length === queue.size, () => `the queue says ${queue.size} and has ${waiters.length}`)
  must(
    waiters.every((waiter) => waiter.queued && waiter.lease === undefined && waiter.error === undefined),
    () => "I3: somebody waits who has been answered"
  )
  must(
    queue.firstDeadline() === Math.min(Infinity, ...waiters.map((waiter) => waiter.deadline)),
    () => "the first deadline is wrong"
  )

  if (state.phase === "running" && queue.size > 0) {
    // As many checks are under way as callers wait: what is idle is not needed, or would have to be checked as well.
    must(
      idle.length === 0 ||
        state.validating >= queue.size ||
        state.validating >= engine.admission.wanting ||
        !waiters.some((waiter) => waiter === queue.headOf(waiter.rank) && mayHave(engine, waiter)) ||
        (engine.admission.keepsLastIdle(now) && ![...queue.sharers].some((waiter) => mayHave(engine, waiter))),
      () => `I4: ${idle.length} idle and ${queue.size} waiting, ${state.validating} validating`
    )
    must(
      queue.sharers.size === waiters.filter((waiter) => waiter.shared).length,
      () => "the queue does not know who wants to share"
    )
    must(
      !queue.peek()!.shared ||
        engine.admission.hasLimits ||
        leases.joinable(config.concurrency, engine.host.admits) === undefined,
      () => "I4: a shared waiter is first and a shared connection has room"
    )
  }
  if (state.phase === "draining" || state.phase === "closed") {
    must(queue.size === 0 && idle.length === 0, () => "draining, and somebody waits or something is idle")
  }
  if (state.phase === "closed") {
    must(all(engine) === 0, () => `I9: closed with ${all(engine)} connections`)
  }
}

const TRANSITIONS = [
  "take",
  "takeShared",
  "enter",
  "abandon",
  "release",
  "connected",
  "connectFailed",
  "backedOff",
  "validated",
  "wasReset",
  "aborted",
  "evict",
  "suspect",
  "wasClosed",
  "tick",
  "start",
  "resize",
  "suspend",
  "resume",
  "reset",
  "drain"
] as const

/** Callers that share may pass those that want a connection alone: one of four or more, all there can be, is theirs. */
const isReserve = <A>({ admission, config, host, state }: Engine<A>): boolean =>
  admission.queue.sharers.size === 0 &&
  admission.keepsReserve(host.now()) &&
  state.open >= 4 &&
  state.total >= config.maxSize &&
  state.leases.sharedEntries.size <= 1

/** Close reasons that say that a connection was no good. */
const broken: ReadonlyArray<string> = ["error", "validation", "reset"]

/** Checks the engine after each of its transitions from now on, and compares its queue with the reference. */
export const watch = <A>(engine: Engine<A>): Watched => {
  const watched: Watched = { violations: [], served: [], transitions: 0 }
  const complain = (sentence: string): void => {
    if (watched.violations.length < 10) watched.violations.push(sentence)
  }
  const attempt = (f: () => void): void => {
    try {
      f()
    } catch (error) {
      complain((error as Error).message)
    }
  }
  const target = engine as any
  const { state } = engine
  let depth = 0
  let lastTotal = all(engine)
  /** What each class, and at 8 those below critical together, held after the last transition: see I11. */
  let lastHeld: ReadonlyArray<number> = Array.from({ length: 9 }, () => 0)
  let connecting = state.connecting
  const closing = new Set<Entry<A>>()
  const answered = new Set<Waiter<A>>()
  /** Leases by their records, counted from outside. */
  const over = new Set<Lease<A>>()
  const granted = new Set<Lease<A>>()
  /** Connections that were leased or have passed a check. */
  const proven = new Set<Entry<A>>()
  /** When a connect last ended without a connection that could be used. */
  let lastUnused = -Infinity
  const prove = (entry: Entry<A>): void => {
    if (!proven.has(entry)) lastUnused = -Infinity
    proven.add(entry)
  }
  const noteUnused = (): void => {
    if (!state.isEnding) lastUnused = engine.host.now()
  }

  for (const name of TRANSITIONS) {
    const original: (...args: Array<any>) => unknown = target[name].bind(engine)
    target[name] = (...args: Array<any>) => {
      if (name === "connected" || name === "connectFailed") connecting--
      if (name === "connectFailed") noteUnused()
      if (name === "validated" && args[1] === true) prove(args[0])
      if (name === "wasClosed") closing.delete(args[0])
      const before = state.connecting
      const waited = engine.admission.size > 0
      const mayPass = name === "takeShared" && isReserve(engine)
      const ended = name === "release" && (args[0] as Lease<A>).isOver
      const late = state.counters.lateReleases
      depth++
      let result: unknown
      try {
        result = original(...args)
      } catch (error) {
        complain(`${name} threw ${error}`)
        throw error
      } finally {
        depth--
        watched.transitions++
      }
      attempt(() => {
        // A pool that was made smaller is too big until it has shrunk: it must not grow meanwhile.
        check(engine, Math.max(engine.config.maxSize, lastTotal))
        lastTotal = all(engine)
        if (engine.admission.hasLimits) {
          const now = holdings(engine)
          const most = (i: number) => Math.max(i === 8 ? now.unreserved : now.limitOf(i), lastHeld[i]!)
          const held = lastHeld.map((_, i) => (i === 8 ? now.heldByOthers : now.heldBy(i)))
          for (const [i, count] of held.entries()) {
            must(count <= most(i), () => `I11: class ${i} holds ${count} of ${most(i)}`)
          }
          lastHeld = held
        }
        if (name === "take" || name === "takeShared") {
          must(!waited || mayPass || result === undefined, () => "order: a newcomer overtook those who wait")
        }
        if (name === "abandon") must(state.connecting >= before, () => "I8: a caller that left stopped a connect")
        if (name === "release") {
          const lease = args[0] as Lease<A>
          must(lease.isOver, () => "I7: a released lease goes on")
          must(
            state.counters.lateReleases - late === (ended ? 1 : 0) || depth > 0,
            () => "I7: late releases are counted wrong"
          )
        }
        for (const lease of state.leases) {
          must(!over.has(lease), () => `I7: a lease of connection ${lease.entry.id} has ended and goes on`)
          granted.add(lease)
          prove(lease.entry)
        }
        for (const lease of granted) {
          if (!lease.isOver) continue
          granted.delete(lease)
          over.add(lease)
        }
        if (depth > 0) return
        must(state.connecting === connecting, () => `I6: ${state.connecting} connecting, ${connecting} under way`)
        must(state.closing === closing.size, () => `I1: ${state.closing} closing, ${closing.size} under way`)
      })
      return result
    }
  }

  const host = engine.host as any
  const spy = (name: string, before: (...args: Array<any>) => void): void => {
    const original = host[name]
    host[name] = (...args: Array<any>) => {
      before(...args)
      return original(...args)
    }
  }
  spy("connect", () => connecting++)
  // Where it is decided, because the work of one transition may end others before it has all begun.
  const { growth, health } = target
  const startConnect = growth.startConnect.bind(growth)
  growth.startConnect = (now: number) => {
    attempt(() => {
      // A connection that is used makes an end of it, also one that is used in this very transition.
      const isProven = [...state.leases].some((lease) => !proven.has(lease.entry))
      must(isProven || now > lastUnused, () => "I10: a connect follows at once on one that was of no use")
    })
    startConnect(now)
  }
  const close = health.close.bind(health)
  health.close = (entry: Entry<A>, reason: string, now: number) => {
    if (broken.includes(reason) && entry.uses === 0 && !proven.has(entry)) noteUnused()
    close(entry, reason, now)
  }
  spy("close", (entry) => {
    attempt(() => {
      must(
        entry.state === EntryState.Closing,
        () => `connection ${entry.id} is closed in state ${EntryState[entry.state]}`
      )
      must(!closing.has(entry), () => `connection ${entry.id} is closed twice`)
    })
    closing.add(entry)
  })
  spy("resume", (waiter: Waiter<A>) =>
    attempt(() => {
      must(!answered.has(waiter), () => "I3: a waiter was resumed twice")
      answered.add(waiter)
      must(!waiter.queued, () => "I3: a waiter was resumed that still waits")
      must((waiter.lease === undefined) !== (waiter.error === undefined), () => "I3: resumed without an answer")
    })
  )
  spy("drained", () =>
    attempt(() => must(all(engine) === 0 && engine.admission.size === 0, () => "I9: drained with something left"))
  )

  const reference = new ReferenceQueue()
  const queue = engine.admission.queue as any
  const push = queue.push.bind(queue)
  queue.push = (waiter: Waiter<A>) => {
    reference.push(waiter)
    push(waiter)
  }
  const remove = queue.remove.bind(queue)
  queue.remove = (waiter: Waiter<A>) => {
    reference.remove(waiter)
    remove(waiter)
  }
  const serve = queue.serve.bind(queue)
  queue.serve = (waiter: Waiter<A>, now: number, closed: number) => {
    attempt(() => {
      const isNext = waiter === reference.next((head) => mayHave(engine, head))
      must(isNext, () => `order: ${waiter.priority} ${waiter.order} was served out of turn`)
      must(
        // By the moment at which the engine has looked: on a real clock time passes until it comes here.
        waiter.deadline > now || engine.host.isLate(),
        () => "I5: a waiter was served after its deadline"
      )
      must(waiter.queued, () => "I5: somebody was served who has left")
      must(
        waiter.declared - now >= Math.min(20, state.load.hold) || engine.host.isLate(),
        () => "somebody was served whose declared deadline leaves too little"
      )
    })
    reference.serve(waiter, (head) => mayHave(engine, head))
    serve(waiter, now, closed)
    watched.served.push(waiter)
    attempt(() => must(reference.size === engine.admission.size, () => "the queue lost or kept somebody"))
  }
  const admission = engine.admission as any
  const fail = admission.fail.bind(admission)
  admission.fail = (waiter: Waiter<A>, refusal: Refusal, now: number) => {
    if (refusal._tag === "PoolShed") {
      const { shedding } = engine.config
      const isOld = (one: Waiter<A>) => now - one.since >= Shedding.limitOf(shedding, one.timeout)
      attempt(() => {
        must(shedding.mode === "on" && engine.admission.isOverloaded, () => "I12: shed without an overload")
        must(waiter.rank > 0, () => "I12: somebody of class critical was shed")
        must(
          isOld(waiter) || reference.hasAbove(waiter.rank, isOld),
          () => `I12: ${waiter.priority} was shed at ${now - waiter.since} ms`
        )
        must(reference.size >= Shedding.floorOf(engine.config.maxSize), () => "I12: shed although nearly nobody waits")
        must(!reference.hasBelow(waiter.rank), () => "I12: shed before somebody of a lower class")
      })
    }
    fail(waiter, refusal, now)
  }
  return watched
}
