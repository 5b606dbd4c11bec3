/** Before that many answers nothing is known about a text. */
const SAMPLES = 3

/** From then on one execution in so many is measured. A measurement costs the server an answer more. */
const EVERY = 16

/** The weight of one answer in the mean is at least one in so many. */
const MEMORY = 8

const MAX_TEXTS = 500

/** Longer texts are made by programs, and rarely come twice. */
const LONGEST = 10_000

const reads = /^\s*(?:select|values|table)\b/i

/** Locks rows, makes a table, or is more than one statement. That one of these may stand in a literal does no harm. */
const harms = /\b(?:into|temp|temporary|for\s+(?:no\s+key\s+update|key\s+share|update|share))\b|;\s*\S/i

/**
 * What is known about the statements of one text.
 */
export class Text {
  samples = 0
  /** Milliseconds that the server needs for one, a moving mean. */
  mean = 0
  private unmeasured = 0

  constructor(
    /** A read that leaves nothing behind, as far as can be told without parsing. */
    readonly harmless: boolean
  ) {}

  /** Harmless, and known to need less than `ms` milliseconds. */
  isShorter(ms: number): boolean {
    return this.harmless && this.samples >= SAMPLES && this.mean < ms
  }

  /** Whether this execution should be measured. */
  isDue(): boolean {
    if (!this.harmless || (this.samples >= SAMPLES && ++this.unmeasured < EVERY)) return false
    this.unmeasured = 0
    return true
  }

  observe(ms: number): void {
    this.unmeasured = 0
    this.samples++
    this.mean += (ms - this.mean) / Math.min(this.samples, MEMORY)
  }
}

const unknown = new Text(false)

/**
 * The texts that were used lately. Two generations: finding one costs one look-up as a rule, and what was not used during
 * a whole generation is forgotten.
 */
export class Texts {
  private young = new Map<string, Text>()
  private old = new Map<string, Text>()

  of(sql: string): Text {
    return this.young.get(sql) ?? this.promote(sql)
  }

  private promote(sql: string): Text {
    if (sql.length > LONGEST) return unknown
    const text = this.old.get(sql) ?? new Text(reads.test(sql) && !harms.test(sql))
    if (this.young.size >= MAX_TEXTS) {
      this.old = this.young
      this.young = new Map()
    }
    this.young.set(sql, text)
    return text
  }
}

/**
 * The time of a round trip to one server without any work there. Only an empty statement shows it, and any answer that
 * comes sooner.
 */
export class RoundTrip {
  /** Milliseconds; 0 until it was measured once. */
  ms = 0
  isKnown = false

  /** An empty statement was answered. Slower ones count little: the delay may be our own. */
  measured(elapsed: number): void {
    this.ms = !this.isKnown || elapsed < this.ms ? elapsed : this.ms + (elapsed - this.ms) / MEMORY
    this.isKnown = true
  }

  atMost(elapsed: number): void {
    if (elapsed < this.ms) this.ms = elapsed
  }
}
