import type { SqlError } from "@effect/sql/SqlError"
import { Effect, type Fiber, type FiberId, FiberRef } from "effect"
import type { Driver } from "../../driver/Driver.js"
import type { Members } from "./members.js"

/**
 * A note that a fiber has written. Nobody is asked anything when it is made.
 *
 * 1. Marks are counted, and a mark is made when its statement has ended. A question that was sent to the primary after that has a position
 *    that includes what was written.
 * 2. `position` is what the server has said with its answer, or what the primary was asked later. It means nothing after a change of
 *    the roles: then the new primary is asked.
 * 3. A fiber has one mark for all of its writes, because to set a reference costs ten times what it costs to change a mark. A child that was forked
 *    after a write has the mark of its parent, so it may wait for a later write of its parent too. It never waits for too little.
 */
export class Mark {
  constructor(
    public number: number,
    public position: string | undefined,
    public epoch: number,
    /** The fiber that has made it, and changes it with each further write (3). */
    readonly owner: FiberId.FiberId | undefined
  ) {}
}

type Conditions<Conn> = Pick<Driver<any, Conn>, "position" | "reached">

/** What the fibers of one `Sql` have written. There are none without a second server, so that nothing is noted for nobody. */
export class Marks<Conn> {
  /** The last mark of a fiber. A child that is joined gives the later of its own and its parent's. */
  readonly ref: FiberRef.FiberRef<Mark | undefined>
  /** The number of the last mark. */
  count = 0

  constructor(
    private readonly driver: Conditions<Conn>,
    private readonly members: Pick<Members<Conn>, "epoch">
  ) {
    this.ref = FiberRef.unsafeMake<Mark | undefined>(undefined, { join: (parent, child) => this.later(parent, child) })
  }

  /** A statement, or a COMMIT, that writes. It is noted also when it fails, because its outcome may be unknown. */
  around<A>(connection: Conn, statement: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> {
    return Effect.withFiberRuntime((fiber) => {
      const before = this.driver.position?.(connection)
      return Effect.matchCauseEffect(statement, {
        onFailure: (cause) => {
          const set = this.noteIn(fiber, connection, before)
          return set === undefined ? Effect.failCause(cause) : Effect.zipRight(set, Effect.failCause(cause))
        },
        onSuccess: (a) => {
          const set = this.noteIn(fiber, connection, before)
          return set === undefined ? Effect.succeed(a) : Effect.as(set, a)
        }
      })
    })
  }

  /** A statement inside a transaction: only one that has ended the transaction has written something that others see. */
  inside<A>(connection: Conn, statement: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> {
    const { driver } = this
    if (driver.position === undefined) return statement
    return Effect.suspend(() => {
      const before = driver.position!(connection)
      return Effect.ensuring(
        statement,
        Effect.suspend(() => (driver.position!(connection) === before ? Effect.void : this.note(connection, before)))
      )
    })
  }

  /** Notes what has been written on a connection. `before` is its position before that. */
  note(connection: Conn, before: string | undefined): Effect.Effect<void> {
    return Effect.withFiberRuntime((fiber) => this.noteIn(fiber, connection, before) ?? Effect.void)
  }

  /** Nothing is left to be done where the fiber has a mark of its own. */
  private noteIn(
    fiber: Fiber.RuntimeFiber<any, any>,
    connection: Conn,
    before: string | undefined
  ): Effect.Effect<void> | undefined {
    const { epoch } = this.members
    const position = this.driver.position?.(connection)
    const number = ++this.count
    // The same as before: nothing was written, or the server has not said it, as it does not with rows.
    const told = position === before ? undefined : position
    const last = fiber.getFiberRef(this.ref)
    if (last === undefined) return FiberRef.set(this.ref, new Mark(number, told, epoch, fiber.id()))
    const known = last.epoch === epoch ? last.position : undefined
    const isKnown = told !== undefined && known !== undefined
    // Another fiber has written it before, on another connection.
    if (isKnown && this.driver.reached(known, told) === true) return undefined
    const both = isKnown && this.driver.reached(told, known) === true ? told : undefined
    if (last.owner !== fiber.id()) return FiberRef.set(this.ref, new Mark(number, both, epoch, fiber.id()))
    last.number = number
    last.position = both
    last.epoch = epoch
    return undefined
  }

  /** A mark that both are included in. */
  later(one: Mark | undefined, other: Mark | undefined): Mark | undefined {
    if (one === undefined || one === other) return other
    if (other === undefined) return one
    const last = one.number > other.number ? one : other
    if (one.position !== undefined && other.position !== undefined && one.epoch === other.epoch) {
      if (this.driver.reached(other.position, one.position) === true) return other
      if (this.driver.reached(one.position, other.position) === true) return one
    }
    return last.position === undefined ? last : new Mark(last.number, undefined, last.epoch, undefined)
  }
}
