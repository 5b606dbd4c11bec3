import { collectGarbage, type Start } from "../harness/subject.js"
import { expectUses, expectWaiting, heapUsed, nextTurn, now, type PoolSettings } from "./settings.js"

/** A pool whose `acquire` calls back. */
export interface CallbackPool<A> {
  readonly acquire: (callback: (error: unknown, resource: A) => void) => void
  readonly release: (resource: A) => void
  readonly waiting: () => number
  readonly close: () => Promise<void> | void
}

type Open = (size: number) => CallbackPool<any>

const hold = (pool: CallbackPool<any>, size: number): Promise<ReadonlyArray<any>> =>
  new Promise((resolve, reject) => {
    const all: Array<any> = []
    const taken = (error: unknown, resource: any) => {
      if (error) return reject(error)
      all.push(resource)
      if (all.length === size) resolve(all)
    }
    for (let i = 0; i < size; i++) pool.acquire(taken)
  })

const open = async (make: Open, size: number): Promise<CallbackPool<any>> => {
  const pool = make(size)
  for (const resource of await hold(pool, size)) pool.release(resource)
  return pool
}

const uncontended =
  (make: Open): Start<PoolSettings> =>
  async ({ size }) => {
    const { acquire, close, release } = await open(make, size)
    return {
      run: (calls) =>
        new Promise((resolve, reject) => {
          let uses = 0
          const taken = (error: unknown, resource: any) => {
            if (error) return reject(error)
            release(resource)
            if (++uses === calls) resolve()
            else acquire(taken)
          }
          acquire(taken)
        }),
      close
    }
  }

const contended =
  (make: Open): Start<PoolSettings> =>
  async ({ callers, size }) => {
    const { acquire, close, release } = await open(make, size)
    return {
      run: (calls) =>
        new Promise((resolve, reject) => {
          let running = callers
          let uses = 0
          const worker = () => {
            let left = calls
            const taken = (error: unknown, resource: any) => {
              if (error) return reject(error)
              queueMicrotask(() => {
                uses++
                release(resource)
                if (--left > 0) return acquire(taken)
                if (--running > 0) return
                expectUses(uses, callers * calls)
                resolve()
              })
            }
            acquire(taken)
          }
          for (let i = 0; i < callers; i++) worker()
        }),
      close
    }
  }

const queue =
  (make: Open): Start<PoolSettings> =>
  async ({ callers, size }) => {
    const pool = await open(make, size)
    const { acquire, close, release, waiting } = pool
    return {
      run: async (calls) => {
        let park = 0
        let drain = 0
        for (let call = 0; call < calls; call++) {
          const held = await hold(pool, size)
          let uses = 0
          let end: () => void
          const ended = new Promise<void>((resolve) => {
            end = resolve
          })
          // One closure for each caller: real callers are different ones.
          const serve = () => (_: unknown, resource: any) => {
            if (++uses === callers) end()
            release(resource)
          }
          const parkedAt = now()
          for (let i = 0; i < callers; i++) acquire(serve())
          const releasedAt = now()
          expectWaiting(waiting(), callers)
          for (const resource of held) release(resource)
          await ended
          drain += now() - releasedAt
          park += releasedAt - parkedAt
          expectUses(uses, callers)
          await nextTurn()
        }
        return { park: park / calls / callers, handOff: drain / calls / callers }
      },
      close
    }
  }

const memory =
  (make: Open): Start<PoolSettings> =>
  async ({ callers, size }) => {
    const pool = await open(make, size)
    const { acquire, close, release, waiting } = pool
    return {
      run: async (calls) => {
        let bytes = 0
        for (let call = 0; call < calls; call++) {
          const held = await hold(pool, size)
          let uses = 0
          const serve = () => (_: unknown, resource: any) => {
            uses++
            release(resource)
          }
          const before = heapUsed(collectGarbage)
          for (let i = 0; i < callers; i++) acquire(serve())
          bytes += heapUsed(collectGarbage) - before
          expectWaiting(waiting(), callers)
          for (const resource of held) release(resource)
          while (uses < callers) await nextTurn()
        }
        return { bytes: bytes / calls / callers }
      },
      close
    }
  }

export const callbackSubjects = (make: Open) => ({
  uncontended: uncontended(make),
  contended: contended(make),
  queue: queue(make),
  memory: memory(make)
})
