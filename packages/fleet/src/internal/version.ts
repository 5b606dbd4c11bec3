import { readFileSync } from "node:fs"

/** The version of this package. Sources and what is built of them are equally far below its manifest. */
export const version = (): string =>
  JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version
