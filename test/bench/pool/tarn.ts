import { Pool } from "tarn"
import { promiseSubjects } from "./promises.js"
import { Resource } from "./settings.js"

export const { contended, memory, queue, uncontended } = promiseSubjects((size) => {
  const pool = new Pool<Resource>({
    create: async () => new Resource(),
    destroy: () => undefined,
    max: size,
    min: size
  })
  return {
    acquire: () => pool.acquire().promise,
    release: (resource) => void pool.release(resource),
    waiting: () => pool.numPendingAcquires(),
    close: async () => void (await pool.destroy())
  }
})
