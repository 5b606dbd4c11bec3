/**
 * The client of `@effect/sql`, so that a program needs to install no other package to import it.
 *
 * @since 0.2.0
 */
export * as SqlClient from "@effect/sql/SqlClient"
/**
 * All of `@sluice/sql`, so that a program needs to install no other package to import it.
 *
 * @since 0.2.0
 */
export * from "@sluice/sql"
/**
 * @since 0.1.0
 */
export * as PgSql from "./PgSql.js"
