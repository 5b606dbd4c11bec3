/** What tests of packed reads need of every driver that packs. */
import type { Packing } from "@sluice/sql/driver/Driver"
import type { Limits } from "@sluice/sql/driver/Packing"
import { Effect } from "effect"

/** Everything harmless counts as short, so that a slow machine changes nothing, and a test may pack what is slow. */
export const anyTime: Limits = { short: Infinity, ahead: Infinity, late: Infinity, overdue: Infinity }

/** The driver, and how many reads it has packed. */
export const counted = <Driver extends { readonly packing: Packing<any> }>(driver: Driver) => {
  let count = 0
  const start: Driver["packing"]["start"] = (connection, request) => {
    count++
    driver.packing.start(connection, request)
  }
  return { driver: { ...driver, packing: { ...driver.packing, start } }, packs: () => count }
}

/** Reads on one connection, and how many of them have not ended, also of those whose callers have left. */
export const reader = <Conn>(packing: Packing<Conn>, connection: Conn) => {
  let owed = 0
  const read = (sql: string, params: ReadonlyArray<unknown> = []) =>
    Effect.withFiberRuntime<ReadonlyArray<any>, any>((fiber) =>
      Effect.async((callback) => {
        owed++
        const resume: typeof callback = (effect) => {
          owed--
          callback(effect)
        }
        packing.start(connection, {
          sql,
          params,
          mode: "rows",
          fiber,
          interruptible: true,
          until: Infinity,
          resume,
          answer: callback,
          again: undefined
        })
      })
    )
  return { read, owed: () => owed }
}
