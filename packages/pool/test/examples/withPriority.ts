import { Priority } from "@sluice/pool"
import { Effect } from "effect"

const nightly = Effect.log("syncing").pipe(Priority.withPriority("background"))

Effect.runPromise(nightly)
