/**
 * The `sluice` command. Programs use `@sluice/observability`.
 *
 * @since 0.2.0
 */
export {}
