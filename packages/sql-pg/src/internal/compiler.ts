import * as Statement from "@effect/sql/Statement"
import type { PgCustom } from "@effect/sql-pg/PgClient"
import * as Names from "@sluice/sql/driver/Names"
import { JsonValue } from "./wire/params.js"

const escape = Statement.defaultEscape('"')

/**
 * The compiler of `@effect/sql-pg`, with another meaning of `sql.json`: any value becomes its JSON. There a text is sent as it is,
 * and an array as an array of PostgreSQL, which is no JSON. NULL stays NULL.
 */
export const make = (transform?: (name: string) => string, transformJson = true): Statement.Compiler =>
  Statement.makeCompiler<PgCustom>({
    dialect: "pg",
    placeholder: (index) => `$${index}`,
    onIdentifier:
      transform === undefined
        ? escape
        : (value, withoutTransform) => escape(withoutTransform ? value : transform(value)),
    onRecordUpdate: (placeholders, alias, columns, values, returning) => {
      const table = `(values ${placeholders}) AS ${alias}${columns}`
      return returning === undefined
        ? [table, values.flat()]
        : [`${table} RETURNING ${returning[0]}`, [...values.flat(), ...returning[1]]]
    },
    onCustom: ({ i0: value }, placeholder, withoutTransform) => {
      const isRenamed = transform !== undefined && transformJson && !withoutTransform
      const json = value == null ? null : new JsonValue(isRenamed ? Names.ofFields(transform)(value) : value)
      return [placeholder(undefined), [json]]
    }
  })
