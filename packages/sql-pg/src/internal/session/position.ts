/**
 * How far the history of a server goes: `timeline:position`, for example `1:0/3000060`.
 *
 * A position means something on its timeline alone. After a failover two servers may have different histories at the same position,
 * so positions of different timelines are not compared.
 */
import type { SqlError } from "@effect/sql/SqlError"
import { Effect } from "effect"
import { asked } from "./asked.js"
import type { PgConnection } from "./connection.js"

/**
 * The position up to which the primary has inserted, and not the one up to which it has written: with `synchronous_commit = off`
 * it answers a COMMIT that is not written yet. A read that wants more than was flushed waits for the next flush, which the next COMMIT or the WAL
 * writer does (every 200 milliseconds). The timeline is that of the file that is written now, because the one in the control file is
 * older than a promotion until the next checkpoint.
 */
export const OF_PRIMARY = `select l.inserted::text as inserted, f.file_name as file, f.file_offset as at, current_setting('wal_block_size') as block
  from (select case when not pg_is_in_recovery() then pg_current_wal_insert_lsn() end as inserted) l, pg_walfile_name_offset(l.inserted) f`

/**
 * The timeline of a standby is the one that it receives; without a receiver, or for a user who may not see it, the one of the control
 * file, which may be older than the truth and never younger.
 */
export const OF_REPLICA = `select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() end::text as replayed,
  greatest((select received_tli from pg_stat_wal_receiver), (select timeline_id from pg_control_checkpoint())) as timeline`

interface OfPrimary {
  readonly inserted: string | null
  readonly file: string | null
  readonly at: number | null
  readonly block: string
}

interface OfReplica {
  readonly replayed: string | null
  readonly timeline: number | null
}

/** The first eight digits of the name of a file. */
export const timelineOf = ({ file }: Pick<OfPrimary, "file">): number | undefined =>
  typeof file === "string" ? Number.parseInt(file.slice(0, 8), 16) : undefined

/** Bytes of the header of a page, and of the first page of a file. */
const SHORT = 24
const LONG = 40

/**
 * When the last record has ended with its page, the position is said to be behind the header of the next page, while a standby that has
 * replayed that record stands before it.
 */
export const ofPrimary = (row: OfPrimary): string | undefined => {
  const timeline = timelineOf(row)
  const inserted = row.inserted === null ? undefined : halves(row.inserted)
  if (timeline === undefined || inserted === undefined) return undefined
  const at = Number(row.at)
  const header = at === LONG ? LONG : at % Number(row.block) === SHORT ? SHORT : 0
  const [high, low] = inserted
  return `${timeline}:${high.toString(16).toUpperCase()}/${(low - header).toString(16).toUpperCase()}`
}

export const ofReplica = ({ replayed, timeline }: OfReplica): string | undefined =>
  replayed === null || timeline === null ? undefined : `${timeline}:${replayed}`

/** See `Driver.askPosition`. */
export const ask = (
  connection: PgConnection,
  role: "primary" | "replica"
): Effect.Effect<string | undefined, SqlError> =>
  role === "primary"
    ? Effect.map(asked(connection, OF_PRIMARY), ([row]) => ofPrimary(row))
    : Effect.map(asked(connection, OF_REPLICA), ([row]) => ofReplica(row))

/** A position may have 64 bits, which a number cannot hold. */
const halves = (position: string): readonly [high: number, low: number] | undefined => {
  const parts = /^([0-9a-f]{1,8})\/([0-9a-f]{1,8})$/i.exec(position)
  return parts === null ? undefined : [Number.parseInt(parts[1]!, 16), Number.parseInt(parts[2]!, 16)]
}

const parse = (position: string) => {
  const [timeline, rest, ...more] = position.split(":")
  const at = rest === undefined || more.length > 0 ? undefined : halves(rest)
  return at === undefined || !/^[1-9][0-9]{0,9}$/.test(timeline!) ? undefined : { timeline: Number(timeline), at }
}

/** See `Driver.reached`. A server of an older timeline has not seen the failover that `wanted` comes after. */
export const reached = (position: string, wanted: string): boolean | undefined => {
  const now = parse(position)
  const then = parse(wanted)
  if (now === undefined || then === undefined) return undefined
  if (now.timeline !== then.timeline) return now.timeline < then.timeline ? false : undefined
  return now.at[0] === then.at[0] ? now.at[1] >= then.at[1] : now.at[0] > then.at[0]
}
