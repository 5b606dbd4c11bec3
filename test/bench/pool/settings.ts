/** What every subject of the pool benchmark is told. */
export interface PoolSettings {
  /** Resources in the pool, all of them open before the first round. */
  readonly size: number
  /** Fibers, promises or callbacks that compete (contended) or park (queue, memory). */
  readonly callers: number
}

/** What a pool hands out. A class, because real connections are one. */
export class Resource {
  uses = 0
}

/** A benchmark that skips work is not fast: every driver counts the uses it saw. */
export const expectUses = (seen: number, expected: number): void => {
  if (seen !== expected) throw new Error(`the resource was used ${seen} times, expected ${expected}`)
}

export const expectWaiting = (seen: number, expected: number): void => {
  if (seen !== expected) throw new Error(`${seen} callers are parked, expected ${expected}`)
}

export const now = (): number => Number(process.hrtime.bigint())

export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Bytes of the heap that are still needed. Twice, because the first pass may leave weak references to the second. */
export const heapUsed = (collect: () => void): number => {
  collect()
  collect()
  return process.memoryUsage().heapUsed
}
