/** The words of a pool that are values of attributes and keys of reports, each list once. */
import type { CloseReason, LeakKind } from "@sluice/pool/PoolStats"

export const closeReasons = [
  "idle",
  "lifetime",
  "error",
  "validation",
  "reset",
  "shrink",
  "generation",
  "evicted",
  "reclaimed",
  "drain"
] as const satisfies ReadonlyArray<CloseReason>

export const leakKinds = [
  "busy",
  "idleInTransaction",
  "forgotten",
  "listener",
  "stream",
  "unknown"
] as const satisfies ReadonlyArray<LeakKind>
