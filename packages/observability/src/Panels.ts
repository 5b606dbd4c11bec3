/**
 * The panels of the boards: what each is called, and in which order they stand. The terminal, the web page and Grafana take them from
 * here, so that whoever knows one of them knows all three.
 *
 * @since 0.2.0
 */

/**
 * @since 0.2.0
 * @category models
 */
export interface Panel {
  readonly id: PanelId
  /** A few words. */
  readonly title: string
  /** One sentence for whoever sees the panel for the first time. */
  readonly description: string
}

/**
 * @since 0.2.0
 * @category models
 */
export type PanelId =
  | "verdict"
  | "places"
  | "waits"
  | "saturation"
  | "holders"
  | "errors"
  | "closes"
  | "endpoints"
  | "server"
  | "pods"
  | "whatIf"

/**
 * All panels, in the order in which a board shows them.
 *
 * @since 0.2.0
 * @category constants
 */
export const all: ReadonlyArray<Panel> = [
  {
    id: "verdict",
    title: "Verdict",
    description: "What is wrong and what helps, with the numbers that say so and the thresholds that they are above."
  },
  {
    id: "places",
    title: "Connections",
    description: "Every connection that a pool may have: in use, idle, or not open, and the callers that wait for one."
  },
  {
    id: "waits",
    title: "Wait for a connection",
    description: "How long acquires of the last minute have waited, and how long the oldest caller waits now."
  },
  {
    id: "saturation",
    title: "Saturation",
    description: "Connections in use and callers that wait, as a share of maxSize; above 100 % callers wait."
  },
  {
    id: "holders",
    title: "Longest leases",
    description: "Who has had a connection for longest, what is done with it, and the process of the server behind it."
  },
  {
    id: "errors",
    title: "Errors",
    description: "Acquires and statements that have failed, by reason, and statements that were executed again."
  },
  {
    id: "closes",
    title: "Connects and closes",
    description: "Connections that were opened, and those that were closed, by reason."
  },
  {
    id: "endpoints",
    title: "Servers",
    description: "The primary and its replicas: whether each can be reached, and how far it is behind."
  },
  {
    id: "server",
    title: "Connections of the server",
    description:
      "What these pools have open beside what the server itself counts, which includes the connections of everybody else."
  },
  {
    id: "pods",
    title: "Pods",
    description: "The same numbers for each process, the busiest first."
  },
  {
    id: "whatIf",
    title: "Another maxSize",
    description: "How many of the recorded acquires would have waited with fewer connections, or with more."
  }
]

/**
 * The panel of this id.
 *
 * @since 0.2.0
 * @category getters
 */
export const get = (id: PanelId): Panel => all.find((panel) => panel.id === id)!

/**
 * What the numbers of a pool are called on every board. The first four are those of `Pool.stats`.
 *
 * @since 0.2.0
 * @category constants
 */
export const words = {
  size: "size",
  available: "available",
  using: "using",
  waiting: "waiting",
  free: "not open",
  max: "max",
  oldestWait: "oldest wait",
  p50: "p50",
  p95: "p95",
  p99: "p99",
  longest: "longest",
  lag: "behind",
  role: "role"
} as const
