/**
 * What is noted of the caller when a lease is granted, and what a report says of it later.
 */
import { Clock, Context, Effect, Exit, type Fiber, Option, type Tracer } from "effect"
import { CurrentOrigin, type Origin } from "../../Origin.js"
import type { PoolEvent } from "../../PoolEvent.js"
import type { PoolOptions } from "../../PoolOptions.js"
import type { Holder, Leak } from "../../PoolStats.js"
import * as diagnosis from "../diagnosis.js"
import type { Engine } from "../engine.js"
import type { Lease } from "../entry.js"
import type { Leaking } from "../host.js"
import type { Waiter } from "../queue.js"

type Running = Fiber.RuntimeFiber<any, any>

/** The note of a pool with the option `leakStack`. Else the note is the span alone. */
class Traced {
  constructor(
    readonly span: Tracer.AnySpan | undefined,
    readonly origin: Origin | undefined
  ) {}
}

/** Notes on the lease in which span, and if the pool wants to know where in the program, it was acquired. */
export const note = <A>(engine: Engine<A>, lease: Lease<A>, fiber: Running, origin: Origin | undefined): void => {
  lease.note = engine.config.leakStack
    ? new Traced(fiber.currentSpan, Context.get(fiber.currentContext, CurrentOrigin) ?? origin)
    : fiber.currentSpan
}

/** Milliseconds from which on a wait has a span of its own. Most acquires wait less, and their spans would hide the others. */
const SHORT = 1

/** A span for the wait that is over, in a program that traces. It is made afterwards, because nobody knows before how long it takes. */
export const waited = <A>(waiter: Waiter<A>, fiber: Running): void => {
  const parent = fiber.currentSpan
  const { depth, lease, priority, since } = waiter
  if (parent?._tag !== "Span" || lease === undefined) return
  const waitMs = lease.since - since
  if (waitMs <= SHORT) return
  const end = Context.get(fiber.currentDefaultServices, Clock.Clock).unsafeCurrentTimeNanos()
  const begin = end - BigInt(Math.round(waitMs * 1e6))
  const span = fiber.currentTracer.span("sluice.acquire", Option.some(parent), Context.empty(), [], begin, "internal")
  span.attribute("sluice.wait_ms", waitMs)
  span.attribute("sluice.priority", priority)
  span.attribute("sluice.queue.depth", depth)
  span.end(end, Exit.void)
}

/** The innermost span that is none of `own`. */
const nameOf = (innermost: Tracer.AnySpan | undefined, own: ReadonlySet<string>): string | undefined => {
  let span = innermost
  while (span?._tag === "Span" && own.has(span.name)) span = Option.getOrUndefined(span.parent)
  return span?._tag === "Span" ? span.name : undefined
}

const acquiredIn = ({ note }: Lease<unknown>): Tracer.AnySpan | undefined =>
  note instanceof Traced ? note.span : (note as Tracer.AnySpan | undefined)

/** A lease as a report shows it: the span is the one that the user has opened, and not one of the maker of the pool. */
export interface Holders<A> {
  /** With the span that the holder is in now. */
  readonly present: (lease: Lease<A>, at: number) => Holder
  /** With the span in which it was acquired, because the holder may be somewhere else by now. */
  readonly acquired: (lease: Lease<A>, at: number) => Holder
}

export const holders = <A>(
  describe: (resource: A) => string | undefined,
  ownSpans: ReadonlyArray<string> | undefined
): Holders<A> => {
  const own: ReadonlySet<string> = new Set(ownSpans)
  const holder = (lease: Lease<A>, at: number, span: string | undefined): Holder => ({
    connection: lease.entry.id,
    heldMs: Math.round(at - lease.since),
    activity: describe(lease.entry.resource),
    span
  })
  const now = ({ holder }: Lease<A>) => nameOf((holder as Running | undefined)?.currentSpan, own)
  const then = (lease: Lease<A>) => nameOf(acquiredIn(lease), own)
  return {
    present: (lease, at) => holder(lease, at, now(lease) ?? then(lease)),
    acquired: (lease, at) => holder(lease, at, then(lease) ?? now(lease))
  }
}

/** Tells of leases that are held too long: the events, the log, and the maker of the pool. */
export const leaking =
  <A>(
    pool: string,
    { acquired }: Holders<A>,
    means: {
      readonly now: () => number
      readonly emit: (event: PoolEvent) => void
      readonly log: (message: Effect.Effect<void>) => void
      readonly reclaimed: PoolOptions<A, any, any>["reclaimed"]
    }
  ) =>
  ({ idleMs, isNew, isReclaimed, isRepeated, kind, lease }: Leaking<A>): void => {
    const leak: Leak = {
      ...acquired(lease, means.now()),
      kind,
      idleMs: Math.round(idleMs),
      stack: lease.note instanceof Traced ? lease.note.origin?.() : undefined,
      isReclaimed
    }
    if (isReclaimed) means.reclaimed?.(lease.entry.resource, leak)
    if (isNew) means.emit({ _tag: "Leak", ...leak })
    if (isReclaimed) means.emit({ _tag: "Reclaimed", ...leak })
    // A hundred readers of one connection are one line.
    if (isRepeated) return
    const message = Effect.logWarning(diagnosis.leak(pool, leak, isNew))
    means.log(Effect.annotateLogs(message, { pool, state: isReclaimed ? "reclaimed" : "leak" }))
  }
