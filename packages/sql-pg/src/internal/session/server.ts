import { Startup } from "../wire/formats.js"
import { PlanNames } from "../wire/plans.js"

/** What the connections of one client have found out about the server of an endpoint. */
export class Server {
  readonly names = new PlanNames()
  readonly startup: Startup
  /** Milliseconds that a statement may run in a new session, 0 without a limit; `undefined` until the server was asked. */
  statementTimeout: number | undefined
  /** It does not say when it was started, so it is not asked again. */
  hidesStart = false
  private readonly said = new Set<string>()

  constructor(
    /** The program has said that there is a proxy. */
    readonly isProxied: boolean
  ) {
    this.startup = new Startup(isProxied)
  }

  /** Whether this is said for the first time. */
  isNew(what: string): boolean {
    if (this.said.has(what)) return false
    this.said.add(what)
    return true
  }
}
