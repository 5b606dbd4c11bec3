import type { Instant } from "@sluice/pool/Deadline"
import type { ServerState } from "../../driver/Driver.js"
import { isEligible } from "./choice.js"
import type { Rules } from "./rules.js"
import type { Target } from "./target.js"

/** Good answers in a row after which a server that had not answered, or was too far behind, gets reads again. */
const GOOD = 3

/** The part of its reads that a server gets at once when it is back. */
const FIRST_SHARE = 0.1

/** Answers in a row of one server. */
interface Answers {
  /** Since the last one that did not come. */
  good: number
  /** Since the last one that was too far behind. */
  near: number
  /** That did not tell how far it is behind. */
  untold: number
}

/**
 * Which servers reads may go to, by what they answer.
 *
 * ```
 * read from ──no answer, or too far behind──► out ──three good answers──► read from, with a share that grows
 * ```
 *
 * 1. One bad answer is enough to be out. A server that is in doubt serves nobody.
 * 2. A server whose lag cannot be told is not out for that.
 * 3. The primary is never too far behind, and while it does not answer nobody falls behind it: there is nothing newer to be read.
 */
export class Eligibility {
  private readonly answers = new Map<Target<any>, Answers>()

  constructor(
    private readonly rules: Rules,
    private readonly startedAt: Instant
  ) {}

  /**
   * What a server has answered; `undefined`: it did not answer. `hasPrimary`: a server takes writes, and answers. Gives whether reads may
   * go there again.
   */
  answered(
    target: Target<any>,
    isPrimary: boolean,
    state: ServerState | undefined,
    lag: number | undefined,
    hasPrimary: boolean,
    now: Instant
  ): boolean {
    const answers = this.of(target)
    target.lag = lag
    target.position = state?.position
    if (state === undefined) {
      answers.good = 0
      target.isOut = true
      return false
    }
    const wasEligible = isEligible(target)
    if (++answers.good >= GOOD) target.isOut = false
    this.untold(target, !isPrimary && lag === undefined)
    if (!isPrimary && lag !== undefined && lag > this.rules.maxLag) {
      answers.near = 0
      if (hasPrimary) target.isLagging = true
    } else if (++answers.near >= GOOD) target.isLagging = false
    const isBack = !wasEligible && isEligible(target)
    if (isBack) target.upSince = now
    this.warm(target, now)
    return isBack
  }

  /** The server does not let this client ask. */
  unasked(target: Target<any>): void {
    this.untold(target, true)
  }

  /** Another server is the primary than before. */
  becamePrimary(target: Target<any>): void {
    this.untold(target, false)
    target.isLagging = false
    target.share = 1
  }

  private of(target: Target<any>): Answers {
    let answers = this.answers.get(target)
    if (answers === undefined) {
      // At the start nothing speaks against it.
      answers = { good: GOOD, near: GOOD, untold: 0 }
      this.answers.set(target, answers)
    }
    return answers
  }

  /** Once is not enough: the primary may not have answered yet. */
  private untold(target: Target<any>, isUntold: boolean): void {
    const answers = this.of(target)
    answers.untold = isUntold ? answers.untold + 1 : 0
    target.isLagUnknown = answers.untold >= GOOD && this.rules.maxLag !== Infinity
  }

  private warm(target: Target<any>, now: Instant): void {
    const { ramp } = this.rules
    const since = now - target.upSince
    // At the start all are cold, so none is spared.
    target.share = target.upSince <= this.startedAt || since >= ramp ? 1 : Math.max(FIRST_SHARE, since / ramp)
  }
}
