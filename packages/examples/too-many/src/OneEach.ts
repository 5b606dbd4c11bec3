/** Before: each call opens a connection of its own. The server has room for ten of them. */
import { createConnection } from "mysql2/promise"

export const query = async (url: string, sql: string, params: Array<unknown>): Promise<unknown> => {
  const connection = await createConnection(url)
  try {
    const [rows] = await connection.query(sql, params)
    return rows
  } finally {
    await connection.end()
  }
}
