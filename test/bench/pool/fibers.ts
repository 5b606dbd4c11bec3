import { collectGarbage, type Start } from "../harness/subject.js"
import { expectUses, expectWaiting, heapUsed, nextTurn, now, type PoolSettings } from "./settings.js"

/** The few words of Effect that the drivers need; version 3 and version 4 each give their own. */
export interface Runtime {
  readonly void: any
  /** The same loop for all subjects of one version; the scenario "uncontended" shows what it costs by itself. */
  readonly whileLoop: (options: { while: () => boolean; body: () => any; step: () => void }) => any
  /** An effect that parks its fiber until `register` calls what it is given. */
  readonly async: (register: (resume: () => void) => void) => any
  /** The effect, then the call. */
  readonly tap: (effect: any, then: () => void) => any
  /** Runs in a new root fiber. */
  readonly fork: (effect: any, onExit: (failure: string | undefined) => void) => void
}

/** How a subject brackets `body` with a resource: an acquire, the body, a release. */
export interface FiberPool {
  readonly use: (body: () => any) => any
  /** Callers parked in the pool; for subjects that can park. */
  readonly waiting: () => number
  readonly close: () => Promise<void> | void
}

type Open = (size: number) => Promise<FiberPool> | FiberPool

/** Parks a fiber and keeps it reachable, as a socket would; `open` lets all of them go on. */
class Gate {
  private readonly parked: Array<() => void> = []
  readonly wait: any

  constructor(runtime: Runtime) {
    this.wait = runtime.async((resume) => this.parked.push(resume))
  }

  get size(): number {
    return this.parked.length
  }

  open(): void {
    for (const resume of this.parked.splice(0)) resume()
  }
}

const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await nextTurn()
}

export const fiberSubjects = (runtime: Runtime, make: Open) => {
  const run = (effect: any): Promise<void> =>
    new Promise((resolve, reject) =>
      runtime.fork(effect, (failure) => (failure === undefined ? resolve() : reject(new Error(failure))))
    )

  const hold = async (pool: FiberPool, size: number): Promise<Gate> => {
    const gate = new Gate(runtime)
    let failed: string | undefined
    const exited = (failure: string | undefined) => {
      failed ??= failure
    }
    for (let i = 0; i < size; i++)
      runtime.fork(
        pool.use(() => gate.wait),
        exited
      )
    await until(() => gate.size === size || failed !== undefined)
    if (failed !== undefined) throw new Error(failed)
    return gate
  }

  const open = async (size: number): Promise<FiberPool> => {
    const pool = await make(size)
    const gate = await hold(pool, size)
    gate.open()
    await nextTurn()
    return pool
  }

  const uncontended: Start<PoolSettings> = async ({ size }) => {
    const pool = await open(size)
    return {
      run: async (calls) => {
        let uses = 0
        let turns = 0
        const body = () => {
          uses++
          return runtime.void
        }
        await run(
          runtime.whileLoop({
            while: () => turns < calls,
            body: () => pool.use(body),
            step: () => {
              turns++
            }
          })
        )
        expectUses(uses, calls)
      },
      close: pool.close
    }
  }

  const contended: Start<PoolSettings> = async ({ callers, size }) => {
    const pool = await open(size)
    const microtask = runtime.async((resume) => queueMicrotask(resume))
    return {
      run: async (calls) => {
        let uses = 0
        const body = () => {
          uses++
          return microtask
        }
        const worker = () => {
          let turns = 0
          return runtime.whileLoop({
            while: () => turns < calls,
            body: () => pool.use(body),
            step: () => {
              turns++
            }
          })
        }
        const workers = []
        for (let i = 0; i < callers; i++) workers.push(run(worker()))
        await Promise.all(workers)
        expectUses(uses, callers * calls)
      },
      close: pool.close
    }
  }

  const queue: Start<PoolSettings> = async ({ callers, size }) => {
    const pool = await open(size)
    return {
      run: async (calls) => {
        let park = 0
        let drain = 0
        for (let call = 0; call < calls; call++) {
          const gate = await hold(pool, size)
          let uses = 0
          let end: () => void
          const ended = new Promise<void>((resolve) => {
            end = resolve
          })
          const body = () => {
            if (++uses === callers) end()
            return runtime.void
          }
          let failed: string | undefined
          const exited = (failure: string | undefined) => {
            failed ??= failure
          }
          const parkedAt = now()
          for (let i = 0; i < callers; i++) runtime.fork(pool.use(body), exited)
          // Version 4 starts a fiber in a later task.
          await until(() => pool.waiting() >= callers || failed !== undefined)
          const releasedAt = now()
          if (failed !== undefined) throw new Error(failed)
          expectWaiting(pool.waiting(), callers)
          gate.open()
          await ended
          drain += now() - releasedAt
          park += releasedAt - parkedAt
          expectUses(uses, callers)
          await nextTurn()
        }
        return { park: park / calls / callers, handOff: drain / calls / callers }
      },
      close: pool.close
    }
  }

  const memory: Start<PoolSettings> = async ({ callers, size }) => {
    const pool = await open(size)
    return {
      run: async (calls) => {
        let bytes = 0
        for (let call = 0; call < calls; call++) {
          const gate = await hold(pool, size)
          let uses = 0
          const body = () => {
            uses++
            return runtime.void
          }
          const exited = () => undefined
          const before = heapUsed(collectGarbage)
          for (let i = 0; i < callers; i++) runtime.fork(pool.use(body), exited)
          await until(() => pool.waiting() >= callers)
          bytes += heapUsed(collectGarbage) - before
          expectWaiting(pool.waiting(), callers)
          gate.open()
          await until(() => uses === callers)
        }
        return { bytes: bytes / calls / callers }
      },
      close: pool.close
    }
  }

  return { uncontended, contended, queue, memory }
}

/**
 * No pool at all: counts holders and, when it has none left, lets everybody who is parked go on. What a parked fiber
 * needs, and what it costs to resume one.
 */
export const parkedFibers =
  (runtime: Runtime): Open =>
  (size) => {
    const parked: Array<() => void> = []
    const wait = runtime.async((resume) => parked.push(resume))
    let free = size
    let lastBody: () => any = () => runtime.void
    const leave = () => {
      if (++free < size) return
      for (const resume of parked.splice(0)) {
        lastBody()
        resume()
      }
    }
    return {
      use: (body) => {
        if (free === 0) {
          lastBody = body
          return wait
        }
        free--
        return runtime.tap(body(), leave)
      },
      waiting: () => parked.length,
      close: () => undefined
    }
  }
