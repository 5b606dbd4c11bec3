/** A Layer that is made, used for one statement and closed: what a script, a test or a function that runs once pays. */
import { SqlClient } from "@effect/sql"
import { Effect, type Layer } from "effect"
import type { Start } from "../harness/subject.js"

export interface LayerSettings {
  readonly url: string
}

export const layerSubject =
  (layer: (settings: LayerSettings) => Layer.Layer<SqlClient.SqlClient, unknown>): Start<LayerSettings> =>
  (settings) => {
    const once = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`select 1 as one`)
    return {
      run: async (calls) => {
        for (let i = 0; i < calls; i++) {
          const rows = await Effect.runPromise(Effect.provide(once, layer(settings)))
          if (rows[0]?.["one"] !== 1) throw new Error(`expected 1, got ${JSON.stringify(rows)}`)
        }
      }
    }
  }
