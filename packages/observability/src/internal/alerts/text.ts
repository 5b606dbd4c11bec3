/** What an alert of this process says. */
import type { Reason } from "../../Reason.js"
import { duration, percent } from "../words.js"
import type { Alert, Unit } from "./definitions.js"
import type { Change } from "./evaluator.js"

const shown: Readonly<Record<Unit, (value: number) => string>> = {
  share: percent,
  seconds: (value) => duration(value * 1_000),
  count: (value) => String(Math.round(value))
}

export const summaryOf = ({ alert, place, value }: Change): string =>
  // By functions, because `$` means something in a text that is put in place of another.
  alert.summary
    .replace("{pool}", () => place.pool ?? "")
    .replace("{endpoint}", () => place.endpoint ?? "")
    .replace("{value}", () => shown[alert.unit](value))

export const descriptionOf = ({ cause, remedy }: Alert): string => `${cause} ${remedy}`

/** What a verdict has found to be the cause. */
export const foundOf = ({ evidence, remedy, title }: Reason): string => `${title} (${evidence}). ${remedy}`
