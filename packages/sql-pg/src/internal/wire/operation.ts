import type * as Pipeline from "@sluice/sql/driver/Pipeline"
import * as Pg from "./pg.js"
import type { Plan } from "./plans.js"

/**
 * One operation on a connection, from the first byte sent until the server says that it is ready for the next.
 *
 * `pg` reports an error as soon as it is read, before the server is ready again. Whoever released the connection then would hand
 * it to the next user in an unknown state. So an operation only remembers what it reads, and its `onEnd` is called at
 * ReadyForQuery, or when the connection is dead.
 */
export interface Operation extends Pg.Sendable, Pipeline.Operation<Operation> {
  readonly plan: Plan | undefined
  /** It cleans the session first, in the same round trip: see `CLEAN`. If that fails, nothing else of it is executed. */
  readonly cleans?: boolean
  /** It was to clean the session, and has not. */
  isUncleaned?: boolean
  /** Its fiber has left. Makes the server end the operation as soon as the protocol allows it. */
  abandon(connection: Pg.Wire): void
}

/** Nothing but a Sync, which the server answers at once. */
export class Mark extends Pg.QueryBase<Operation> implements Operation {
  readonly plan = undefined
  readonly name = undefined
  readonly text: string = ""
  readonly callback = undefined
  readonly isEmpty: boolean = true
  readonly isMark = true

  submit(connection: Pg.Wire): Error | null {
    connection.sync()
    return null
  }

  handleError(error: unknown): void {
    this.failure ??= error
  }

  abandon(): void {}
}

/** Gives the session back what it was when it was opened. In a transaction, or in a text of several statements, it is refused. */
export const CLEAN = "DISCARD ALL"

/** Cleans the session, for nobody who waits. The next operation may be sent behind it. */
export class Cleaning extends Mark {
  readonly cleans = true
  override readonly text = CLEAN
  override readonly isEmpty = false

  override submit(connection: Pg.Wire): Error | null {
    connection.query(CLEAN)
    return null
  }
}

/** Asks for one value, for nobody who waits. The next operation may be sent behind it. */
export class Question extends Mark {
  override readonly isEmpty = false

  constructor(
    override readonly text: string,
    private readonly told: (value: string | null | undefined) => void
  ) {
    super()
  }

  override submit(connection: Pg.Wire): Error | null {
    connection.query(this.text)
    return null
  }

  override handleDataRow({ fields }: { readonly fields: ReadonlyArray<string | null> }): void {
    this.told(fields[0])
  }
}
