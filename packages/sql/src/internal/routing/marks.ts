import type { SqlError } from "@effect/sql/SqlError"
import { Effect, FiberRef } from "effect"
import type { Driver } from "../../driver/Driver.js"
import type { Members } from "./members.js"

/**
 * A note that a fiber has written. Nobody is asked anything when it is made.
 *
 * 1. Marks are counted, and a mark is made when its statement has ended. A question that was sent to the primary after that has a position
 *    that includes what was written.
 * 2. `position` is what the server has said with its answer, or what the primary was asked later. It means nothing after a change of
 *    the roles: then the new primary is asked.
 */
export class Mark {
  constructor(
    readonly number: number,
    public position: string | undefined,
    public epoch: number
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
    return Effect.suspend(() => {
      const before = this.driver.position?.(connection)
      return Effect.matchCauseEffect(statement, {
        onFailure: (cause) => Effect.zipRight(this.note(connection, before), Effect.failCause(cause)),
        onSuccess: (a) => Effect.as(this.note(connection, before), a)
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
    return FiberRef.update(this.ref, (last) => {
      const position = this.driver.position?.(connection)
      // The same as before: nothing was written, or the server has not said it, as it does not with rows.
      const isTold = position !== before
      return this.later(last, new Mark(++this.count, isTold ? position : undefined, this.members.epoch))
    })
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
    return last.position === undefined ? last : new Mark(last.number, undefined, last.epoch)
  }
}
