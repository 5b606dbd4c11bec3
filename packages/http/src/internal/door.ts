/** Whether a request is let in: before its handler has done anything, and while it has acquired nothing. */
import type * as Sql from "@sluice/sql/Sql"
import { Effect } from "effect"
import type * as Refusal from "../Refusal.js"
import type { Asked } from "./asked.js"

/** Why the request is not let in: the pool cannot serve it in time. Acquires nothing, and never waits. */
export const enter = (_asked: Asked): Effect.Effect<Refusal.Refusal | undefined, never, Sql.Sql> =>
  Effect.succeed(undefined)
