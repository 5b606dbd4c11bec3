/**
 * @since 0.1.0
 */
export * as MysqlSql from "./MysqlSql.js"
