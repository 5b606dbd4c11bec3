import { collectGarbage, type Start } from "../harness/subject.js"
import { expectUses, expectWaiting, heapUsed, nextTurn, now, type PoolSettings } from "./settings.js"

/** A pool whose `acquire` gives a promise. */
export interface PromisePool<A> {
  readonly acquire: () => PromiseLike<A>
  readonly release: (resource: A) => void
  readonly waiting: () => number
  readonly close: () => Promise<void> | void
}

type Open = (size: number) => PromisePool<any>

const open = async (make: Open, size: number): Promise<PromisePool<any>> => {
  const pool = make(size)
  const all = []
  for (let i = 0; i < size; i++) all.push(await pool.acquire())
  for (const resource of all) pool.release(resource)
  return pool
}

const uncontended =
  (make: Open): Start<PoolSettings> =>
  async ({ size }) => {
    const { acquire, close, release } = await open(make, size)
    return {
      run: async (calls) => {
        let uses = 0
        for (let i = 0; i < calls; i++) {
          const resource = await acquire()
          uses++
          release(resource)
        }
        expectUses(uses, calls)
      },
      close
    }
  }

const contended =
  (make: Open): Start<PoolSettings> =>
  async ({ callers, size }) => {
    const { acquire, close, release } = await open(make, size)
    return {
      run: async (calls) => {
        let uses = 0
        const worker = async () => {
          for (let i = 0; i < calls; i++) {
            const resource = await acquire()
            await undefined
            uses++
            release(resource)
          }
        }
        const workers = []
        for (let i = 0; i < callers; i++) workers.push(worker())
        await Promise.all(workers)
        expectUses(uses, callers * calls)
      },
      close
    }
  }

const queue =
  (make: Open): Start<PoolSettings> =>
  async ({ callers, size }) => {
    const { acquire, close, release, waiting } = await open(make, size)
    return {
      run: async (calls) => {
        let park = 0
        let drain = 0
        for (let call = 0; call < calls; call++) {
          const held: Array<any> = []
          for (let i = 0; i < size; i++) held.push(await acquire())
          let uses = 0
          let end: () => void
          const ended = new Promise<void>((resolve) => {
            end = resolve
          })
          const serve = (resource: any) => {
            if (++uses === callers) end()
            release(resource)
          }
          const parkedAt = now()
          for (let i = 0; i < callers; i++) acquire().then(serve)
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
    const { acquire, close, release, waiting } = await open(make, size)
    return {
      run: async (calls) => {
        let bytes = 0
        for (let call = 0; call < calls; call++) {
          const held: Array<any> = []
          for (let i = 0; i < size; i++) held.push(await acquire())
          let uses = 0
          const serve = (resource: any) => {
            uses++
            release(resource)
          }
          const before = heapUsed(collectGarbage)
          for (let i = 0; i < callers; i++) acquire().then(serve)
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

export const promiseSubjects = (make: Open) => ({
  uncontended: uncontended(make),
  contended: contended(make),
  queue: queue(make),
  memory: memory(make)
})
