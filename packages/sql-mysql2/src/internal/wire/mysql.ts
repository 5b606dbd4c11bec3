import { Option } from "effect"
import MysqlModule from "mysql2"

/**
 * The parts of `mysql2` that this driver uses and that the types of `mysql2` leave out. A test looks for each of them on a real
 * connection, so that an update of `mysql2` that takes one away is noticed.
 */
export interface Wire extends NodeJS.EventEmitter {
  readonly stream: import("node:net").Socket
  readonly config: WireConfig
  readonly _isMariaDB: boolean
  readonly serverCapabilityFlags: number
  readonly threadId: number
  readonly clientEncoding: string
  /** The command that the packets that come belong to. */
  readonly _command: object | null | undefined
  /** The number of the next packet. */
  sequenceId: number
  readonly _handshakePacket: { readonly serverVersion: string }
  /** Prepared statements by key. When there are too many, the least recently used one is closed. */
  readonly _statements: {
    get(key: string): Prepared | undefined
    delete(key: string): boolean
    clear(): void
  }
  _resetSequenceId(): void
  _bumpSequenceId(packets: number): void
  writePacket(packet: Request): void
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
  readonly clientFlags: number
  readonly timezone: string
  /** A number, when the server has agreed to compress. */
  readonly compress?: boolean | number | undefined
}

/** A statement that the server keeps. */
export interface Prepared {
  readonly id: number
  /** The number of its parameters. */
  placeholders?: number
  /** What its rows were like the last time, as objects and as arrays: see `commands.ts`. */
  shapes?: [objects: unknown, arrays: unknown]
  /** Sends a COM_STMT_CLOSE, which has no answer. */
  close: () => void
}

export interface Packet {
  buffer: Buffer
  readonly sequenceId: number
  start: number
  offset: number
  end: number
  isError(): boolean
  isEOF(): boolean
  eofStatusFlags(): number
  asError(encoding: string): Error & { sql?: string }
}

/** A packet to the server. The first 4 bytes are for its header. */
export interface Request {
  readonly buffer: Buffer
  length(): number
  writeHeader(sequenceId: number): void
}

/** What `mysql2` makes packets with. */
export interface PacketClass {
  new (
    id: number,
    buffer: Buffer,
    start: number,
    end: number
  ): Packet & {
    writeLengthCodedString(text: string, encoding: string): void
    readLengthCodedString(encoding: string): string
    readLengthCodedBuffer(): Buffer
    readDateTime(timezone: string | undefined): Date | null
    parseDate(timezone: string | undefined): Date | null
    parseDateTime(timezone: string | undefined): Date | null
    readFloat(): number
    parseFloat(length: number | null): number | null
    parseJson(encoding: string): unknown
  }
  lengthCodedStringLength(text: string, encoding: string): number
}

/** A column of a result. */
export interface Field {
  readonly name: string
  readonly columnType: number
  readonly decimals: number
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

/** What a statement without rows has done, as `mysql2` gives it. Rows are plain objects or arrays. */
interface Result {
  readonly affectedRows: number | string
  readonly insertId: number | string
}

export const isHeader = (result: unknown): result is Result =>
  typeof result === "object" && result !== null && result.constructor?.name === "ResultSetHeader"

/** What is told what a command reads. Each command ends with one of `answered`, `refused`, `unsendable` and `lost`. */
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
  /** A type parser of the program has failed to read a row. The rows that follow are skipped, and the end is told as ever. */
  unread(error: unknown): void
  lost(error: unknown): void
}

export type State = ((packet: Packet | undefined, connection: Wire) => State) | null

export interface Command {
  next: State
  onResult: unknown
  execute(packet: Packet | undefined, connection: Wire): boolean
  start(packet: Packet | undefined, connection: Wire): State
}

export interface Statement extends Command {
  options: unknown
  _connection: Wire
  readonly _executeOptions: unknown
  readonly statement: Prepared
  _fields: Array<Array<Field>>
  _fieldCount: number
  _receivedFieldsCount: number
  _currentRows: Array<unknown> | null
  _currentFields: Array<Field> | null
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

export interface StatementOptions {
  readonly sql: string
  readonly statement?: Prepared | undefined
  readonly rowsAsArray?: boolean | undefined
  readonly infileStreamFactory?: unknown
}

const Mysql = MysqlModule as any

/** The classes of the commands that a method of a connection makes. `mysql2` exports the method and not the classes. */
const commandsOf = (method: string, ...args: ReadonlyArray<unknown>): ReadonlyArray<any> => {
  const made: Array<any> = []
  const recorder = { config: {}, _resolveNamedPlaceholders() {}, addCommand: (command: object) => made.push(command) }
  Mysql.Connection.prototype[method].apply(recorder, args)
  return made.map((command) => command.constructor)
}

const ignore = () => {}

export const [PrepareCommand, ExecuteCommand] = commandsOf("execute", { sql: "" }, ignore) as [
  new (options: StatementOptions, callback: (error: unknown, statement: Prepared) => void) => Command,
  new (options: StatementOptions) => Statement
]

export const [PingCommand] = commandsOf("ping", ignore) as [new () => Command]

export const [ResetCommand] = commandsOf("reset", ignore) as [new () => Command]

export const QueryCommand: new (options: StatementOptions) => Statement = Mysql.createQuery(
  "",
  undefined,
  undefined,
  {}
).constructor

export const ConnectionConfig: {
  new (options: object): WireConfig
  /** The options of a statement. */
  queryOptions(config: WireConfig, own: object): unknown
} = Mysql.ConnectionConfig

/** The encodings of collations, by number. */
export const encodings: ReadonlyArray<string> = Mysql.CharsetToEncoding

/** A parameter that a program has given a type with `TypedParameter` of `mysql2`. */
export interface Typed {
  readonly type: number
  readonly value: unknown
}

const TypedClass: new () => Typed = Mysql.TypedParameter.NULL().constructor

export const isTyped = (value: object): value is Typed => value instanceof TypedClass

export const createConnection: (options: object) => Wire = Mysql.createConnection

/** The TLS options that `mysql2` knows under a name, such as `Amazon RDS`. */
export const sslProfile = (name: string): object | undefined =>
  Option.getOrUndefined(Option.liftThrowable((): object => Mysql.ConnectionConfig.getSSLProfile(name))())

/** Numbers of collations by name, for example `UTF8MB4_UNICODE_CI`. */
export const charsets: Readonly<Record<string, number>> = Mysql.Charsets

/** The server is inside a transaction. */
export const IN_TRANSACTION = 0x1

export const AUTOCOMMIT = 0x2

export const MORE_RESULTS = 0x8

export const CURSOR_EXISTS = 0x40

export const LAST_ROW_SENT = 0x80

/** In this session a backslash in a literal is a character like others. */
export const NO_BACKSLASH_ESCAPES = 0x200

/** The client may name parameters. Then each parameter has a name, which may be empty. */
export const NAMED_PARAMETERS = 0x8000000

/** The key that `mysql2` keeps a statement under. */
export const keyOf = (sql: string, owner?: string): string =>
  Mysql.Connection.statementKey({ sql, rowsAsArray: undefined, ...(owner === undefined ? {} : { nestTables: owner }) })

/** Takes a statement out of those that are kept, without closing it on the server as `mysql2` would. */
export const disown = (wire: Wire, key: string, statement: Prepared): void => {
  statement.close = ignore
  wire._statements.delete(key)
  // From now on `close` is the method of its class again.
  delete (statement as { close?: unknown }).close
}

let Packet: PacketClass | undefined

/** `mysql2` does not export the class of its packets: it is that of the first one that comes. */
export const learn = (packet: Packet): PacketClass => {
  Packet ??= packet.constructor as PacketClass
  return Packet
}

/** A text in an encoding that is not UTF-8, and the text that these bytes are read as. */
export const encode = (text: string, encoding: string): { readonly bytes: Buffer; readonly read: string } => {
  const Class = Packet!
  const size = 4 + Class.lengthCodedStringLength(text, encoding)
  const packet = new Class(0, Buffer.alloc(size), 0, size)
  packet.writeLengthCodedString(text, encoding)
  packet.offset = 4
  const read = packet.readLengthCodedString(encoding)
  packet.offset = 4
  return { bytes: packet.readLengthCodedBuffer(), read }
}

/** A packet of these bytes. */
export const requestOf = (buffer: Buffer): Request => ({
  buffer,
  length: () => buffer.length,
  writeHeader: (sequenceId) => {
    buffer.writeUIntLE(buffer.length - 4, 0, 3)
    buffer[3] = sequenceId
  }
})
