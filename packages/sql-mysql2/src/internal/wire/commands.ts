import {
  type Command,
  ConnectionConfig,
  CURSOR_EXISTS,
  ExecuteCommand,
  type Field,
  type Header,
  LAST_ROW_SENT,
  learn,
  MORE_RESULTS,
  NAMED_PARAMETERS,
  type Packet,
  PingCommand,
  PrepareCommand,
  type Prepared,
  QueryCommand,
  type Receiver,
  ResetCommand,
  requestOf,
  type State,
  type Statement,
  type StatementOptions,
  type Wire
} from "./mysql.js"
import { type Plan, plan, Reader } from "./rows.js"
import * as values from "./values.js"

/*
 * `mysql2` discards the status of the session that the server sends after each result (the flags of the EOF packet), and calls
 * back a tick later than it could. So the commands here extend those of `mysql2`, and tell a receiver what they read.
 */

const ended: State = null

/**
 * A command that can be written while others before it have not been answered yet. `mysql2` itself writes one when the one
 * before it has ended; the server reads them one after the other all the same.
 */
const writableAhead = <B extends new (...args: any) => Command>(Base: B) =>
  class extends Base {
    awaits: State | undefined = undefined
    packets = 0

    /** Whether it could be written. */
    writeAhead(connection: Wire): boolean {
      const { sequenceId } = connection
      connection._resetSequenceId()
      this.awaits = super.start(undefined, connection)
      this.packets = connection.sequenceId
      connection.sequenceId = sequenceId
      return this.awaits !== null
    }

    override start(packet: Packet | undefined, connection: Wire): State {
      if (this.awaits === undefined) return super.start(packet, connection)
      connection._bumpSequenceId(this.packets)
      return this.awaits
    }
  }

export interface Ahead {
  readonly writeAhead: (connection: Wire) => boolean
}

/** Writes a command at once, also behind others. */
export const sendBehind = (wire: Wire, command: Ahead): void => {
  if (!wire._command || command.writeAhead(wire)) wire.addCommand(command)
}

/** The columns of a result. The server describes them at each execution, as a rule in the same bytes. */
interface Shape {
  readonly described: ReadonlyArray<Packet>
  readonly fields: ReadonlyArray<Field>
  readonly Parser: new () => NonNullable<Statement["_rowParser"]>
  readonly plan: Plan
}

/** A prepared statement, and what it is executed with. */
interface Execution extends StatementOptions {
  readonly statement: Prepared
  readonly values: ReadonlyArray<values.Value>
  readonly style: values.Style
}

/** Executes a prepared statement with parameters that this driver has written. `mysql2` would send every number as a double. */
class Executed extends ExecuteCommand {
  /** The server keeps the rows until it is asked for them. */
  protected get opensCursor(): boolean {
    return false
  }

  override start(_packet: Packet | undefined, connection: Wire): State {
    const execution = this._executeOptions as Execution
    const { statement, style } = execution
    this._connection = connection
    this.options = ConnectionConfig.queryOptions(connection.config, execution)
    const named = (connection.config.clientFlags & connection.serverCapabilityFlags & NAMED_PARAMETERS) !== 0
    try {
      connection.writePacket(
        requestOf(values.execution(statement.id, execution.values, style, named, this.opensCursor))
      )
      return ExecuteCommand.prototype.resultsetHeader
    } catch (problem) {
      ;(this.onResult as (error: unknown) => void)(problem)
      return ended
    }
  }
}

const tapped = <Options extends StatementOptions>(
  Base: new (options: Options) => Statement,
  keepsRows: boolean,
  isPrepared: boolean
) => {
  // `mysql2` has one function for the rows of both protocols.
  const row = Base.prototype.row
  return class extends writableAhead(Base) {
    /** Rows that nobody wants are skipped unread. */
    discards = false
    reader: Reader | undefined = undefined

    constructor(
      readonly receiver: Receiver,
      options: Options
    ) {
      super(options as any)
      this.onResult = (error: { readonly fatal?: boolean } | null) => {
        if (error?.fatal) receiver.lost(error)
        else receiver.unsendable(error)
      }
    }

    override execute(packet: Packet | undefined, connection: Wire): boolean {
      if (packet !== undefined) {
        if (packet.isError()) {
          this._unpipeStream()
          this.receiver.refused(packet.asError(connection.clientEncoding))
          return true
        }
        if (packet.isEOF()) this.receiver.flags(packet.eofStatusFlags())
        else if (this.next === row) {
          if (this.discards) return false
          this.readWell()
        } else learn(packet)
      }
      const over = super.execute(packet, connection)
      if (!keepsRows && this._currentRows !== null && this._currentRows.length > 0) {
        this.receiver.row(this._currentRows.pop())
      }
      return over
    }

    /** Rows are read in one way, whichever protocol they come by. */
    readWell(): void {
      const parser = this._rowParser
      if (parser === null || parser === this.reader) return
      this.reader = new Reader(parser, plan(this._currentFields!, this.options, isPrepared))
      this._rowParser = this.reader
    }

    override doneInsert(header: Header | null): State {
      if (header === null) {
        // `mysql2` could not read a row, and would leave the rest of the answer to the next command.
        this.receiver.unread(this._localStreamError)
        this._localStreamError = undefined
        this.discards = true
        return row
      }
      this.receiver.ok(header)
      if (this._localStreamError) {
        this.receiver.refused(this._localStreamError)
        return ended
      }
      return super.doneInsert(header)
    }

    done(): State {
      this._unpipeStream()
      this.receiver.answered(this._resultIndex === 0 ? this._rows[0] : this._rows)
      return ended
    }
  }
}

/** A text; several statements may be in it, and the values already are. */
export const Query = tapped(QueryCommand, true, false)

/**
 * A prepared statement with its values.
 *
 * `mysql2` needs longer to read the columns, and to find the parser of such rows, than to read a row. So if the bytes of the
 * columns are those of the last execution, its fields and its parser are used again. All else is left to `mysql2`.
 */
export class Execute extends tapped<Execution>(Executed, true, true) {
  /** The columns of the last execution, as long as those that come are the same. */
  private shape: Shape | undefined = undefined
  private seen = 0
  private parser: Statement["_rowParser"] = null
  private readonly rows: Array<unknown> = []
  private described: Array<Packet> | undefined = undefined

  override execute(packet: Packet | undefined, connection: Wire): boolean {
    if (packet === undefined) return super.execute(packet, connection)
    if (this.shape !== undefined) return this.readKnown(this.shape, packet, connection)
    const { next, statement } = this
    const kind = this.asArrays ? 1 : 0
    if (next === ExecuteCommand.prototype.resultsetHeader && this._resultIndex === 0) {
      const shape = statement.shapes?.[kind] as Shape | undefined
      if (shape !== undefined && packet.buffer[packet.offset] === shape.fields.length) {
        this.shape = shape
        return false
      }
      this.described = []
    } else if (this.described !== undefined && !packet.isError()) {
      if (next === ExecuteCommand.prototype.readField) {
        const own = copyOf(packet)
        this.described.push(own)
        return super.execute(own, connection)
      }
      if (next === ExecuteCommand.prototype.fieldsEOF) {
        const over = super.execute(packet, connection)
        this.remember(kind, this.described)
        this.described = undefined
        return over
      }
    }
    return super.execute(packet, connection)
  }

  private remember(kind: 0 | 1, described: ReadonlyArray<Packet>): void {
    if (described.length > MOST_COLUMNS) return
    const { statement } = this
    statement.shapes ??= [undefined, undefined]
    const Parser = this._rowParser!.constructor as Shape["Parser"]
    const fields = this._fields[0]!
    statement.shapes[kind] = { described, fields, Parser, plan: plan(fields, this.options, true) } satisfies Shape
  }

  private get asArrays(): boolean {
    return (this.options as { readonly rowsAsArray?: boolean }).rowsAsArray === true
  }

  private readKnown(shape: Shape, packet: Packet, connection: Wire): boolean {
    const { seen } = this
    const { fields } = shape
    if (packet.isError()) {
      this.receiver.refused(packet.asError(connection.clientEncoding))
      return true
    }
    if (seen < fields.length) {
      if (!isSame(shape.described[seen]!, packet)) return this.relearn(shape, packet, connection)
      this.seen++
      return false
    }
    if (seen === fields.length) {
      this.receiver.flags(packet.eofStatusFlags())
      this.parser = new Reader(new shape.Parser(), shape.plan)
      this.seen++
      return false
    }
    if (packet.isEOF()) {
      const status = packet.eofStatusFlags()
      this.receiver.flags(status)
      if ((status & MORE_RESULTS) !== 0) return this.goOn(fields)
      this.receiver.answered(this.rows)
      return true
    }
    if (this.discards) return false
    try {
      this.rows.push(this.parser!.next(packet, fields, this.options))
      return false
    } catch (error) {
      this.receiver.unread(error)
      this.discards = true
      return false
    }
  }

  /** The columns are others than the last time: `mysql2` reads the rest of them. */
  private relearn({ described, fields }: Shape, packet: Packet, connection: Wire): boolean {
    const { seen } = this
    this.shape = undefined
    this.described = described.slice(0, seen)
    this._currentRows = []
    this._currentFields = fields.slice(0, seen)
    this._rows.push(this._currentRows)
    this._fields.push(this._currentFields)
    this._fieldCount = fields.length
    this._receivedFieldsCount = seen
    this.next = ExecuteCommand.prototype.readField
    return this.execute(packet, connection)
  }

  /** Another result follows: `mysql2` reads it. */
  private goOn(fields: ReadonlyArray<Field>): boolean {
    this.shape = undefined
    this._rows.push(this.rows)
    this._fields.push(fields.slice())
    this._resultIndex = 1
    this.next = ExecuteCommand.prototype.resultsetHeader
    return false
  }
}

/** Up to this number of columns the protocol writes the number in one byte. */
const MOST_COLUMNS = 250

/** A copy. `mysql2` keeps the bytes that a column was read from, and would keep all bytes of the same read of the socket. */
const copyOf = (packet: Packet): Packet => {
  const own = Buffer.from(packet.buffer.subarray(packet.start, packet.end))
  const PacketClass = packet.constructor as new (id: number, buffer: Buffer, start: number, end: number) => Packet
  return new PacketClass(packet.sequenceId, own, 0, own.length)
}

const isSame = (known: Packet, { buffer, end, start }: Packet): boolean =>
  known.end === end - start && buffer.compare(known.buffer, 0, known.end, start, end) === 0

/** As `Query`; each row is told. */
export const QueryRows = tapped(QueryCommand, false, false)

/** As `Execute`; each row is told. */
export const ExecuteRows = tapped<Execution>(Executed, false, true)

/** Prepares a statement, and calls `prepared` with it. The command that uses the statement may be added then. */
export class Prepare extends writableAhead(PrepareCommand) {
  /** `mysql2` sets it to what the server says. */
  declare parameterCount: number

  constructor(
    private readonly receiver: Receiver,
    sql: string,
    prepared: (statement: Prepared) => void,
    /** The name of who alone may use the statement. `undefined`: it is kept for all. */
    owner?: string
  ) {
    super({ sql, ...(owner === undefined ? {} : { nestTables: owner }) }, (error, statement) => {
      if (error !== null) receiver.lost(error)
      else {
        statement.placeholders ??= this.parameterCount
        prepared(statement)
      }
    })
  }

  override execute(packet: Packet | undefined, connection: Wire): boolean {
    if (packet?.isError()) {
      this.receiver.refused(packet.asError(connection.clientEncoding))
      return true
    }
    return super.execute(packet, connection)
  }
}

/** A command of one packet, which the server answers with one OK packet. Its status is told. */
const answeredByOk = (Base: new () => Command) =>
  class extends writableAhead(Base) {
    constructor(readonly receiver: Receiver) {
      super()
      this.onResult = (error: unknown) => {
        if (error) receiver.lost(error)
      }
    }

    override execute(packet: Packet | undefined, connection: Wire): boolean {
      if (packet === undefined) return super.execute(packet, connection)
      if (packet.isError()) {
        this.receiver.refused(packet.asError(connection.clientEncoding))
        return true
      }
      // Before it stand two counts, which are 0.
      this.receiver.flags(packet.buffer.readUInt16LE(packet.offset + 3))
      const over = super.execute(packet, connection)
      this.receiver.answered(undefined)
      return over
    }
  }

export const Ping = answeredByOk(PingCommand)

/** Makes the session as new, but for its database; prepared statements are gone. */
export const Reset = answeredByOk(ResetCommand)

/** Whether a packet executes a prepared statement. */
export const isExecute = ({ buffer }: { readonly buffer: Buffer }): boolean => buffer[4] === 0x17

/**
 * Executes a prepared statement so that the server keeps the rows until `Fetch` asks for them. A statement that cannot have a
 * cursor gives all its rows at once.
 */
export class OpenCursor extends ExecuteRows {
  isOpen = false

  protected get opensCursor(): boolean {
    return true
  }

  override execute(packet: Packet | undefined, connection: Wire): boolean {
    const isEndOfFields = packet !== undefined && this.next === ExecuteCommand.prototype.fieldsEOF
    this.isOpen = isEndOfFields && packet.isEOF() && (packet.eofStatusFlags() & CURSOR_EXISTS) !== 0
    const over = super.execute(packet, connection)
    if (!this.isOpen) return over
    this.receiver.answered(undefined)
    return true
  }

  read(packet: Packet): unknown {
    this.readWell()
    return this._rowParser!.next(packet, this._currentFields, this.options)
  }
}

/** Asks for the next rows of a cursor. Its answer is whether those were the last ones. */
export class Fetch {
  private sent = false
  private discards = false
  readonly onResult: (error: unknown) => void

  constructor(
    private readonly receiver: Receiver,
    private readonly cursor: OpenCursor,
    private readonly statement: Prepared,
    private readonly rows: number
  ) {
    this.onResult = (error) => receiver.lost(error)
  }

  execute(packet: Packet | undefined, connection: Wire): boolean {
    if (!this.sent) {
      this.sent = true
      const request = Buffer.alloc(13)
      request.writeUInt32LE(9, 0)
      request.writeUInt8(0x1c, 4)
      request.writeUInt32LE(this.statement.id, 5)
      request.writeUInt32LE(this.rows, 9)
      connection._resetSequenceId()
      connection.write(request)
      connection._bumpSequenceId(1)
      return false
    }
    if (packet === undefined) return false
    if (packet.isError()) {
      this.receiver.refused(packet.asError(connection.clientEncoding))
      return true
    }
    if (packet.isEOF()) {
      const status = packet.eofStatusFlags()
      this.receiver.flags(status)
      this.receiver.answered((status & LAST_ROW_SENT) !== 0)
      return true
    }
    if (this.discards) return false
    try {
      this.receiver.row(this.cursor.read(packet))
    } catch (error) {
      this.receiver.unread(error)
      this.discards = true
    }
    return false
  }
}
