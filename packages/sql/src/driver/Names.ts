/**
 * Names of columns and fields, transformed on their way between the program and the database.
 *
 * @since 0.2.0
 */

/**
 * A value with the names of all fields of plain objects transformed, in arrays and objects at any depth. All else is what it was: the
 * transform of `@effect/sql` makes `{}` of a null that stands beside an object in an array.
 *
 * @since 0.2.0
 * @category conversions
 */
export const ofFields = (transform: (name: string) => string): ((value: unknown) => unknown) => {
  const renamed = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(renamed)
    if (typeof value !== "object" || value?.constructor !== Object) return value
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [transform(name), renamed(field)]))
  }
  return renamed
}

/**
 * Rows with the names of their columns transformed and, if `isNested`, the fields of the objects in them. A row of a text with several
 * statements may itself be the rows of one.
 *
 * @since 0.2.0
 * @category conversions
 */
export const ofRows = (
  transform: (name: string) => string,
  isNested: boolean
): (<A extends object>(rows: ReadonlyArray<A>) => ReadonlyArray<A>) => {
  const fields = ofFields(transform)
  const rowsOf = (rows: ReadonlyArray<any>): ReadonlyArray<any> =>
    rows.map((row) => {
      if (Array.isArray(row)) return rowsOf(row)
      const made: Record<string, unknown> = {}
      for (const name in row) made[transform(name)] = isNested ? fields(row[name]) : row[name]
      return made
    })
  return rowsOf
}
