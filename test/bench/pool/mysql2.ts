import { createPool, PoolConnection } from "mysql2"
import { callbackSubjects } from "./callbacks.js"

export const { contended, memory, queue, uncontended } = callbackSubjects((size) => {
  const pool: any = createPool({ connectionLimit: size })
  // The pool has no seam for another kind of connection, so its lists are filled as its own `connect` fills them, with
  // objects that have the real `release` and no socket.
  for (let i = 0; i < size; i++) {
    const connection = Object.create(PoolConnection.prototype)
    connection._pool = pool
    connection._released = true
    connection.lastActiveTime = Date.now()
    pool._allConnections.push(connection)
    pool._freeConnections.push(connection)
  }
  return {
    acquire: (taken) => pool.getConnection(taken),
    release: (connection) => connection.release(),
    waiting: () => pool._connectionQueue.length,
    close: () => undefined
  }
})
