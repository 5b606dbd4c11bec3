/** What one file says of a service: not everything, because flags and other files say the rest. */

import { Either } from "effect"
import type { Service } from "../../PlanInput.js"
import type { Reason, Source } from "../../PlanReport.js"
import { type Cursor, type Read, wholeText } from "./cursor.js"

export interface Draft {
  readonly service: { readonly name: string } & Partial<Service>
  readonly source: Source
  /** Why the file does not say how many pods there are. */
  readonly unknownPods?: string | undefined
  /** Why it is taken not to use the database, although nobody said so. */
  readonly noClient?: string | undefined
}

export interface Drafts {
  readonly drafts: ReadonlyArray<Draft>
  readonly notes: ReadonlyArray<Reason>
}

export const note = (message: string, source: Source): Reason => ({
  level: "note",
  code: "not-counted",
  message,
  service: undefined,
  source
})

/** Without what is `undefined`, so that merging leaves what another file says. */
export const defined = <A extends object>(fields: A): { [K in keyof A]?: Exclude<A[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never

/**
 * Programs that run beside an application and open no pool on its database. The last part of an image's name, without tag.
 * A service of such an image that does use the database is named in `sluice.yaml`.
 */
const noClients =
  /^(?:postgres(?:ql)?|postgis|timescaledb|mysql|mariadb|percona(?:-server)?|redis|valkey|memcached|mongo(?:db)?|rabbitmq|kafka|zookeeper|nats|elasticsearch|opensearch|minio|nginx|httpd|haproxy|traefik|envoy|caddy|pgbouncer|proxysql|mailhog|mailpit|jaeger|prometheus|grafana|busybox)$/

export const noClientOf = (image: string | undefined): string | undefined => {
  const name = image?.split("/").at(-1)?.split(/[:@]/)[0] ?? ""
  return noClients.test(name) ? `it runs the image ${name}` : undefined
}

/** What labels and annotations say: `sluice/processes`, `sluice/max-size`. */
export const labelled = (
  labels: (name: string) => Cursor
): Read<{ readonly processes?: number; readonly maxSize?: number }> =>
  Either.gen(function* () {
    const processes = yield* wholeText(labels("sluice/processes"), 1, 1024)
    const maxSize = yield* wholeText(labels("sluice/max-size"), 1, 10_000)
    return defined({ processes, maxSize })
  })

/** The variable by which many servers are told how many processes to start. */
export const CONCURRENCY = "WEB_CONCURRENCY"

/** As many processes as the variable says; what is no number is left to somebody who knows. */
export const concurrency = (value: string | undefined): number | undefined =>
  value !== undefined && /^[1-9]\d{0,2}$/.test(value) ? Number(value) : undefined
