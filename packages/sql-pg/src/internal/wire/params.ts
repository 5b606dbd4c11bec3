import * as Pg from "./pg.js"

/** The protocol counts them in two bytes. */
const MAX_PARAMS = 65_535

/** Parameters as they are sent, or why they cannot be sent. Never throws. */
export const prepare = (
  params: ReadonlyArray<unknown>
): Array<string | Buffer | null> | { readonly problem: unknown } => {
  if (params.length > MAX_PARAMS) {
    return { problem: new Error(`it has ${params.length} parameters and may have ${MAX_PARAMS}: send fewer at a time`) }
  }
  try {
    return params.map((value) => Pg.prepareValue(value))
  } catch (problem) {
    return { problem }
  }
}
