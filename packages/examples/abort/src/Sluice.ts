/** After: no middleware. The handler is an effect: its first statement takes a connection, and a client that leaves interrupts it. */
import * as Express from "@sluice/http/Express"
import { Sql } from "@sluice/sql"
import { PgSql } from "@sluice/sql-pg"
import { Effect, type Redacted } from "effect"
import express from "express"
import { answer, maxSize, work } from "./OnPg.js"

export const layer = (url: Redacted.Redacted<string>, applicationName: string) =>
  PgSql.layer({ url, applicationName, pool: { maxSize } })

export const app = Effect.map(Express.make(), (route) =>
  express()
    .use(express.json())
    .all(
      "/",
      route((request) => Effect.as(Sql.query(work), answer(request)))
    )
)
