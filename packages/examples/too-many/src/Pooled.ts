/** The same call on five connections, which everybody shares: who finds none idle waits for one. */
import { Sql } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import type { Redacted } from "effect"

/** Connections, for all requests together. */
export const maxSize = 5

/** All the set-up there is: once for the program. */
export const layer = (url: Redacted.Redacted<string>) => MysqlSql.layer({ url, pool: { maxSize } })

/** Runs one statement and gives its rows. Nobody thinks about connections. */
export const query = (sql: string, params?: ReadonlyArray<unknown>) => Sql.query(sql, params)
