/**
 * @since 0.1.0
 */
export * as PgSql from "./PgSql.js"
