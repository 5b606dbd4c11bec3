import type * as Pg from "./pg.js"
import { isPreparable } from "./statement.js"

/** Prepared statements kept by each connection. More cost memory of the server, fewer cost planning. */
const MAX_PLANS = 100

export const temporary = /\b(?:temp|temporary)\b/i

/** A statement that the server keeps under a name. */
export class Plan {
  usedAt = 0
  /** Operations under way that use the name: until they have ended it is not given up. */
  users = 0
  /** The columns of its rows, once the server has described them: they cannot change, it refuses to execute instead. */
  shape: ReadonlyArray<Pg.Field> | undefined = undefined

  constructor(
    readonly sql: string,
    readonly name: string
  ) {}
}

/**
 * The prepared statements of one connection, by text. The server is told to forget one in the same round trip as the next
 * operation.
 */
export class Plans {
  private readonly plans = new Map<string, Plan>()
  private forget: Array<string> = []
  private names = 0
  private uses = 0

  constructor(private readonly wire: Pg.Wire) {}

  /** None for a text that is not worth a name, or while all names are in use. */
  of(sql: string, params: ReadonlyArray<unknown>): Plan | undefined {
    const known = this.plans.get(sql)
    if (known !== undefined) {
      // The order of use is a number, so that a hit changes nothing in the map.
      known.usedAt = ++this.uses
      return known
    }
    if (!isPreparable(sql, params) || temporary.test(sql)) return undefined
    if (this.plans.size >= MAX_PLANS && !this.evict()) return undefined
    const plan = new Plan(sql, `s${++this.names}`)
    plan.usedAt = ++this.uses
    this.plans.set(sql, plan)
    return plan
  }

  private evict(): boolean {
    let oldest: Plan | undefined
    for (const plan of this.plans.values()) {
      if (plan.users === 0 && (oldest === undefined || plan.usedAt < oldest.usedAt)) oldest = plan
    }
    if (oldest === undefined) return false
    this.drop(oldest)
    return true
  }

  /** The server has forgotten it, or shall. A newer plan of the same text stays. */
  drop(plan: Plan): void {
    if (this.plans.get(plan.sql) !== plan) return
    this.plans.delete(plan.sql)
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
    return names
  }

  /** The server has forgotten all. */
  clear(): void {
    for (const plan of this.plans.values()) this.unparsed(plan)
    this.plans.clear()
    this.forget = []
  }

  private unparsed({ name }: Plan): void {
    delete this.wire.parsedStatements[name]
    delete this.wire.submittedNamedStatements[name]
  }
}

const none: ReadonlyArray<string> = []
