/**
 * A TCP proxy that breaks connections in the ways networks do.
 *
 * @since 0.1.0
 */
export * as FaultProxy from "./FaultProxy.js"

/**
 * Real MariaDB clusters.
 *
 * @since 0.1.0
 */
export * as MariaDbCluster from "./MariaDbCluster.js"

/**
 * Real PostgreSQL clusters.
 *
 * @since 0.1.0
 */
export * as PgCluster from "./PgCluster.js"
