import type { Instant, Timers } from "@sluice/pool/Deadline"
import { Effect } from "effect"
import type { ServerState } from "../../driver/Driver.js"
import type { Snapshot } from "../../Topology.js"
import { Eligibility } from "./eligibility.js"
import { Track } from "./lag.js"
import * as Roles from "./roles.js"
import type { Rules } from "./rules.js"
import type { Target } from "./target.js"
import type { Roles as Source } from "./words.js"

export interface MembersOptions<Conn> {
  /** The database, for messages. */
  readonly name: string
  /** Every target once, in the order of the configuration. The first one is the primary until another is found. */
  readonly targets: ReadonlyArray<Target<Conn>>
  /** The configuration names the first one as a replica as well, so that it takes reads also while it is the primary. */
  readonly isBoth: boolean
  readonly source: Source
  readonly timers: Timers["Type"]
  /** See `Driver.reached`. */
  readonly reached: (position: string, wanted: string) => boolean | undefined
  /** What the router asks of the targets that get reads. */
  readonly rules: Rules
  /** Runs what is said in the log in a fiber of its own. */
  readonly say: (message: Effect.Effect<void>) => void
}

/**
 * The targets of one `Sql` and their roles now. Statements read `writable` and `epoch`; probes and refusals change them.
 *
 * 1. `epoch` rises whenever another target, or none, takes the writes. A connection that was leased before, and is held for
 *    more than one statement, is exchanged before the next write (the role fence).
 * 2. When the roles change, those who wait for a connection of the last primary are sent away, and ask again.
 * 3. The connections of a new primary must each show that they have reached a server that takes writes.
 */
export class Members<Conn> {
  /** The target that takes the writes; `undefined` while none does. */
  writable: Target<Conn> | undefined
  /**
   * Where statements go that are not marked: as `writable`. A server that stands alone gets them also while it takes no writes,
   * because they may be reads. It refuses those that are not, and they wait then.
   */
  open: Target<Conn> | undefined
  /** The target that takes the writes, or did so last. */
  primary: Target<Conn>
  /** Rises when `writable` changes. */
  epoch = 0
  /** When the present round of questions has begun. */
  roundAt: Instant = -Infinity
  private readonly hosts: ReadonlyArray<Roles.Host<Target<Conn>>>
  private readonly eligibility: Eligibility
  private readonly said = new Set<string>()
  private readonly listeners = new Set<(snapshot: Snapshot) => void>()
  private current: Snapshot
  private readonly track: Track

  constructor(private readonly options: MembersOptions<Conn>) {
    const { reached, rules, source, targets, timers } = options
    this.track = new Track(reached)
    this.eligibility = new Eligibility(rules, timers.now())
    this.hosts = targets.map((target, i) => ({
      target,
      isNamed: source === "given" && i === 0,
      state: undefined,
      askedAt: undefined,
      saidAt: undefined,
      wasReadOnly: false
    }))
    this.primary = targets[0]!
    this.writable = source === "given" ? this.primary : undefined
    this.open = this.writable
    this.current = this.picture()
  }

  get snapshot(): Snapshot {
    return this.current
  }

  /** Whether the servers must be asked again soon: no server takes writes, or the one that did has not answered. */
  get isLooking(): boolean {
    return this.writable === undefined || this.isSilent(this.writable)
  }

  /** Whether a server that has not answered must show that it is back. */
  get isMissing(): boolean {
    return this.hosts.some(({ target }) => target.isOut)
  }

  /** Every server was asked, and its answer has come or did not come. */
  get isComplete(): boolean {
    return this.hosts.every(({ askedAt }) => askedAt !== undefined)
  }

  /** The servers that belong to another cluster than the primary. */
  get foreign(): ReadonlyArray<Target<Conn>> {
    const { history } = this
    return this.hosts.filter((host) => Roles.isForeign(host, history)).map(({ target }) => target)
  }

  /** The history of the cluster, as `ServerState` means it. `undefined`: not known yet, or it cannot be told. */
  get history(): string | undefined {
    return Roles.historyOf(this.hosts, this.writable)
  }

  /** The primary has said, outside of a round, how far it is. */
  wrote(position: string): void {
    this.track.note(position, this.options.timers.now())
  }

  /** Calls `f` at each change of the roles. What it gives ends that. */
  listen(f: (snapshot: Snapshot) => void): () => void {
    this.listeners.add(f)
    return () => this.listeners.delete(f)
  }

  /** The roles were looked at: the same ones are published anew. */
  publish(): void {
    this.current = this.picture()
    for (const listener of [...this.listeners]) listener(this.current)
  }

  /** Whether it is news that a session has found its server to take writes. */
  isNews(target: Target<Conn>): boolean {
    return target !== this.writable
  }

  /** A session has seen that its server takes no writes. */
  refused(target: Target<Conn>): void {
    const host = this.hostOf(target)
    host.wasReadOnly = true
    host.state = { ...(host.state ?? unknown), isWritable: false, generation: undefined }
    this.decide()
  }

  /** What a server has answered; `undefined`: it did not answer. */
  answered(target: Target<Conn>, state: ServerState | undefined): void {
    const host = this.hostOf(target)
    host.askedAt = this.options.timers.now()
    host.saidAt = host.askedAt
    host.state = state
    if (state?.isWritable === false) host.wasReadOnly = true
    const wasOut = target.isOut
    const isBack = this.eligibility.answered(
      target,
      target === this.primary,
      state,
      this.lagOf(target, state),
      !this.isLooking,
      host.askedAt
    )
    // Reads may wait for it.
    if (isBack) this.publish()
    // Another server can answer those who wait for a connection to this one.
    if (target.isOut && !wasOut && target !== this.primary) target.dismiss()
    this.decide()
  }

  /** The server could not be asked, which says nothing about it: it may have no room for one more connection. */
  unasked(target: Target<Conn>): void {
    this.eligibility.unasked(target)
    this.hostOf(target).askedAt = this.options.timers.now()
    this.decide()
  }

  private lagOf(target: Target<Conn>, state: ServerState | undefined): number | undefined {
    const position = state?.position
    if (position === undefined || state?.isWritable === true) {
      if (position !== undefined && target === this.writable) this.wrote(position)
      return state?.lag
    }
    return this.track.lagOf(position, this.options.timers.now(), state?.lag)
  }

  private isSilent(target: Target<Conn>): boolean {
    const { askedAt, state } = this.hostOf(target)
    return askedAt !== undefined && state === undefined
  }

  private hostOf(target: Target<Conn>): Roles.Host<Target<Conn>> {
    return this.hosts.find((host) => host.target === target)!
  }

  private decide(): void {
    this.reportForeign()
    const current = this.writable ?? (this.options.source === "given" || this.epoch > 0 ? this.primary : undefined)
    const verdict = Roles.decide(this.hosts, current, this.options.source, this.roundAt)
    switch (verdict._tag) {
      case "Keep":
        return
      case "Primary":
        if (verdict.target !== this.writable) this.become(verdict.target)
        return
      case "None":
        if (this.writable !== undefined || (this.isComplete && this.epoch === 0))
          this.lose(nobody(this.options.name, this.hosts))
        return
      case "Conflict":
        if (this.writable !== undefined || this.isNew("conflict")) this.lose(twoOf(verdict.targets))
    }
  }

  private become(target: Target<Conn>): void {
    const last = this.primary
    if (last !== target) this.eligibility.becamePrimary(target)
    const isFirst = this.epoch === 0 && this.options.source === "found"
    this.writable = target
    this.open = target
    this.primary = target
    this.epoch++
    this.track.clear()
    this.said.delete("conflict")
    for (const other of this.options.targets) other.role = other === target ? "primary" : "replica"
    this.publish()
    target.suspect()
    if (last !== target) last.dismiss()
    this.options.say(
      isFirst
        ? Effect.logDebug(`${target.label} takes the writes`)
        : last === target
          ? Effect.logInfo(`${target.label} takes writes again`)
          : Effect.logWarning(
              `${target.label} takes the writes now, and ${last.label} does so no more: writes go there`
            )
    )
  }

  private lose(message: Effect.Effect<void>): void {
    this.writable = undefined
    this.open = this.options.targets.length === 1 ? this.primary : undefined
    this.epoch++
    this.publish()
    if (this.open === undefined) this.primary.dismiss()
    this.options.say(message)
  }

  private reportForeign(): void {
    for (const { label } of this.foreign) {
      if (!this.isNew(`foreign ${label}`)) continue
      this.options.say(Effect.logError(`${label} belongs to another cluster than ${this.primary.label}: ${strangers}`))
      this.publish()
    }
  }

  private isNew(what: string): boolean {
    if (this.said.has(what)) return false
    this.said.add(what)
    return true
  }

  private picture(): Snapshot {
    const { history } = this
    const { isBoth, targets, timers } = this.options
    const generation = this.hosts.find(({ target }) => target === this.writable)?.state?.generation
    const isStale = ({ state }: Roles.Host<Target<Conn>>): boolean =>
      generation !== undefined && state?.isWritable === true && (state.generation ?? generation) < generation
    const replicas = this.hosts
      .filter((host) =>
        host.target === this.primary
          ? // While no server takes writes it may be a standby like the others.
            (isBoth && targets[0] === host.target) ||
            (this.writable === undefined && targets.length > 1 && host.state?.isWritable === false)
          : !Roles.isForeign(host, history) && !isStale(host)
      )
      .map(({ target }) => target)
    return { primary: this.primary, isWritable: this.writable !== undefined, replicas, at: timers.now() }
  }
}

const unknown: ServerState = {
  isWritable: false,
  isReplica: false,
  generation: undefined,
  history: undefined,
  instance: undefined,
  sharesWrites: false,
  position: undefined,
  lag: undefined
}

/** What is said of a server of another cluster. */
export const strangers =
  "it gets neither reads nor writes. Give only servers that replicate from one another, and for another database make a client of its own"

const labels = (targets: ReadonlyArray<{ readonly label: string }>): string =>
  targets.map(({ label }) => label).join(", ")

const nobody = (name: string, hosts: ReadonlyArray<Roles.Host<{ readonly label: string }>>): Effect.Effect<void> => {
  const silent = hosts.filter(({ state }) => state === undefined).map(({ target }) => target)
  return Effect.logWarning(
    hosts.length === 1
      ? `${name} at ${hosts[0]!.target.label}: this is the primary, and the server takes no writes: it is a standby, or read-only. Writes wait until it takes them, within their acquire timeouts, and fail with NotWritable then. If it is not to be promoted, give the address of the server that takes writes as primary (or url), and this one in replicas`
      : `${name}: no server takes writes: of ${labels(hosts.map(({ target }) => target))} each is a standby, read-only${
          silent.length === 0 ? "" : ` or cannot be reached (${labels(silent)})`
        }. Writes wait for one that takes them, within their acquire timeouts, and fail with NotWritable then. Promote a standby, or give the address of the server that takes writes`
  )
}

const twoOf = (targets: ReadonlyArray<{ readonly label: string }>): Effect.Effect<void> =>
  Effect.logError(
    `${labels(targets)} take writes, and it cannot be told which of them is the primary: no write is sent to any of them. Set those that are not the primary to read-only, or stop them`
  )
