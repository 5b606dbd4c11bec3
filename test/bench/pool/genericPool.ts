import { createPool } from "generic-pool"
import { promiseSubjects } from "./promises.js"
import { Resource } from "./settings.js"

export const { contended, memory, queue, uncontended } = promiseSubjects((size) => {
  const factory = { create: async () => new Resource(), destroy: async () => undefined }
  const pool = createPool(factory, { max: size, min: size })
  return {
    acquire: () => pool.acquire(),
    release: (resource) => void pool.release(resource),
    waiting: () => pool.pending,
    close: async () => {
      await pool.drain()
      await pool.clear()
    }
  }
})
