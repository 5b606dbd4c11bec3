import PgModule from "pg"

/**
 * The parts of `pg` that this driver stands on and that its types leave out. They are used in this folder only; a test
 * looks for each of them on a real connection, so that an update of `pg` cannot take one away unseen.
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
  readonly ssl: unknown
  connect(callback: (error: unknown) => void): void
  query(query: WireQuery): void
  getTransactionStatus(): "I" | "T" | "E" | null
}

/** `pg`'s own query object: it turns messages into rows. */
export interface WireQuery {
  name: string | undefined
  readonly text: string
  /** One result, or one for each statement of a text with several. */
  _results: WireResult | Array<WireResult>
  _canceledDueToError: unknown
  _accumulateRows: boolean
  callback: unknown
  handleError(error: unknown, connection: Wire): void
  handleReadyForQuery(connection: Wire): void
  handlePortalSuspended(connection: Wire): void
  handleCommandComplete(message: { text: string }, connection: Wire): void
  handleEmptyQuery(connection: Wire): void
  submit(connection: Wire): Error | null
}

export interface WireResult {
  readonly command: string | null
  rows: Array<any>
}

const Pg = PgModule as any

export const Client: new (config: object) => WireClient = Pg.Client
export const Query: new (config: { text: string; rowMode?: "array" | undefined }) => WireQuery = Pg.Query
export const Connection: new (config: { ssl: unknown; stream: unknown }) => Wire = Pg.Connection

/** Turns a JavaScript value into what is sent as a parameter. Throws on what cannot be sent. */
export const prepareValue: (value: unknown) => string | Buffer | null = Pg.utils.prepareValue
