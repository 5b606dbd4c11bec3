import { Pool } from "sequelize-pool"
import { promiseSubjects } from "./promises.js"
import { Resource } from "./settings.js"

export const { contended, memory, queue, uncontended } = promiseSubjects((size) => {
  const pool = new Pool({
    create: async () => new Resource(),
    destroy: () => undefined,
    validate: () => true,
    max: size,
    min: size
  })
  return {
    acquire: () => pool.acquire(),
    release: (resource) => pool.release(resource),
    waiting: () => pool.waiting,
    close: async () => {
      await pool.drain()
      await pool.destroyAllNow()
    }
  }
})
