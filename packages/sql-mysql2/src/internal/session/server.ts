/** What a connection knows about its server. */
export interface Server {
  /** Equal for two connections to the same server. */
  readonly identity: string
  /** The id that the server has given itself. Some servers have none. */
  readonly id: string | undefined
  /** The number of the session on the server, for KILL. `undefined`: a proxy hides it. */
  readonly thread: number | string | undefined
  /** The server reports when a statement has changed the session. */
  readonly reports: boolean
  /** The statements that give a session the settings of this client again after a reset. */
  readonly settings: string
  /** The COMMIT, not bounded by the statement timeout of the session. */
  readonly commit: string
  /** In a new session a double quote is the quote of a name. */
  readonly quotesNames: boolean
  /** Bytes of a packet that the server accepts. It closes the connection over a larger one. */
  readonly longest: number
}

/** Before the server was asked. */
export const unknown: Server = {
  identity: "",
  id: undefined,
  thread: undefined,
  reports: false,
  settings: "",
  commit: "COMMIT",
  quotesNames: false,
  longest: Infinity
}
