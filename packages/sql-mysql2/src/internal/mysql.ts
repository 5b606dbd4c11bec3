import MysqlModule from "mysql2"

/**
 * The parts of `mysql2` that this driver stands on and that its types leave out: the only file that knows them. A test looks
 * for each of them on a real connection, so that an update of `mysql2` cannot take one away unseen.
 *
 * `mysql2` throws away what the server says about the session after each result (the flags of the EOF packet), and calls
 * back a tick later than it could. So its own commands are used, made to tell a receiver what they read.
 */
export interface Wire extends NodeJS.EventEmitter {
  readonly stream: import("node:net").Socket
  readonly config: WireConfig
  readonly threadId: number
  readonly clientEncoding: string
  /** What the packets that come belong to. */
  readonly _command: object | null | undefined
  /** Number of the packet that comes next, or is written next. */
  sequenceId: number
  readonly _handshakePacket: { readonly serverVersion: string }
  /** Prepared statements by key, the least recently used one is closed when there are too many. */
  readonly _statements: {
    get(key: string): Prepared | undefined
    delete(key: string): boolean
  }
  _resetSequenceId(): void
  _bumpSequenceId(packets: number): void
  writePacket(packet: { readonly buffer: Buffer }): void
  write(buffer: Buffer): void
  addCommand<C>(command: C): C
  format(sql: string, values: ReadonlyArray<unknown>): string
  connect(callback: (error: unknown) => void): void
  end(): void
  pause(): void
  resume(): void
}

export interface WireConfig {
  readonly host: string
  readonly port: number
  readonly socketPath: string | undefined
  readonly user: string | undefined
  readonly password: string | undefined
  readonly database: string | undefined
  readonly charsetNumber: number
  /** A number once it was agreed upon with the server. */
  readonly compress?: boolean | number | undefined
}

/** A statement that the server keeps. */
export interface Prepared {
  readonly id: number
  /** What its rows were like the last time, as objects and as arrays. */
  shapes?: [objects: Shape | undefined, arrays: Shape | undefined]
  /** Sends a COM_STMT_CLOSE, which has no answer. */
  close: () => void
}

interface Packet {
  readonly buffer: Buffer
  readonly sequenceId: number
  readonly start: number
  readonly offset: number
  readonly end: number
  isError(): boolean
  isEOF(): boolean
  eofStatusFlags(): number
  asError(encoding: string): Error & { sql?: string }
}

/** What an OK packet says. */
export interface Header {
  readonly serverStatus: number
  readonly stateChanges?: {
    readonly systemVariables: Record<string, string>
    readonly schema: string | null
    readonly gtids: ReadonlyArray<string>
    readonly trackStateChange: string | null
  }
}

/** Who is told what a command reads. Each command ends with one of `answered`, `refused`, `unsendable` and `lost`. */
export interface Receiver {
  flags(status: number): void
  ok(header: Header): void
  /** Only of commands whose rows are not kept. */
  row(row: unknown): void
  answered(result: unknown): void
  /** The server sent an error, and is ready. */
  refused(error: unknown): void
  /** Nothing was sent. */
  unsendable(error: unknown): void
  /** What the server sent could not be read: nothing that follows can. */
  unreadable(error: unknown): void
  lost(error: unknown): void
}

type State = ((packet: Packet | undefined, connection: Wire) => State) | null

interface Command {
  next: State
  onResult: unknown
  execute(packet: Packet | undefined, connection: Wire): boolean
  start(packet: Packet | undefined, connection: Wire): State
}

interface Statement extends Command {
  readonly options: unknown
  readonly statement: Prepared
  _fields: Array<Array<unknown>>
  _fieldCount: number
  _receivedFieldsCount: number
  _currentRows: Array<unknown> | null
  _currentFields: Array<unknown> | null
  _rows: Array<unknown>
  _resultIndex: number
  _localStreamError: unknown
  _rowParser: { next(packet: Packet, fields: unknown, options: unknown): unknown } | null
  _unpipeStream(): void
  doneInsert(header: Header | null): State
  row(packet: Packet, connection: Wire): State
  fieldsEOF(packet: Packet, connection: Wire): State
  readField(packet: Packet, connection: Wire): State
  resultsetHeader(packet: Packet, connection: Wire): State
}

/** The columns of a result. The server describes them each time, as a rule in the same bytes. */
interface Shape {
  readonly described: ReadonlyArray<Packet>
  readonly fields: ReadonlyArray<unknown>
  readonly Parser: new () => NonNullable<Statement["_rowParser"]>
}

interface StatementOptions {
  readonly sql: string
  readonly values?: ReadonlyArray<unknown> | undefined
  readonly statement?: Prepared | undefined
  readonly rowsAsArray?: boolean | undefined
  readonly infileStreamFactory?: unknown
}

const Mysql = MysqlModule as any

/** The classes of the commands that a method of `mysql2`'s connection makes. They are not exported; the method is. */
const commandsOf = (method: string, ...args: ReadonlyArray<unknown>): ReadonlyArray<any> => {
  const made: Array<any> = []
  const recorder = { config: {}, _resolveNamedPlaceholders() {}, addCommand: (command: object) => made.push(command) }
  Mysql.Connection.prototype[method].apply(recorder, args)
  return made.map((command) => command.constructor)
}

const ignore = () => {}

const [PrepareCommand, ExecuteCommand] = commandsOf("execute", { sql: "" }, ignore) as [
  new (options: StatementOptions, callback: (error: unknown, statement: Prepared) => void) => Command,
  new (options: StatementOptions) => Statement
]

const [PingCommand] = commandsOf("ping", ignore) as [new () => Command]

const [ResetCommand] = commandsOf("reset", ignore) as [new () => Command]

const QueryCommand: new (options: StatementOptions) => Statement = Mysql.createQuery(
  "",
  undefined,
  undefined,
  {}
).constructor

export const ConnectionConfig: new (options: object) => WireConfig = Mysql.ConnectionConfig

export const createConnection: (options: object) => Wire = Mysql.createConnection

/** Numbers of collations by name, for example `UTF8MB4_UNICODE_CI`. */
export const charsets: Readonly<Record<string, number>> = Mysql.Charsets

/** The server is inside a transaction. */
export const IN_TRANSACTION = 0x1

export const AUTOCOMMIT = 0x2

const MORE_RESULTS = 0x8

const CURSOR_EXISTS = 0x40

const LAST_ROW_SENT = 0x80

/** In this session a backslash in a literal is a character like others. */
export const NO_BACKSLASH_ESCAPES = 0x200

const ended: State = null

/**
 * A command that can be written while others before it have not been answered yet. `mysql2` itself writes one when the one
 * before it has ended; the server reads them one after the other all the same.
 */
const writableAhead = <B extends new (...args: any) => Command>(Base: B) =>
  class extends Base {
    private awaits: State | undefined = undefined
    private packets = 0

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

const tapped = (Base: new (options: StatementOptions) => Statement, keepsRows: boolean) => {
  // One function for both protocols: `mysql2` shares it too.
  const row = Base.prototype.row
  return class extends writableAhead(Base) {
    /** Rows that nobody wants are skipped unread. */
    discards = false

    constructor(
      readonly receiver: Receiver,
      options: StatementOptions
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
        else if (this.discards && this.next === row) return false
      }
      const over = super.execute(packet, connection)
      if (!keepsRows && this._currentRows !== null && this._currentRows.length > 0) {
        this.receiver.row(this._currentRows.pop())
      }
      return over
    }

    override doneInsert(header: Header | null): State {
      if (header === null) {
        this.receiver.unreadable(this._localStreamError)
        return ended
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
export const Query = tapped(QueryCommand, true)

/**
 * A prepared statement with its values.
 *
 * Reading the columns, and looking for what reads such rows, takes `mysql2` longer than reading a row. So where they are the
 * same as the last time, which their bytes say, what was made of them is used again; anything else is left to `mysql2`.
 */
export class Execute extends tapped(ExecuteCommand, true) {
  /** What the columns are expected to be, as long as they are. */
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
      const shape = statement.shapes?.[kind]
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
    statement.shapes[kind] = { described, fields: this._fields[0]!, Parser }
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
      this.parser = new shape.Parser()
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
      this.receiver.unreadable(error)
      return true
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
  private goOn(fields: ReadonlyArray<unknown>): boolean {
    this.shape = undefined
    this._rows.push(this.rows)
    this._fields.push(fields.slice())
    this._resultIndex = 1
    this.next = ExecuteCommand.prototype.resultsetHeader
    return false
  }
}

/** The number of columns has one byte up to here. */
const MOST_COLUMNS = 250

/** With bytes of its own: `mysql2` keeps those that a column was read from, and with them all that came in the same read. */
const copyOf = (packet: Packet): Packet => {
  const own = Buffer.from(packet.buffer.subarray(packet.start, packet.end))
  const PacketClass = packet.constructor as new (id: number, buffer: Buffer, start: number, end: number) => Packet
  return new PacketClass(packet.sequenceId, own, 0, own.length)
}

const isSame = (known: Packet, { buffer, end, start }: Packet): boolean =>
  known.end === end - start && buffer.compare(known.buffer, 0, known.end, start, end) === 0

/** As `Query`; each row is told. */
export const QueryRows = tapped(QueryCommand, false)

/** As `Execute`; each row is told. */
export const ExecuteRows = tapped(ExecuteCommand, false)

export type Running = InstanceType<typeof Query>

/** Prepares a statement, and hands it over; the command that uses it may be added then. */
export class Prepare extends writableAhead(PrepareCommand) {
  constructor(
    private readonly receiver: Receiver,
    sql: string,
    prepared: (statement: Prepared) => void,
    /** Kept for others, or for its owner alone. */
    owner?: string
  ) {
    super({ sql, ...(owner === undefined ? {} : { nestTables: owner }) }, (error, statement) => {
      if (error !== null) receiver.lost(error)
      else prepared(statement)
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

/** The key that `mysql2` keeps a statement under. */
export const keyOf = (sql: string, owner?: string): string =>
  Mysql.Connection.statementKey({ sql, rowsAsArray: undefined, ...(owner === undefined ? {} : { nestTables: owner }) })

/** Takes a statement away from those that are kept for others. `mysql2` would close it. */
export const disown = (wire: Wire, key: string, statement: Prepared): void => {
  statement.close = ignore
  wire._statements.delete(key)
  // The method of its class again.
  delete (statement as { close?: unknown }).close
}

/** One packet there, one OK packet back, whose status is told. */
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
      // Two counts, which are 0, stand before it.
      this.receiver.flags(packet.buffer.readUInt16LE(packet.offset + 3))
      const over = super.execute(packet, connection)
      this.receiver.answered(undefined)
      return over
    }
  }

export const Ping = answeredByOk(PingCommand)

/** Makes the session as new, but for its database; prepared statements are gone. */
export const Reset = answeredByOk(ResetCommand)

/** In a COM_STMT_EXECUTE, after the header, the command and the number of the statement. */
const CURSOR_TYPE = 9

const READ_ONLY = 1

/**
 * Executes a prepared statement so that the server keeps the rows and gives them when `Fetch` asks. Some statements cannot
 * have a cursor: then the rows come at once, and are told.
 */
export class OpenCursor extends ExecuteRows {
  isOpen = false

  override start(packet: Packet | undefined, connection: Wire): State {
    const write = connection.writePacket
    connection.writePacket = (packet) => {
      packet.buffer[CURSOR_TYPE]! |= READ_ONLY
      write.call(connection, packet)
    }
    try {
      return super.start(packet, connection)
    } finally {
      connection.writePacket = write
    }
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
    return this._rowParser!.next(packet, this._currentFields, this.options)
  }
}

/** Asks for the next rows of a cursor. Its answer is whether those were the last ones. */
export class Fetch {
  private sent = false
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
    this.receiver.row(this.cursor.read(packet))
    return false
  }
}
