import * as Statement from "@effect/sql/Statement"

const escape = Statement.defaultEscape("`")

/** The names in a list that the compiler has made: each in backticks, the parts of one joined by dots. */
const namesOf = (columns: string): ReadonlyArray<string> => columns.match(/(?:`(?:[^`]|``)*`\.?)+/g) ?? []

/**
 * The compiler of `@effect/sql-mysql2`, which gives nothing for `updateValues`. MySQL and MariaDB agree on no form of a table
 * of values that has names, but on a union of selects.
 */
export const make = (transform?: (name: string) => string): Statement.Compiler =>
  Statement.makeCompiler({
    dialect: "mysql",
    placeholder: () => "?",
    onIdentifier:
      transform === undefined
        ? escape
        : (value, withoutTransform) => escape(withoutTransform ? value : transform(value)),
    onCustom: () => ["", []],
    onRecordUpdate: (_placeholders, alias, columns, values, returning) => {
      const names = namesOf(columns)
      const first = `SELECT ${names.map((name) => `? AS ${name}`).join(", ")}`
      const more = ` UNION ALL SELECT ${names.map(() => "?").join(", ")}`.repeat(values.length - 1)
      const table = `(${first}${more}) AS ${alias}`
      return returning === undefined
        ? [table, values.flat()]
        : [`${table} RETURNING ${returning[0]}`, [...values.flat(), ...returning[1]]]
    }
  })
