import { Unreadable } from "@sluice/sql/driver/Unreadable"
import { Unsupported } from "./failures.js"
import { command } from "./message.js"
import { CLEAN, type Operation } from "./operation.js"
import * as Pg from "./pg.js"

/**
 * A cursor: a portal of the server, read piece by piece.
 *
 * Inside a transaction each piece ends with a Sync, so that other statements can run in between. Outside of one a Sync
 * would end the portal, so the pieces are joined by Flush, and the connection stays busy until the last.
 */
export class CursorQuery extends Pg.QueryBase<Operation> implements Operation {
  readonly plan = undefined
  readonly name = undefined
  readonly callback = undefined
  readonly isEmpty = false
  readonly isMark = false
  /** Called when the server has sent a piece and waits; only outside of a transaction. */
  suspended: (() => void) | undefined = undefined
  /** See `Operation.cleans`. Set before it is sent. */
  cleans = false
  isUncleaned = false
  /** See `Pipeline.Operation`. Changed by `handlePortalSuspended` and `more`. */
  isResting = false
  /** The server has sent everything. */
  complete = false
  private isClean = false
  private readonly result: Pg.WireResult
  private synced = false

  constructor(
    readonly text: string,
    /** The message that opens the portal. */
    private readonly bound: Buffer,
    readonly portal: string,
    private readonly size: number,
    /** Whether the portal exists already. */
    private readonly opened: boolean,
    private readonly inTransaction: boolean,
    types: Pg.Types
  ) {
    super()
    this.prepares = true
    this.result = new Pg.Result(undefined, types)
  }

  submit(connection: Pg.Wire): Error | null {
    if (!connection.stream.writable) return null
    connection.stream.cork()
    if (!this.opened) {
      if (this.cleans) connection.stream.write(command(CLEAN))
      connection.parse({ text: this.text, name: "" })
      connection.stream.write(this.bound)
    }
    // Rows are parsed by their description, so every piece of a transaction's cursor asks for it again.
    connection.describe({ type: "P", name: this.portal })
    this.ask(connection)
    connection.stream.uncork()
    return null
  }

  private ask(connection: Pg.Wire): void {
    connection.execute({ portal: this.portal, rows: this.size })
    if (this.inTransaction) this.sync(connection)
    else connection.flush()
  }

  private sync(connection: Pg.Wire): void {
    if (this.synced) return
    this.synced = true
    connection.sync()
  }

  /** Asks for the next piece, outside of a transaction. */
  more(connection: Pg.Wire): void {
    this.isResting = false
    connection.stream.cork()
    this.ask(connection)
    connection.stream.uncork()
  }

  /** When the piece that runs has ended, or was cancelled, the server drops the portal and reports that it is ready. */
  abandon(connection: Pg.Wire): void {
    this.isResting = false
    this.sync(connection)
  }

  takeRows(): ReadonlyArray<any> {
    const { rows } = this.result
    this.result.rows = []
    return rows
  }

  override handleRowDescription({ fields }: { readonly fields: ReadonlyArray<Pg.Field> }): void {
    if (this.failure !== undefined) return
    try {
      this.result.addFields(fields)
    } catch (problem) {
      this.failure = new Unreadable(problem)
    }
  }

  override handleDataRow({ fields }: { readonly fields: ReadonlyArray<string | null> }): void {
    if (this.failure !== undefined) return
    try {
      this.result.rows.push(this.result.parseRow(fields))
    } catch (problem) {
      this.failure = new Unreadable(problem)
    }
  }

  override handlePortalSuspended(connection: Pg.Wire): void {
    // A row could not be read, so no other piece is asked for. ReadyForQuery follows.
    if (this.failure !== undefined) this.sync(connection)
    else if (this.suspended !== undefined) {
      this.isResting = true
      this.suspended()
    }
  }

  override handleCommandComplete({ text }: { text: string }, connection: Pg.Wire): void {
    if (this.cleans && !this.isClean && text === CLEAN) {
      this.isClean = true
      return
    }
    this.complete = true
    this.sync(connection)
  }

  override handleEmptyQuery(connection: Pg.Wire): void {
    this.complete = true
    this.sync(connection)
  }

  override handleCopyData(): void {
    this.failure ??= new Unsupported("COPY TO STDOUT is not supported: select the rows, or use a tool that copies")
  }

  override handleCopyInResponse(connection: Pg.Wire): void {
    connection.sendCopyFail("COPY FROM STDIN is not supported")
    // While the server reads a COPY it ignores a Sync, also the one that was sent with the piece.
    this.synced = true
    connection.sync()
  }

  handleError(error: unknown, connection: Pg.Wire): void {
    this.failure ??= error
    // After an error the server skips everything up to the next Sync.
    this.sync(connection)
  }
}
