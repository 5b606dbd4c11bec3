export interface Settings {
  /** Refuses at the door. */
  readonly admission: boolean
  /** The pool sheds. */
  readonly shedding: boolean
  /** Arrivals, as a multiple of what the database can do. */
  readonly load: number
  readonly url: string
}

export const settings = { connections: 2, statementMillis: 80 } as const

/** Requests a second. */
export const capacity = (1_000 / settings.statementMillis) * settings.connections

/** How long a client waits. */
export const deadlineMillis = 1_000

/**
 * What a handler does before its first statement, on the processor: it reads, checks and computes. All that the database can take use up
 * two fifths of the process, and three times as many more than it has.
 */
export const workMillis = 16

/** One spell of load. */
export const spellMillis = 4_000

/** Of which the first part, in which the queue fills, does not count. */
export const settleMillis = 1_500
