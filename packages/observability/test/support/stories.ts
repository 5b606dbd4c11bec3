/** A story for each alert, and stories in which none may be raised. */
import type { Moment, Story } from "./story.js"

/** When an alert is raised, in seconds, and when it ends. `undefined`: it goes on when the story ends. */
export type Span = readonly [from: number, to?: number]

export interface Case extends Story {
  readonly raises: Readonly<Record<string, ReadonlyArray<Span>>>
}

const MIN = 60
const HOUR = 3_600

/** Between these seconds this moment, and calm else. */
const from =
  (start: number, end: number, moment: Moment) =>
  (seconds: number): Moment =>
    seconds >= start && seconds < end ? moment : {}

const slowAcquires = (share: number): Moment => ({
  served: [
    [0.5, 400 - 400 * share],
    [180, 400 * share]
  ]
})

export const stories: Readonly<Record<string, Case>> = {
  "a calm hour": { step: MIN, lasts: HOUR, tell: () => ({}), raises: {} },

  "a program that does nothing": { lasts: 30 * MIN, tell: () => ({ using: 0, served: [] }), raises: {} },

  "nine of ten connections in use for ten minutes": {
    lasts: 20 * MIN,
    tell: from(MIN, 11 * MIN, { using: 9 }),
    raises: { SluicePoolBusy: [[6 * MIN, 12 * MIN]] }
  },

  "eight of ten: exactly the threshold": { lasts: 20 * MIN, tell: from(MIN, 20 * MIN, { using: 8 }), raises: {} },

  "in use for four minutes again and again, with a rest between": {
    lasts: 30 * MIN,
    tell: (seconds) => (seconds % (5 * MIN) < 4 * MIN ? { using: 9 } : {}),
    raises: {}
  },

  "a rest of half a minute does not end an alert": {
    lasts: 20 * MIN,
    tell: (seconds) => (seconds >= 8 * MIN && seconds < 8.5 * MIN ? {} : from(MIN, 15 * MIN, { using: 9 })(seconds)),
    raises: { SluicePoolBusy: [[6 * MIN, 16 * MIN]] }
  },

  "full, with a queue": {
    lasts: 10 * MIN,
    tell: from(MIN, 5 * MIN, { using: 10, waiting: 7 }),
    raises: { SluicePoolFull: [[3 * MIN, 6 * MIN]] }
  },

  "full, and nobody waits": {
    lasts: 10 * MIN,
    tell: from(MIN, 5 * MIN, { using: 10 }),
    raises: {}
  },

  "one acquire in ten waits 180 ms": {
    lasts: 12 * MIN,
    tell: from(0, HOUR, slowAcquires(0.1)),
    raises: {
      SluicePoolWaitsLong: [[5 * MIN + 15]],
      SluiceWaitBudgetBurnsFast: [[2 * MIN + 15]]
    }
  },

  "one acquire times out": {
    lasts: 10 * MIN,
    tell: from(3 * MIN, 3 * MIN + 15, { timeouts: 1 }),
    raises: { SluicePoolExhausted: [[3 * MIN, 5 * MIN]] }
  },

  "callers are refused, one in twenty": {
    lasts: 10 * MIN,
    tell: from(5 * MIN, 6 * MIN, { served: [[0.5, 380]], saturated: 10, shed: 10 }),
    raises: {
      SluicePoolExhausted: [[5 * MIN, 7 * MIN + 45]],
      SluicePoolRefuses: [[5 * MIN, 7 * MIN + 45]]
    }
  },

  "an hour and a half with 3 acquires in 200 too slow": {
    step: MIN,
    lasts: 1.5 * HOUR,
    tell: from(0, 2 * HOUR, slowAcquires(0.015)),
    raises: {
      SluiceWaitBudgetBurnsFast: [[3 * MIN]],
      SluiceWaitBudgetBurns: [[16 * MIN]],
      SluiceWaitBudgetBurnsSlowly: [[61 * MIN]]
    }
  },

  "an hour and a half with 1 acquire in 100 too slow": {
    step: MIN,
    lasts: 1.5 * HOUR,
    tell: from(0, 2 * HOUR, slowAcquires(0.01)),
    raises: {
      SluiceWaitBudgetBurns: [[16 * MIN]],
      SluiceWaitBudgetBurnsSlowly: [[61 * MIN]]
    }
  },

  "an hour and a half with 1 acquire in 400 too slow": {
    step: MIN,
    lasts: 1.5 * HOUR,
    tell: from(0, 2 * HOUR, slowAcquires(0.0025)),
    raises: { SluiceWaitBudgetBurnsSlowly: [[61 * MIN]] }
  },

  "slow for a minute after a calm hour": {
    step: MIN,
    lasts: 1.5 * HOUR,
    // One moment of 60, of which a fifth is too slow.
    tell: from(HOUR, HOUR + MIN, slowAcquires(0.2)),
    raises: {}
  },

  "more connections than the server has": {
    pods: ["pod-1", "pod-2", "pod-3"],
    lasts: 10 * MIN,
    tell: (seconds, pod) => ({
      max: seconds >= 3 * MIN && pod === "pod-3" ? 41 : 30,
      server: { connections: 20, maxConnections: 100 }
    }),
    raises: { SluiceFleetOvercommitted: [[4 * MIN]] }
  },

  "a third process is started": {
    pods: ["pod-1", "pod-2", "pod-3"],
    lasts: 10 * MIN,
    tell: (seconds, pod) => ({
      max: 40,
      server: { connections: 20, maxConnections: 100 },
      isGone: pod === "pod-3" && (seconds < 3 * MIN || seconds >= 6 * MIN)
    }),
    raises: { SluiceFleetOvercommitted: [[4 * MIN, 7 * MIN]] }
  },

  "exactly as many connections as the server has": {
    pods: ["pod-1", "pod-2"],
    lasts: 5 * MIN,
    tell: () => ({ max: 50, server: { connections: 20, maxConnections: 100 } }),
    raises: {}
  },

  "others open connections to the same server": {
    lasts: 15 * MIN,
    tell: (seconds) => ({ server: { connections: 20 + seconds / 10, maxConnections: 100 } }),
    // 80 at 10 minutes, 90 at 11:40.
    raises: {
      SluiceServerConnectionsHigh: [[11 * MIN + 15]],
      SluiceServerConnectionsExhausted: [[12 * MIN + 45]]
    }
  },

  "a lease of six minutes": {
    lasts: 10 * MIN,
    tell: (seconds) => ({ oldestLeaseMs: seconds <= 6 * MIN ? seconds * 1_000 : 12 }),
    raises: { SluiceLeaseLong: [[5 * MIN + 15, 7 * MIN + 15]] }
  },

  "a leak": {
    lasts: 10 * MIN,
    tell: from(3 * MIN, 3 * MIN + 15, { leaks: 1 }),
    raises: { SluiceLeak: [[3 * MIN, 5 * MIN]] }
  },

  "a replica falls behind": {
    lasts: 10 * MIN,
    tell: (seconds) => ({ lagMs: seconds * 200 }),
    // 10 s at 50 s, 60 s at 5 minutes.
    raises: { SluiceReplicaBehind: [[2 * MIN]], SluiceReplicaFarBehind: [[6 * MIN + 15]] }
  },

  "statements are executed again and again": {
    lasts: 10 * MIN,
    tell: from(0, HOUR, { retries: 60 }),
    raises: { SluiceRetriesMany: [[5 * MIN + 15]] }
  },

  "a few statements are executed again": { lasts: 10 * MIN, tell: () => ({ retries: 20 }), raises: {} },

  "the server is away for three minutes": {
    lasts: 10 * MIN,
    tell: from(3 * MIN, 6 * MIN, { connectFailures: 2 }),
    raises: { SluiceConnectFailures: [[4 * MIN, 7 * MIN + 45]] }
  },

  "one connect fails": { lasts: 10 * MIN, tell: from(3 * MIN, 3 * MIN + 15, { connectFailures: 1 }), raises: {} },

  "suspended for 40 minutes": {
    step: MIN,
    lasts: 50 * MIN,
    tell: (seconds) => ({ using: 0, suspendedMs: seconds < 40 * MIN ? seconds * 1_000 : 0 }),
    raises: { SluicePoolSuspended: [[31 * MIN, 41 * MIN]] }
  },

  "a process ends in the middle of an alert": {
    pods: ["pod-1", "pod-2"],
    lasts: 15 * MIN,
    tell: (seconds, pod) => (pod === "pod-1" ? { using: 9, isGone: seconds >= 10 * MIN } : {}),
    raises: { SluicePoolBusy: [[5 * MIN, 11 * MIN]] }
  }
}
