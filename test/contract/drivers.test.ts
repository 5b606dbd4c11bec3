import { assert, it } from "@effect/vitest"
import { databases } from "./databases.js"
import * as Drivers from "./drivers.js"

it("an unknown driver name fails, and says which are known", () => {
  assert.throws(
    () => Drivers.driver("@sluice/sql-oracle"),
    /unknown driver "@sluice\/sql-oracle": known are .*@sluice\/sql-pg/
  )
  assert.throws(() => Drivers.driver("toString"), /unknown driver/)
})

it("every database is tested with ours and with another driver, unless told otherwise", () => {
  if (process.env["CONTRACT_DRIVERS"] !== undefined) return
  for (const database of Object.keys(databases)) {
    const drivers = Drivers.selected.filter((driver) => driver.database === database)
    assert.isTrue(drivers.some((driver) => driver.isOurs))
    assert.isTrue(drivers.some((driver) => !driver.isOurs))
  }
})
