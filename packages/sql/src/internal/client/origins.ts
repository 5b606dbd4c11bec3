import { CurrentOrigin, here, isWanted } from "@sluice/pool/Origin"
import { Effect } from "effect"

type Any = Effect.Effect<any, any, any>

/**
 * A verb that takes an effect, or options and then an effect. If a pool of this process wants to know, what it makes carries the line
 * of the program that has called it.
 */
export const noted = (verb: (options: any, effect: Any) => Any): any => {
  const from = (of: Function, effect: Any): Any =>
    isWanted() ? Effect.provideService(effect, CurrentOrigin, here(of)) : effect
  return function direct(arg: unknown) {
    if (Effect.isEffect(arg)) return from(direct, verb({}, arg))
    return function curried(effect: Any) {
      return from(curried, verb(arg, effect))
    }
  }
}
