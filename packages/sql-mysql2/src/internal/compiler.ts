import * as Statement from "@effect/sql/Statement"

const escape = Statement.defaultEscape("`")

/** The names in a list of columns from the compiler. Each part of a name is in backticks, and dots join the parts. */
const namesOf = (columns: string): ReadonlyArray<string> => columns.match(/(?:`(?:[^`]|``)*`\.?)+/g) ?? []

/**
 * The compiler of `@effect/sql-mysql2`, and `updateValues`, for which that compiler writes no SQL. The values become a union of
 * selects: it is the only derived table with named columns whose syntax MySQL and MariaDB share.
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
      // The alias is a name that the program gives, and must not become more than a name.
      const table = `(${first}${more}) AS ${escape(alias)}`
      return returning === undefined
        ? [table, values.flat()]
        : [`${table} RETURNING ${returning[0]}`, [...values.flat(), ...returning[1]]]
    }
  })
