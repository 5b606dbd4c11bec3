import { join } from "node:path"
import type { Effect } from "effect"
import { fail, type MariaDbClusterError } from "./mariaDbClusterError.js"
import { type Account, makeFile } from "./programs.js"

/** A value of a my.cnf setting. */
export type Setting = string | number | boolean

const defaults: Record<string, Setting> = {
  // Speed: a test's data need not survive a crash of the machine. What was committed survives a crash of the server,
  // because the operating system has it before the commit is answered.
  innodb_flush_log_at_trx_commit: 2,
  sync_binlog: 0,
  innodb_flush_method: "nosync",
  debug_no_sync: true,
  innodb_doublewrite: false,
  innodb_buffer_pool_dump_at_shutdown: false,
  innodb_buffer_pool_load_at_startup: false,
  // Small: the folder may be in memory.
  innodb_buffer_pool_size: "16M",
  innodb_log_file_size: "16M",
  innodb_data_file_path: "ibdata1:4M:autoextend",
  innodb_temp_data_file_path: "ibtmp1:1M:autoextend",
  innodb_autoextend_increment: 1, // megabytes
  key_buffer_size: "1M",
  aria_pagecache_buffer_size: "8M",
  table_open_cache: 400,
  table_open_cache_instances: 1,
  performance_schema: false,
  innodb_use_native_aio: false, // io_uring's memory counts against a limit that containers share
  // Replication.
  log_bin: "binlog",
  log_slave_updates: true, // so that other nodes can follow a promoted replica
  gtid_strict_mode: true,
  slave_net_timeout: 10, // seconds
  // The same everywhere.
  character_set_server: "utf8mb4",
  collation_server: "utf8mb4_general_ci"
}

/** An option file keeps all that stands between the first and the last quote, and reads escapes in it. */
const quote = (value: string): string =>
  `"${value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\r", "\\r")}"`

const render = (value: Setting): string =>
  typeof value === "string" ? quote(value) : typeof value === "boolean" ? (value ? "ON" : "OFF") : String(value)

/** The ports of a node: one for clients, and one for the testkit itself, on which clients cannot take every place. */
export interface Ports {
  readonly port: number
  readonly extraPort: number
}

export const path = (directory: string): string => join(directory, "my.cnf")

/** The pid file, in the data folder. */
export const pidFile = "mariadbd.pid"

/**
 * Writes the whole configuration of one node: our defaults, the test's settings, and what must not be changed. Later
 * entries win.
 */
export const write = (options: {
  readonly directory: string
  readonly account: Account | undefined
  readonly serverId: number
  readonly ports: Ports
  readonly settings: Readonly<Record<string, Setting>>
  readonly replica: boolean
}): Effect.Effect<void, MariaDbClusterError> => {
  const { account, directory, ports, replica, serverId, settings } = options
  const fixed: Record<string, Setting> = {
    datadir: join(directory, "data"),
    tmpdir: join(directory, "tmp"), // in the cluster's folder, because a killed server does not remove its temporary files
    bind_address: "127.0.0.1",
    port: ports.port,
    extra_port: ports.extraPort,
    extra_max_connections: 100,
    socket: "",
    pid_file: pidFile,
    skip_name_resolve: true,
    server_id: serverId,
    ...(replica ? { read_only: true } : {}),
    // The testkit reads in the log that the server is ready, and that line depends on the language.
    skip_log_error: true,
    lc_messages: "en_US"
  }
  const lines = [defaults, settings, fixed].flatMap((part) =>
    Object.entries(part).map(([name, value]) => `${name} = ${render(value)}\n`)
  )
  return makeFile(fail, path(directory), `[mariadbd]\n${lines.join("")}`, account)
}
