/** The messages of each statement to the server, each group of them in one buffer and one write. */
import { malformed, Unsendable } from "@sluice/sql/driver/Unsendable"
import type { Values } from "./params.js"

/** Bytes of a message that the server accepts. After a longer one it ends the session. */
const LONGEST = 0x3fff_ffff - 1

const tooLong = (what: string, length: number): Unsendable =>
  new Unsendable(
    `${what} would be ${length} bytes, and PostgreSQL accepts ${LONGEST}: send less at a time, or use a large object`,
    { tag: "ResourceExhausted", code: "54000" }
  )

/** What is wrong with a text, which no session would accept; `undefined`: nothing that can be seen without the server. */
export const problemOf = (sql: string): Unsendable | undefined => {
  if (sql.includes("\0")) return new Unsendable("the text has a character NUL, where the server would end it")
  // A character is three bytes at most.
  if (sql.length * 3 > LONGEST - 100) {
    const length = Buffer.byteLength(sql)
    if (length > LONGEST - 100) return tooLong("the text", length)
  }
  const problem = malformed(sql)
  return problem === undefined ? undefined : new Unsendable(`the text ${problem}`)
}

const DESCRIBE = Buffer.from("44000000065000", "hex")
const EXECUTE_SYNC = Buffer.from("45000000090000000000" + "5300000004", "hex")

const sizeOf = (value: string | Buffer | null): number =>
  value === null ? 4 : 4 + (typeof value === "string" ? Buffer.byteLength(value) : value.length)

/** A Bind, and room for `more` bytes behind it. Names are in ASCII. Throws `Unsendable` for parameters that are too long together. */
const bound = (portal: string, name: string, params: Values, more: number): Buffer => {
  const count = params.length
  let binaries = false
  let size = 0
  for (const value of params) {
    size += sizeOf(value)
    if (typeof value === "object" && value !== null) binaries = true
  }
  // The length of a message counts itself and not the letter before it.
  const length = 4 + portal.length + 1 + name.length + 1 + 2 + (binaries ? 2 * count : 0) + 2 + size + 2
  if (length > LONGEST) throw tooLong("the parameters", length)
  const all = Buffer.allocUnsafe(1 + length + more)
  all[0] = 66 // B
  let at = all.writeInt32BE(length, 1)
  at += all.write(portal, at, "latin1")
  all[at++] = 0
  at += all.write(name, at, "latin1")
  all[at++] = 0
  // Parameters are text, except bytes.
  at = all.writeUInt16BE(binaries ? count : 0, at)
  if (binaries)
    for (const value of params) at = all.writeInt16BE(typeof value === "object" && value !== null ? 1 : 0, at)
  at = all.writeUInt16BE(count, at)
  for (const value of params) {
    if (value === null) at = all.writeInt32BE(-1, at)
    else if (typeof value === "string") {
      const written = all.write(value, at + 4)
      all.writeInt32BE(written, at)
      at += 4 + written
    } else {
      at = all.writeInt32BE(value.length, at)
      at += value.copy(all, at)
    }
  }
  // The columns of the answer are text.
  all.writeInt16BE(0, at)
  return all
}

/** A Bind that opens a portal of the statement without a name. Throws like `execution`. */
export const bind = (portal: string, params: Values): Buffer => bound(portal, "", params, 0)

/**
 * Bind, Describe if the columns of the answer are not known yet, Execute and Sync. Names are made by `PlanNames`, in ASCII. Throws
 * `Unsendable` for parameters that are too long together.
 */
export const execution = (name: string, params: Values, describes: boolean): Buffer => {
  const more = (describes ? DESCRIBE.length : 0) + EXECUTE_SYNC.length
  const all = bound("", name, params, more)
  const at = all.length - more
  if (describes) DESCRIBE.copy(all, at)
  EXECUTE_SYNC.copy(all, all.length - EXECUTE_SYNC.length)
  return all
}

const commands = new Map<string, Buffer>()

/** Parse, Bind and Execute of a statement without parameters; kept, because there are few of them (BEGIN and its forms). */
export const command = (sql: string): Buffer => {
  const known = commands.get(sql)
  if (known !== undefined) return known
  const length = Buffer.byteLength(sql)
  const parse = Buffer.alloc(1 + 4 + 1 + length + 1 + 2)
  parse[0] = 80 // P
  parse.writeInt32BE(parse.length - 1, 1)
  parse.write(sql, 6)
  const made = Buffer.concat([parse, Buffer.from("420000000c" + "0000" + "0000" + "0000" + "0000", "hex"), EXECUTE])
  if (commands.size < 100) commands.set(sql, made)
  return made
}

const EXECUTE = EXECUTE_SYNC.subarray(0, 10)
