import mysql from "mysql2"
import { genericPool } from "../sql/genericPool.js"
import { command, on } from "./pool.js"

export const execute = genericPool<mysql.Connection>({
  connect: (uri) =>
    new Promise((resolve, reject) => {
      const connection = mysql.createConnection({ uri })
      connection.connect((error) => (error ? reject(error) : resolve(connection)))
    }),
  end: (connection) => new Promise((resolve) => connection.end(() => resolve())),
  run: (connection) => on(connection, "execute"),
  command
})
