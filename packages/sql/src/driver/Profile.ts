/**
 * How long the statements of a text take their server, and the way there.
 *
 * @since 0.1.0
 */

/** Before that many answers nothing is known about a text. */
const SAMPLES = 3

/** From then on one execution in so many is measured. A measurement costs the server an answer more. */
const EVERY = 16

/** The weight of one answer in the mean is at least one in so many. */
const MEMORY = 8

/** In what it is expected to be, among others: there answers come in bunches, and only many of them together say something. */
const LONG_MEMORY = 64

/**
 * Milliseconds, and times the mean, that one answer counts at most. Any machine stalls for some milliseconds now and then, and
 * what was under way then is not slow: one such answer leaves a short text short, two close to each other do not.
 */
const STALL = 4
const OUTLIER = 16

const MAX_TEXTS = 500

/** Longer texts are made by programs, and rarely come twice. */
const LONGEST = 10_000

/**
 * What is known about the statements of one text.
 *
 * @since 0.1.0
 * @category models
 */
export class Profile {
  samples = 0
  /** Milliseconds that the server needs for one, a moving mean of the last ones. */
  mean = 0
  /** Milliseconds that those behind it have to wait for it, as a rule. */
  work = 0
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
    const counted = this.samples > SAMPLES ? Math.min(ms, STALL + OUTLIER * this.mean) : ms
    this.mean += (counted - this.mean) / Math.min(this.samples, MEMORY)
    this.work += (counted - this.work) / Math.min(this.samples, LONG_MEMORY)
  }
}

const unknown = new Profile(false)

/**
 * The texts that were used lately. Two generations: finding one costs one look-up as a rule, and what was not used during
 * a whole generation is forgotten.
 *
 * @since 0.1.0
 * @category models
 */
export class Profiles {
  private young = new Map<string, Profile>()
  private old = new Map<string, Profile>()

  constructor(private readonly isHarmless: (sql: string) => boolean) {}

  of(sql: string): Profile {
    return this.young.get(sql) ?? this.promote(sql)
  }

  private promote(sql: string): Profile {
    if (sql.length > LONGEST) return unknown
    const profile = this.old.get(sql) ?? new Profile(this.isHarmless(sql))
    if (this.young.size >= MAX_TEXTS) {
      this.old = this.young
      this.young = new Map()
    }
    this.young.set(sql, profile)
    return profile
  }
}

/**
 * The time of a round trip to one server without any work there. Only an empty statement shows it, and any answer that
 * comes sooner.
 *
 * @since 0.1.0
 * @category models
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
