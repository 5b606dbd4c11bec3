import { State } from "@sluice/sql/driver/Operation"
import PgModule from "pg"
// @ts-expect-error: `pg` has no types for it.
import ConnectionParametersModule from "pg/lib/connection-parameters.js"

/**
 * The parts of `pg` that this driver uses and that the types of `pg` leave out. A test looks for each of them on a real
 * connection, so that an update of `pg` that takes one away is noticed.
 */
export interface Wire extends NodeJS.EventEmitter {
  readonly stream: import("node:net").Socket
  readonly ssl: unknown
  readonly parsedStatements: Record<string, string | undefined>
  readonly submittedNamedStatements: Record<string, string | undefined>
  connect(port: number, host?: string): void
  requestSsl(): void
  cancel(processID: number, secretKey: number): void
  query(text: string): void
  parse(message: { text: string; name: string; types?: ReadonlyArray<number> }): void
  bind(message: {
    portal: string
    statement: string
    values: ReadonlyArray<unknown>
    binary?: boolean
    valueMapper?: (value: unknown) => unknown
  }): void
  describe(message: { type: "P" | "S"; name: string }): void
  execute(message: { portal: string; rows: number }): void
  close(message: { type: "P" | "S"; name: string }): void
  sendCopyFail(message: string): void
  flush(): void
  sync(): void
  end(): void
}

export interface WireClient extends NodeJS.EventEmitter {
  readonly connection: Wire
  readonly host: string
  readonly port: number
  readonly user: string | undefined
  readonly database: string | undefined
  readonly password: string | null | undefined
  readonly connectionParameters: { readonly options: string | undefined }
  readonly processID: number | null
  readonly secretKey: number | null
  readonly ssl: false | object
  readonly sslNegotiation: "postgres" | "direct"
  connect(callback: (error: unknown) => void): void
  query(query: Sendable): void
  getTypeParser: Types["getTypeParser"]
  getTransactionStatus(): "I" | "T" | "E" | null
}

/** What can be sent, and takes the answers. */
export interface Sendable {
  readonly name: string | undefined
  readonly text: string
  readonly callback: unknown
  handleRowDescription(message: { readonly fields: ReadonlyArray<Field> }): void
  handleDataRow(message: { readonly fields: ReadonlyArray<string | null> }): void
  handleError(error: unknown, connection: Wire): void
  handleReadyForQuery(connection: Wire): void
  handlePortalSuspended(connection: Wire): void
  handleCommandComplete(message: { readonly text: string }, connection: Wire): void
  handleEmptyQuery(connection: Wire): void
  handleCopyInResponse(connection: Wire): void
  handleCopyData(message: unknown, connection: Wire): void
  submit(connection: Wire): Error | null
}

/** A setting that the server reports, at the beginning of a session and when it changes. */
export interface ParameterStatus {
  readonly parameterName: string
  readonly parameterValue: string
}

/** A column. */
export interface Field {
  readonly name: string
  readonly dataTypeID: number
}

/** Turns messages into rows. */
export interface WireResult {
  readonly command: string | null
  readonly rowCount: number | null
  rows: Array<any>
  fields: ReadonlyArray<Field>
  /** What reads the columns, made by `addFields`. */
  _parsers: Array<(text: string) => unknown>
  /** A row without values, made by `addFields`. Every row begins as a copy of it. */
  _prebuiltEmptyResultObject: object
  addFields(fields: ReadonlyArray<Field>): void
  addCommandComplete(message: { readonly text: string }): void
  parseRow(fields: ReadonlyArray<string | null>): unknown
}

export interface Types {
  getTypeParser(oid: number, format?: string): (text: string) => unknown
}

const Pg = PgModule as any

interface Handlers {
  getStartupConf(): Record<string, string>
  _handleAuthCleartextPassword(message: unknown): void
  _handleAuthMD5Password(message: unknown): void
  _handleAuthSASL(message: { readonly mechanisms: ReadonlyArray<string> }): void
}

/** What `pg` has no option for. */
interface More {
  readonly startup?: StartupParameters
  /** Whether a login fails that the server does not bind to the TLS connection, as with `channel_binding=require` of libpq. */
  readonly mustBind?: boolean
}

/** What a client reads from its configuration and from the environment. */
export const ConnectionParameters: new (
  config: object
) => {
  readonly host: string
  readonly port: number
  readonly user: string | undefined
  readonly database: string | undefined
  readonly password: string | undefined
  readonly options: string | undefined
} = ConnectionParametersModule

const unbound = () =>
  new Error(
    "channel_binding=require: the server does not bind the login to the TLS connection (SCRAM-SHA-256-PLUS), so no password was sent"
  )

/** The client of `pg`, with what it has no option for. */
export const Client: new (config: Record<string, unknown> & More) => WireClient = class extends (Pg.Client as new (
  config: object
) => WireClient & Handlers) {
  private isBound = false

  constructor(private readonly config: More) {
    super(config)
    if (config.mustBind !== true) return
    // A server that asks for no password at all says this first.
    this.connection.once("authenticationOk", () => {
      if (!this.isBound) this.connection.emit("error", unbound())
    })
  }

  override getStartupConf(): Record<string, string> {
    return { ...super.getStartupConf(), ...this.config.startup?.(this.connectionParameters.options) }
  }

  override _handleAuthCleartextPassword(message: unknown): void {
    if (this.mayAnswer(false)) super._handleAuthCleartextPassword(message)
  }

  override _handleAuthMD5Password(message: unknown): void {
    if (this.mayAnswer(false)) super._handleAuthMD5Password(message)
  }

  override _handleAuthSASL(message: { readonly mechanisms: ReadonlyArray<string> }): void {
    this.isBound = message.mechanisms.includes("SCRAM-SHA-256-PLUS")
    if (this.mayAnswer(this.isBound)) super._handleAuthSASL(message)
  }

  private mayAnswer(isBound: boolean): boolean {
    if (this.config.mustBind !== true || isBound) return true
    this.connection.emit("error", unbound())
    return false
  }
}

/** The parameters to send besides those of `pg`. `options` are those that the program has set. */
export type StartupParameters = (options: string | undefined) => Readonly<Record<string, string>>

/** The type parsers of all clients. */
export const types: Types & {
  readonly arrayParser: {
    readonly create: (
      text: string,
      transform: (element: string | null) => unknown
    ) => { readonly parse: () => ReadonlyArray<unknown> }
  }
} = Pg.types
export const Result: new (rowMode: "array" | undefined, types: Types) => WireResult = Pg.Result
export const Connection: new (config: { ssl: unknown; sslNegotiation: string; stream: unknown }) => Wire = Pg.Connection

/** Turns a JavaScript value into what is sent as a parameter. Throws on what cannot be sent. */
export const prepareValue: (value: unknown) => string | Buffer | null = Pg.utils.prepareValue

/**
 * The base of the queries of this driver. On a connection that pipelines `pg` refuses a query that is not of its own class. The
 * constructor of that class reads a configuration, which takes a tenth of the time of a short statement, so it is not called.
 */
export class QueryBase<Self> extends State<Self> {
  handleRowDescription(_message: { readonly fields: ReadonlyArray<Field> }): void {}
  handleDataRow(_message: { readonly fields: ReadonlyArray<string | null> }): void {}
  handleCommandComplete(_message: { readonly text: string }, _connection: Wire): void {}
  handleReadyForQuery(): void {}
  handlePortalSuspended(_connection: Wire): void {}
  handleEmptyQuery(_connection: Wire): void {}
  handleCopyInResponse(_connection: Wire): void {}
  handleCopyData(): void {}
}
Object.setPrototypeOf(QueryBase.prototype, Pg.Query.prototype)
