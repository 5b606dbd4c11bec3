/**
 * I1 to I9 as one function over the engine, and `watch`, which calls it after every transition, whoever causes it.
 *
 * A violation found inside a fiber of the pool would be swallowed with that fiber: so it is written down, and the
 * fixture fails the test with the first one.
 */
import type { Engine } from "../../src/internal/engine.js"
import { type Entry, type EntryList, State } from "../../src/internal/entry.js"
import type { Waiter } from "../../src/internal/queue.js"

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

  /** The first of the highest class; after eight times in a row, the one who has waited longest of all. */
  next(): Waiter<any> | undefined {
    const oldest = this.waiting[0]
    const highest = Math.min(...this.waiting.map((waiter) => waiter.rank))
    const severalClasses = this.waiting.some((waiter) => waiter.rank !== highest)
    return this.skips >= 8 && severalClasses ? oldest : this.waiting.find((waiter) => waiter.rank === highest)
  }

  serve(waiter: Waiter<any>): void {
    const severalClasses = this.waiting.some((other) => other.rank !== waiter.rank)
    this.skips = severalClasses && waiter !== this.waiting[0] ? this.skips + 1 : 0
    this.remove(waiter)
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
const all = (engine: Engine<any>): number =>
  engine.idle.size + engine.leased.size + engine.elsewhere.size + engine.connecting + engine.closing

/** Throws a sentence that begins with the number of the invariant that is broken. */
export const check = <A>(engine: Engine<A>, bound: number = engine.config.maxSize): void => {
  const { config, queue } = engine
  const now = engine.host.now()

  must(
    all(engine) <= bound,
    () =>
      `I1: ${all(engine)} connections (${engine.open} open, ${engine.connecting} connecting, ${engine.closing} closing), max ${config.maxSize}`
  )
  for (const count of [engine.connecting, engine.closing, engine.validating, engine.resetting, engine.quarantined]) {
    must(count >= 0, () => `I1: a count is negative: ${JSON.stringify(engine.stats(now))}`)
  }
  const idle = walk(engine.idle, "idle")
  const leased = walk(engine.leased, "leased")
  const elsewhere = [...engine.elsewhere]
  must(new Set([...idle, ...leased, ...elsewhere]).size === engine.open, () => "I1: an entry is in two places")
  const inState = (state: State) => elsewhere.filter((entry) => entry.state === state).length
  must(
    idle.every((entry) => entry.state === State.Idle) && leased.every((entry) => entry.state === State.Leased),
    () => "I1: an entry stands in a list that is not its state's"
  )
  must(
    inState(State.Validating) === engine.validating &&
      inState(State.Resetting) === engine.resetting &&
      inState(State.Quarantined) === engine.quarantined,
    () => "I1: the counts differ from the entries"
  )
  must(
    idle.every((entry, i) => i === 0 || entry.lastUsedAt <= idle[i - 1]!.lastUsedAt),
    () => "the idle stack is not ordered by last use"
  )

  for (const entry of leased) {
    must(
      entry.shared ? entry.holders >= 1 && entry.holders <= config.concurrency : entry.holders === 1,
      () => `I2: connection ${entry.id} has ${entry.holders} holders${entry.shared ? ` of ${config.concurrency}` : ""}`
    )
  }
  must(
    [...idle, ...elsewhere].every((entry) => entry.holders === 0),
    () => "I2: a connection that is not leased has a holder"
  )
  must(
    leased.filter((entry) => entry.shared).length === engine.leased.shared,
    () => "I2: the number of shared entries is wrong"
  )
  const mean = leased.length === 0 ? 0 : leased.reduce((sum, entry) => sum + (now - entry.leasedAt), 0) / leased.length
  must(Math.abs(mean - engine.leased.meanAge(now)) < 0.01, () => "the mean age of the leases is wrong")

  const waiters = [...queue]
  must(waiters.length === queue.size, () => `the queue says ${queue.size} and has ${waiters.length}`)
  must(
    waiters.every((waiter) => waiter.queued && waiter.entry === undefined && waiter.error === undefined),
    () => "I3: somebody waits who has been answered"
  )
  must(
    queue.firstDeadline() === Math.min(Infinity, ...waiters.map((waiter) => waiter.deadline)),
    () => "the first deadline is wrong"
  )

  if (engine.phase === "running" && queue.size > 0) {
    // As many checks are under way as callers wait: what is idle is not needed, or would have to be checked as well.
    must(
      idle.length === 0 || engine.validating >= queue.size || (engine.isForSharers(now) && queue.sharers.size === 0),
      () => `I4: ${idle.length} idle and ${queue.size} waiting, ${engine.validating} validating`
    )
    must(
      queue.sharers.size === waiters.filter((waiter) => waiter.shared).length,
      () => "the queue does not know who wants to share"
    )
    must(
      !queue.peek()!.shared || engine.leased.joinable(config.concurrency, engine.host.admits) === undefined,
      () => "I4: a shared waiter is first and a shared connection has room"
    )
  }
  if (engine.phase === "draining" || engine.phase === "closed") {
    must(queue.size === 0 && idle.length === 0, () => "draining, and somebody waits or something is idle")
  }
  if (engine.phase === "closed") {
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

/** Those who share may pass those who want a connection alone: one of four or more, all there can be, is theirs. */
const isLane = <A>(engine: Engine<A>): boolean =>
  engine.queue.sharers.size === 0 &&
  engine.keepsLane(engine.host.now()) &&
  engine.open >= 4 &&
  all(engine) >= engine.config.maxSize &&
  engine.leased.shared <= 1

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
  let depth = 0
  let lastTotal = all(engine)
  let connecting = engine.connecting
  const closing = new Set<Entry<A>>()
  const leases = new Map<Entry<A>, number>()
  const answered = new Set<Waiter<A>>()

  for (const name of TRANSITIONS) {
    const original: (...args: Array<any>) => unknown = target[name].bind(engine)
    target[name] = (...args: Array<any>) => {
      if (name === "connected" || name === "connectFailed") connecting--
      if (name === "wasClosed") closing.delete(args[0])
      const before = engine.connecting
      const waited = engine.queue.size > 0
      const mayPass = name === "takeShared" && isLane(engine)
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
        if (name === "take" || name === "takeShared") {
          must(!waited || mayPass || result === undefined, () => "order: a newcomer overtook those who wait")
        }
        if (name === "abandon") must(engine.connecting >= before, () => "I8: a caller that left stopped a connect")
        for (let entry = engine.leased.head; entry !== undefined; entry = entry.next) {
          must((leases.get(entry) ?? 0) <= entry.leaseId, () => `I7: the leaseId of connection ${entry!.id} fell`)
          leases.set(entry, entry.leaseId)
        }
        if (depth > 0) return
        must(engine.connecting === connecting, () => `I6: ${engine.connecting} connecting, ${connecting} under way`)
        must(engine.closing === closing.size, () => `I1: ${engine.closing} closing, ${closing.size} under way`)
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
  spy("close", (entry) => {
    attempt(() => {
      must(entry.state === State.Closing, () => `connection ${entry.id} is closed in state ${State[entry.state]}`)
      must(!closing.has(entry), () => `connection ${entry.id} is closed twice`)
    })
    closing.add(entry)
  })
  spy("resume", (waiter: Waiter<A>) =>
    attempt(() => {
      must(!answered.has(waiter), () => "I3: a waiter was resumed twice")
      answered.add(waiter)
      must(!waiter.queued, () => "I3: a waiter was resumed that still waits")
      must((waiter.entry === undefined) !== (waiter.error === undefined), () => "I3: resumed without an answer")
    })
  )
  spy("drained", () =>
    attempt(() => must(all(engine) === 0 && engine.queue.size === 0, () => "I9: drained with something left"))
  )

  const reference = new ReferenceQueue()
  const queue = engine.queue as any
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
  queue.serve = (waiter: Waiter<A>) => {
    attempt(() => {
      must(waiter === reference.next(), () => `order: ${waiter.priority} ${waiter.order} was served out of turn`)
      must(waiter.deadline > engine.host.now(), () => "I5: a waiter was served after its deadline")
      must(waiter.queued, () => "I5: somebody was served who has left")
    })
    reference.serve(waiter)
    serve(waiter)
    watched.served.push(waiter)
    attempt(() => must(reference.size === engine.queue.size, () => "the queue lost or kept somebody"))
  }
  return watched
}
