import { EventEmitter } from "node:events"
import PgPool from "pg-pool"
import { callbackSubjects } from "./callbacks.js"
import { promiseSubjects } from "./promises.js"

/** As much of a `pg` client as the pool looks at; connects at once. */
class Client extends EventEmitter {
  readonly _queryable = true
  readonly _ending = false
  connect(callback: (error?: Error) => void): void {
    process.nextTick(callback)
  }
  end(callback: () => void): void {
    process.nextTick(callback)
  }
  ref(): void {}
  unref(): void {}
}

const make = (size: number) => new PgPool({ max: size, min: size }, Client)

export const { contended, memory, queue, uncontended } = promiseSubjects((size) => {
  const pool = make(size)
  return {
    acquire: () => pool.connect(),
    release: (client) => client.release(),
    waiting: () => pool.waitingCount,
    close: () => pool.end()
  }
})

export const callback = callbackSubjects((size) => {
  const pool = make(size)
  return {
    acquire: (taken) => pool.connect(taken),
    release: (client) => client.release(),
    waiting: () => pool.waitingCount,
    close: () => pool.end()
  }
}).uncontended
