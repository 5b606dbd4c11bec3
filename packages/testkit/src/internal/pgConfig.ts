import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { reasonOf } from "./clusterError.js"
import { PgClusterError } from "./pgClusterError.js"

/** A value of a postgresql.conf setting. */
export type Setting = string | number | boolean

const defaults: Record<string, Setting> = {
  // Speed: a test's data need not survive the machine.
  fsync: false,
  full_page_writes: false,
  shared_buffers: "16MB",
  wal_init_zero: false,
  wal_recycle: false,
  max_wal_size: "256MB", // small, because the folder may be in memory
  // Replication.
  wal_level: "replica",
  hot_standby: true,
  max_wal_senders: 10,
  wal_keep_size: "128MB", // a replica that was stopped for a while still finds what it missed
  wal_retrieve_retry_interval: "100ms", // a replica follows its restarted primary at once, not after 5 seconds
  // Few processes, and no shared memory outside of the data folder, which a killed server would leave behind.
  io_method: "sync",
  max_logical_replication_workers: 0,
  dynamic_shared_memory_type: "mmap",
  synchronous_commit: true,
  password_encryption: "scram-sha-256",
  log_line_prefix: "%m [%p] %a "
}

const quote = (value: string): string => `'${value.replaceAll("'", "''")}'`

const render = (value: Setting): string =>
  typeof value === "string" ? quote(value) : typeof value === "boolean" ? (value ? "on" : "off") : String(value)

/** Makes a connection string with the quoting of libpq. Inside postgresql.conf that string is quoted once more. */
export const conninfo = (fields: Record<string, string | number>): string =>
  Object.entries(fields)
    .map(([key, value]) => `${key}='${String(value).replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`)
    .join(" ")

/**
 * Writes the whole configuration of one node: our defaults, the test's settings, and what must not be changed. Later
 * entries win.
 */
export const write = (options: {
  readonly dataDir: string
  readonly node: string
  readonly title: string
  readonly port: number
  readonly settings: Readonly<Record<string, Setting>>
  readonly primary: string | undefined
}): Effect.Effect<void, PgClusterError> =>
  Effect.try({
    try: () => {
      const settings: Record<string, Setting> = {
        ...defaults,
        ...options.settings,
        listen_addresses: "127.0.0.1",
        port: options.port,
        unix_socket_directories: "",
        cluster_name: options.title, // the reaper finds the processes by this name
        logging_collector: false, // the testkit reads the log from the server's output
        ...(options.primary === undefined ? {} : { primary_conninfo: options.primary })
      }
      const lines = Object.entries(settings).map(([name, value]) => `${name} = ${render(value)}\n`)
      // Overwriting a file keeps its owner and mode, also when root does it for another user.
      writeFileSync(join(options.dataDir, "postgresql.conf"), lines.join(""))
      writeFileSync(
        join(options.dataDir, "pg_hba.conf"),
        ["all", "replication"].map((database) => `host ${database} all 127.0.0.1/32 scram-sha-256\n`).join("")
      )
    },
    catch: (cause) => new PgClusterError({ phase: "directory", where: options.node, reason: reasonOf(cause), cause })
  })
