/** A connection for each call, as one writes it on the first day. The server has a place for ten of them. */
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
