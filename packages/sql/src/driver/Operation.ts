/**
 * The fields that a pipeline reads and writes on every operation.
 *
 * @since 0.2.0
 */
import type { Instant, Timer } from "@sluice/pool/Deadline"
import type { Awaited } from "./Pipeline.js"
import type { Profile } from "./Profile.js"

/**
 * Fields with their first values, and no behaviour: see `Pipeline.Operation` for what each of them means. The operations of a
 * driver begin with these fields, in this order, so that the pipeline finds them at the same place in all of them.
 *
 * @since 0.2.0
 * @category models
 */
export class State<Self> {
  declare failure: unknown
  declare onEnd: ((failure: unknown) => void) | undefined
  declare next: Self | undefined
  declare sentAt: Instant
  declare timer: Timer | undefined
  declare isMarked: boolean
  declare condemned: boolean
  declare work: number
  declare profile: Profile | undefined
  declare prepares: boolean
  declare read: Awaited | undefined

  constructor() {
    // Assigned, because V8 takes 20 nanoseconds longer to initialise as many fields of a class that is extended twice.
    this.failure = undefined
    this.onEnd = undefined
    this.next = undefined
    this.sentAt = 0
    this.timer = undefined
    this.isMarked = false
    this.condemned = false
    this.work = 0
    this.profile = undefined
    this.prepares = false
    this.read = undefined
  }
}
