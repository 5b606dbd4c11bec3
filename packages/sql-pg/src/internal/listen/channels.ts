import type { SqlError } from "@effect/sql/SqlError"
import * as SqlReason from "@sluice/sql/SqlReason"

/** Bytes of a name that PostgreSQL keeps (`NAMEDATALEN` − 1). LISTEN cuts a longer one off, and then nobody hears the sender. */
const LONGEST_NAME = 63

/** Bytes of a payload that PostgreSQL takes. */
const LONGEST_PAYLOAD = 7_999

/** The name as the server must read it. */
export const identifier = (channel: string): string => `"${channel.replaceAll('"', '""')}"`

/** Why no server would know a channel by this name, if so. The name is not quoted: it may be anything. */
const problemOf = (channel: unknown): string | undefined => {
  if (typeof channel !== "string") return `is no text, but ${channel === null ? "null" : typeof channel}`
  if (channel === "") return "is empty"
  if (channel.includes("\0")) return "contains a NUL character, which ends a text in PostgreSQL"
  const bytes = Buffer.from(channel)
  if (bytes.toString() !== channel) return "contains half of a surrogate pair, which has no UTF-8"
  return bytes.length > LONGEST_NAME
    ? `has ${bytes.length} bytes, of which PostgreSQL keeps ${LONGEST_NAME}: choose a shorter one, or a hash of it`
    : undefined
}

/** The failure of a `listen` or `notify` on a channel that cannot be, if so. */
export const refusal = (verb: "listen" | "notify", channel: unknown, label: string): SqlError | undefined => {
  const problem = problemOf(channel)
  return problem === undefined ? undefined : invalid(verb, `the name of the channel ${problem}`, label)
}

/** The failure of a `notify` whose payload the server would refuse, if so. */
export const payloadRefusal = (payload: unknown, label: string): SqlError | undefined => {
  if (typeof payload !== "string") return invalid("notify", `the payload is no text, but ${typeof payload}`, label)
  const bytes = Buffer.byteLength(payload)
  return bytes > LONGEST_PAYLOAD
    ? invalid(
        "notify",
        `the payload has ${bytes} bytes, and PostgreSQL takes ${LONGEST_PAYLOAD} at most: write the data to a table and send its key`,
        label,
        "InvalidData"
      )
    : undefined
}

const invalid = (verb: string, problem: string, label: string, tag: SqlReason.Tag = "InvalidUse"): SqlError =>
  SqlReason.toError(SqlReason.make(tag, { connection: "none" }), `PostgreSQL at ${label}: ${verb}: ${problem}`)
