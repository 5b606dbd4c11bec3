/**
 * JSON as databases keep it: with integers of any size.
 *
 * @since 0.2.0
 */

/** Only a text with so many digits in a row can have an integer that a number cannot hold. */
const long = /\d{16}/

/** A string, or a number with its parts. */
const tokens = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g

const integer = /^-?\d{16,}$/

/**
 * Reads JSON. An integer that a number cannot hold exactly (beyond ±2^53) becomes a text of its digits, instead of another integer.
 * All else is what `JSON.parse` gives. Throws on what is no JSON.
 *
 * @since 0.2.0
 * @category conversions
 */
export const parse = (text: string): unknown =>
  JSON.parse(
    long.test(text)
      ? text.replace(tokens, (token) =>
          integer.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token
        )
      : text
  )
