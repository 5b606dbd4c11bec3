/** After: all calls share five connections. A call that finds none idle waits for one. */
import { Sql } from "@sluice/sql"
import { MysqlSql } from "@sluice/sql-mysql2"
import type { Redacted } from "effect"

/** Most connections that the pool opens, for all requests together. */
export const maxSize = 5

/** The whole set-up, once for the program. */
export const layer = (url: Redacted.Redacted<string>) => MysqlSql.layer({ url, pool: { maxSize } })

/** Runs one statement and succeeds with its rows. The caller need not know about connections. */
export const query = (sql: string, params?: ReadonlyArray<unknown>) => Sql.query(sql, params)
