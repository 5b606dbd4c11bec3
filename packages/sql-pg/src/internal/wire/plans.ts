import { createHash } from "node:crypto"
import type * as Pg from "./pg.js"
import { isPreparable } from "./texts.js"

/** Prepared statements of each connection. A larger number costs memory of the server, a smaller one costs planning. */
const MAX_PLANS = 100

/** Names that each client remembers, in each of two generations. */
const MAX_NAMES = 500

/** A statement that the server keeps under a name. */
export class Plan {
  usedAt = 0
  /** Operations under way that use the name. The plan is not evicted until they have ended. */
  users = 0
  /** The columns of its rows, once the server has described them. The server never executes a plan with other columns. */
  shape: ReadonlyArray<Pg.Field> | undefined = undefined
  /** A row of these columns without values. */
  emptyRow: object | undefined = undefined

  constructor(
    readonly sql: string,
    readonly name: string,
    /** The search_path that its tables were found in. */
    readonly searchPath: string
  ) {}
}

/**
 * The names of prepared statements. A name is made of the text alone, so it cannot stand for another text, whoever has prepared
 * it: behind a pooler a server connection may have got its statements from another program. The types of the parameters have no
 * part in the name, because the server finds them out from the text.
 */
export class PlanNames {
  /**
   * Another client prepares statements in the same server sessions, so there is a pooler that the program has not mentioned. No
   * statement is prepared by name from now on.
   */
  areShared = false
  private young = new Map<string, string>()
  private old = new Map<string, string>()

  of(sql: string): string {
    return this.young.get(sql) ?? this.remember(sql)
  }

  private remember(sql: string): string {
    // 96 bits of the hash: as many as make no two texts meet, and no more, because the name is sent with each execution.
    const name = this.old.get(sql) ?? `sl_${createHash("sha256").update(sql).digest("base64url").slice(0, 16)}`
    if (this.young.size >= MAX_NAMES) {
      this.old = this.young
      this.young = new Map()
    }
    this.young.set(sql, name)
    return name
  }
}

/**
 * The prepared statements of one connection, by search_path and text: the same text may mean other tables, with other columns. The
 * server is told to forget one in the same round trip as the next operation, and before that operation prepares anything, so a name
 * that is used again is never in use. PostgreSQL before 18 does not report its search_path, which is empty here then.
 */
export class Plans {
  /** The plans of the present search_path. */
  private plans = new Map<string, Plan>()
  private readonly bySearchPath = new Map<string, Map<string, Plan>>()
  private count = 0
  private forget: Array<string> = []
  private uses = 0

  constructor(
    private readonly wire: Pg.Wire,
    private readonly names: PlanNames,
    /** A statement that changes the session is looked at each time it is executed, and one with a plan is not. */
    private readonly changesSession: (sql: string) => boolean,
    /** The one that the session begins with. */
    private readonly firstSearchPath: string,
    private searchPath = firstSearchPath
  ) {
    this.bySearchPath.set(searchPath, this.plans)
  }

  /** From the next statement on the session has this search_path. */
  searchIn(searchPath: string): void {
    if (this.plans.size === 0) this.bySearchPath.delete(this.searchPath)
    this.searchPath = searchPath
    this.plans = this.bySearchPath.get(searchPath) ?? new Map()
    this.bySearchPath.set(searchPath, this.plans)
  }

  /** The plan of a text. `undefined`: the text is not worth one, all names are in use, or names are shared with others. */
  of(sql: string, params: ReadonlyArray<unknown>): Plan | undefined {
    if (this.names.areShared) return undefined
    const known = this.plans.get(sql)
    if (known !== undefined) {
      // The order of use is a number, so that finding a plan does not change the map.
      known.usedAt = ++this.uses
      return known
    }
    if (!isPreparable(sql, params) || this.changesSession(sql)) return undefined
    if (this.count >= MAX_PLANS && !this.evict()) return undefined
    const { firstSearchPath, searchPath } = this
    // Two search_paths have two statements, so they have two names.
    const name = this.names.of(searchPath === firstSearchPath ? sql : `${sql}\0${searchPath}`)
    const plan = new Plan(sql, name, searchPath)
    plan.usedAt = ++this.uses
    this.plans.set(sql, plan)
    this.count++
    return plan
  }

  private evict(): boolean {
    let oldest: Plan | undefined
    for (const plans of this.bySearchPath.values()) {
      for (const plan of plans.values()) {
        if (plan.users === 0 && (oldest === undefined || plan.usedAt < oldest.usedAt)) oldest = plan
      }
    }
    if (oldest === undefined) return false
    this.drop(oldest)
    return true
  }

  /** The plan is not used again, and the server is told to forget it. A newer plan of the same text stays. */
  drop(plan: Plan): void {
    const plans = this.bySearchPath.get(plan.searchPath)
    if (plans?.get(plan.sql) !== plan) return
    plans.delete(plan.sql)
    if (plans.size === 0 && plans !== this.plans) this.bySearchPath.delete(plan.searchPath)
    this.count--
    this.unparsed(plan)
    this.forget.push(plan.name)
  }

  isParsed({ name }: Plan): boolean {
    return this.wire.parsedStatements[name] !== undefined
  }

  takeForgotten(): ReadonlyArray<string> {
    if (this.forget.length === 0) return none
    const names = this.forget
    this.forget = []
    // In a server session that a pooler shares out, other clients may use these names.
    return this.names.areShared ? none : names
  }

  /** The server has forgotten all. */
  clear(): void {
    for (const plans of this.bySearchPath.values()) for (const plan of plans.values()) this.unparsed(plan)
    this.plans.clear()
    this.bySearchPath.clear()
    this.bySearchPath.set(this.searchPath, this.plans)
    this.count = 0
    this.forget = []
  }

  private unparsed({ name }: Plan): void {
    delete this.wire.parsedStatements[name]
    delete this.wire.submittedNamedStatements[name]
  }
}

const none: ReadonlyArray<string> = []
