/**
 * Plays a trace on the real engine of the pool, on a clock that jumps from one event to the next. No fiber, no timer and no
 * chance but that of the trace: the result is the same each time.
 */
import type { PoolConfig } from "@sluice/pool/PoolOptions"
import { rank } from "@sluice/pool/Priority"
import { Either } from "effect"
import { Engine } from "../../../packages/pool/src/internal/engine.js"
import type { Lease } from "../../../packages/pool/src/internal/entry.js"
import type { Host } from "../../../packages/pool/src/internal/host.js"
import { Waiter } from "../../../packages/pool/src/internal/queue.js"
import { parseConfig } from "../../../packages/pool/src/internal/runtime/config.js"
import type { Caller } from "./trace.js"

interface Event {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

/** A heap of events; equal moments in the order in which they were added. */
class Agenda {
  private readonly heap: Array<Event> = []
  private orders = 0

  add(at: number, run: () => void): void {
    const { heap } = this
    let i = heap.push({ at, order: this.orders++, run }) - 1
    for (let up = (i - 1) >> 1; i > 0 && this.isBefore(i, up); up = (i - 1) >> 1) {
      this.swap(i, up)
      i = up
    }
  }

  next(): Event | undefined {
    const { heap } = this
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    heap[0] = last
    for (let i = 0; ; ) {
      let least = i
      for (const child of [2 * i + 1, 2 * i + 2]) if (child < heap.length && this.isBefore(child, least)) least = child
      if (least === i) return first
      this.swap(i, least)
      i = least
    }
  }

  private isBefore(a: number, b: number): boolean {
    const [x, y] = [this.heap[a]!, this.heap[b]!]
    return x.at < y.at || (x.at === y.at && x.order < y.order)
  }

  private swap(a: number, b: number): void {
    const { heap } = this
    const kept = heap[a]!
    heap[a] = heap[b]!
    heap[b] = kept
  }
}

export interface Candidate {
  readonly name: string
  readonly pool?: PoolConfig
  /** Plain: no classes, and nothing is known of deadlines but when they have passed. */
  readonly isPlain?: boolean
  /** Changes the engine before the trace begins. */
  readonly install?: (engine: Engine<object>) => void
  /** Whether a caller that comes now is let in. */
  readonly admits?: (engine: Engine<object>, caller: Caller, now: number) => boolean
}

export interface Outcome {
  readonly caller: Caller
  /** Milliseconds until the connection was there; absent if there was none. */
  readonly waited: number | undefined
  /** When it was over. */
  readonly at: number
  readonly isUseful: boolean
}

export interface Played {
  readonly outcomes: ReadonlyArray<Outcome>
  /** Work that was begun. */
  readonly begun: number
  readonly engine: Engine<object>
}

export interface Options {
  readonly connections: number
  /** How long a connect takes. Default: no time. */
  readonly connectMillis?: number
  /** How many times as long as it says work takes that begins now. */
  readonly slowness?: (now: number) => number
  /** How often a caller that got no connection comes again at once, as patient as before. */
  readonly retries?: number
  /** Called before and after each event. */
  readonly watch?: (now: number, isBefore: boolean, engine: Engine<object>) => void
}

export const play = (candidate: Candidate, callers: ReadonlyArray<Caller>, options: Options): Played => {
  const agenda = new Agenda()
  const outcomes: Array<Outcome> = []
  let now = 0
  let wakes = 0
  const config = Either.getOrThrow(
    parseConfig({ maxSize: options.connections, minIdle: Math.min(1, options.connections), ...candidate.pool })
  )
  const host: Host<object> = {
    now: () => now,
    isLate: () => false,
    random: () => 0.5,
    status: undefined,
    admits: undefined,
    stalls: undefined,
    refuse: (refusal) => refusal,
    canValidate: false,
    canReset: false,
    canAbort: false,
    resume: (waiter) => (waiter.resume as () => void)(),
    connect: (startedAt) =>
      agenda.add(now + (options.connectMillis ?? 0), () => engine.connected({}, undefined, startedAt)),
    interruptConnects: () => undefined,
    backOff: () => undefined,
    endBackOff: () => undefined,
    validate: () => undefined,
    reset: () => undefined,
    abort: () => undefined,
    cancel: () => undefined,
    close: (entry) => agenda.add(now, () => engine.wasClosed(entry)),
    inspect: () => undefined,
    leaking: () => undefined,
    rested: () => undefined,
    wake: (at) => {
      const mine = ++wakes
      agenda.add(at, () => {
        if (mine === wakes) engine.tick()
      })
    },
    drained: () => undefined,
    emit: undefined
  }
  const engine: Engine<object> = new Engine(config, host)
  candidate.install?.(engine)
  engine.start()

  const left = new Map<Caller, number>()
  let begun = 0
  const work = (caller: Caller, lease: Lease<object>): void => {
    begun++
    const waited = now - caller.at
    agenda.add(now + caller.work * (options.slowness?.(now) ?? 1), () => {
      outcomes.push({ caller, waited, at: now, isUseful: now <= caller.at + caller.patience })
      engine.release(lease)
    })
  }
  const refuse = (caller: Caller): void => {
    const more = left.get(caller) ?? options.retries ?? 0
    if (more > 0) {
      const again = { ...caller, at: now }
      left.set(again, more - 1)
      agenda.add(now, () => arrive(again))
      return
    }
    outcomes.push({ caller, waited: undefined, at: now, isUseful: false })
  }
  const arrive = (caller: Caller): void => {
    if (candidate.admits?.(engine, caller, now) === false) {
      refuse(caller)
      return
    }
    const lease = engine.take(caller)
    if (lease !== undefined) {
      work(caller, lease)
      return
    }
    const priority = candidate.isPlain === true ? "normal" : caller.priority
    const declared = candidate.isPlain === true ? Infinity : now + caller.patience
    const waiter = new Waiter<object>(priority, rank[priority], false, caller, now, caller.patience, declared)
    const answered = () => (waiter.lease === undefined ? refuse(caller) : work(caller, waiter.lease))
    engine.enter(waiter)
    if (waiter.queued) waiter.resume = answered
    else answered()
  }

  let coming = callers.length
  for (const caller of callers) {
    agenda.add(caller.at, () => {
      coming--
      arrive(caller)
    })
  }
  const goesOn = () => coming > 0 || outcomes.length < callers.length
  for (let event = agenda.next(); event !== undefined && goesOn(); event = agenda.next()) {
    now = event.at
    options.watch?.(now, true, engine)
    event.run()
    options.watch?.(now, false, engine)
  }
  return { outcomes, begun, engine }
}
