/**
 * Options that are read from Effect's configuration: what `layerConfig` takes.
 *
 * @since 0.2.0
 */
import { Config, Predicate, Record } from "effect"

/**
 * `C`, of which every part may be a `Config`: the whole, a field, a field of an object, an element of an array. What is
 * no `Config` is taken as it stands.
 *
 * @since 0.2.0
 * @category models
 */
export type Configured<C> = Config.Config<C> | Parts<C>

/** Distributes over unions: each member may have parts of its own. */
type Parts<C> =
  C extends ReadonlyArray<any>
    ? { readonly [K in keyof C]: Configured<C[K]> }
    : IsPlain<C> extends true
      ? { readonly [K in keyof C]: Configured<C[K]> }
      : C

/** Objects whose keys are all texts: no effects, durations, redacted values or instances of other classes. */
type IsPlain<C> = C extends (...args: any) => any
  ? false
  : [C] extends [object]
    ? [keyof C] extends [string]
      ? true
      : false
    : false

/**
 * Reads all that is wrapped. What holds no `Config` is the same object as before, not a copy.
 *
 * - Fails with every `ConfigError` there is.
 *
 * @since 0.2.0
 * @category utils
 */
export const read = <C>(wrapped: Configured<C>): Config.Config<C> => readPart(wrapped) as Config.Config<C>

const readPart = (wrapped: unknown): Config.Config<unknown> => {
  if (Config.isConfig(wrapped)) return wrapped
  if (!holdsConfig(wrapped)) return Config.succeed(wrapped)
  return Array.isArray(wrapped) ? Config.all(wrapped.map(readPart)) : Config.all(Record.map(wrapped as {}, readPart))
}

const holdsConfig = (wrapped: unknown): boolean => {
  if (Config.isConfig(wrapped)) return true
  if (Array.isArray(wrapped)) return wrapped.some(holdsConfig)
  return isPlain(wrapped) && Object.values(wrapped).some(holdsConfig)
}

const isPlain = (value: unknown): value is object =>
  Predicate.isRecord(value) && [Object.prototype, null].includes(Object.getPrototypeOf(value))
