import type { SqlError } from "@effect/sql/SqlError"
import * as Deadline from "@sluice/pool/Deadline"
import { Effect, type Scope } from "effect"
import type * as Driver from "../../driver/Driver.js"
import * as SqlReason from "../../SqlReason.js"
import * as Bounded from "../session/bounded.js"

/**
 * A connection to an endpoint for work that lasts, such as listening. No pool counts it, so it takes no place from statements,
 * and a full pool does not keep it from being opened. How many there are is the matter of the caller.
 */
export interface Apart<Conn> {
  /** Opens one; the scope closes it. Takes no longer than the bound. */
  readonly connect: Effect.Effect<Conn, SqlError, Scope.Scope>
  readonly stats: () => ApartStats
}

export interface ApartStats {
  readonly open: number
  readonly connects: number
}

/** The pool would act on these. The holder looks at the connection itself. */
const ignored = { broken: () => {}, fatal: () => {}, isEnding: () => true }

/** `endpointNow` gives where the next one leads; `bound`: milliseconds for one connect. */
export const make = <Endpoint, Conn>(
  driver: Driver.Driver<Endpoint, Conn>,
  endpointNow: () => Endpoint,
  bound: number,
  timers: Deadline.Timers["Type"]
): Apart<Conn> => {
  let open = 0
  let connects = 0
  const connect = Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      let isOpen = false
      const endpoint = endpointNow()
      // Added first, so that it runs last: a connection counts until it is closed.
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          if (isOpen) open--
        })
      )
      const connection = yield* restore(
        Bounded.interruptAt(
          timers,
          timers.now() + bound,
          // The fiber is that of any caller, whose context need not have them.
          Effect.provideService(driver.connect(endpoint, ignored), Deadline.Timers, timers),
          () => tooLate(`${driver.name} at ${driver.endpoint(endpoint).label}`, bound)
        )
      )
      isOpen = true
      open++
      connects++
      return connection
    })
  )
  return { connect, stats: () => ({ open, connects }) }
}

const tooLate = (where: string, bound: number): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectFailed", { connection: "none", retry: "always" }),
    `cannot connect to ${where}: no answer within ${bound} ms (connectTimeout). Check that the address is right and that no firewall swallows what is sent there`
  )
