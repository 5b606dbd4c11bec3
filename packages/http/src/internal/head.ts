/** What is read of a request. Every server finds it in its own way; nothing else of a request is looked at here. */
export interface Head {
  readonly method: string
  /** The value of a header, whose name is given in lower case; several of one name are joined by a comma. */
  readonly header: (name: string) => string | undefined
}

/** The value of a cookie. The first of two with one name, as browsers send the closest path first. */
export const cookieOf = (head: Head, name: string): string | undefined => {
  for (const pair of head.header("cookie")?.split(";") ?? []) {
    const end = pair.indexOf("=")
    if (end > 0 && pair.slice(0, end).trim() === name) return decoded(pair.slice(end + 1).trim())
  }
  return undefined
}

/** The bytes that a cookie names by their hexadecimal numbers. The cookies of this package have ASCII alone, so nothing can fail. */
const decoded = (value: string): string =>
  value.replace(/%([0-9A-Fa-f]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
