/** How many callers come and how long leases are held: in the last ten seconds, and usually. */
import type { LeakKind } from "@sluice/pool/PoolStats"
import type { Pace as Told } from "../../Report.js"

/** What one look has found, about a second after the one before. */
export interface Look {
  readonly elapsed: number
  readonly arrivals: number
  readonly ended: number
  readonly heldSum: number
  readonly uses: Readonly<Record<LeakKind, number>>
}

/** Milliseconds: what counts as now, and the length of the pieces of which the median is usual. */
const NOW = 10_000

/** Ten minutes of pieces. */
const PIECES = 60

const none: Readonly<Record<LeakKind, number>> = {
  busy: 0,
  idleInTransaction: 0,
  forgotten: 0,
  listener: 0,
  stream: 0,
  unknown: 0
}

const kinds = Object.keys(none) as ReadonlyArray<LeakKind>

const sum = <A>(all: ReadonlyArray<A>, of: (one: A) => number): number => all.reduce((sum, one) => sum + of(one), 0)

const paceOf = (looks: ReadonlyArray<Omit<Look, "uses">>): Told => {
  const elapsed = sum(looks, (look) => look.elapsed)
  const ended = sum(looks, (look) => look.ended)
  return {
    arrivalsPerSecond: elapsed === 0 ? 0 : (sum(looks, (look) => look.arrivals) * 1_000) / elapsed,
    holdMeanMs: ended === 0 ? 0 : sum(looks, (look) => look.heldSum) / ended
  }
}

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? 0
}

export class Pace {
  private readonly looks: Array<Look> = []
  private piece: Array<Omit<Look, "uses">> = []
  /** Where nothing was held, there is no mean to be taken. */
  private readonly pieces: Array<Told & { readonly ended: number }> = []

  add(look: Look): void {
    this.looks.push(look)
    let covered = sum(this.looks, ({ elapsed }) => elapsed)
    while (this.looks.length > 1 && covered - this.looks[0]!.elapsed >= NOW) {
      const { elapsed, arrivals, ended, heldSum } = this.looks.shift()!
      covered -= elapsed
      this.piece.push({ elapsed, arrivals, ended, heldSum })
    }
    if (sum(this.piece, ({ elapsed }) => elapsed) < NOW) return
    this.pieces.push({ ...paceOf(this.piece), ended: sum(this.piece, ({ ended }) => ended) })
    if (this.pieces.length > PIECES) this.pieces.shift()
    this.piece = []
  }

  now(): Told {
    return paceOf(this.looks)
  }

  /** The median, so that a minute of trouble does not become usual. */
  usual(): Told | undefined {
    const held = this.pieces.filter(({ ended }) => ended > 0)
    return held.length === 0
      ? undefined
      : {
          arrivalsPerSecond: median(this.pieces.map(({ arrivalsPerSecond }) => arrivalsPerSecond)),
          holdMeanMs: median(held.map(({ holdMeanMs }) => holdMeanMs))
        }
  }

  doing(): Record<LeakKind, number> {
    const elapsed = sum(this.looks, (look) => look.elapsed)
    const doing: Record<LeakKind, number> = { ...none }
    if (elapsed === 0) return doing
    for (const { elapsed: ms, uses } of this.looks) for (const kind of kinds) doing[kind] += (uses[kind] * ms) / elapsed
    return doing
  }
}
