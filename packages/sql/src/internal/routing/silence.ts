import type { SqlError } from "@effect/sql/SqlError"
import type { Instant, Timer, Timers } from "@sluice/pool/Deadline"
import { Effect, Scope } from "effect"
import type * as Driver from "../../driver/Driver.js"
import * as Fork from "../../driver/Fork.js"
import * as SqlReason from "../../SqlReason.js"
import * as Bounded from "../session/bounded.js"
import type { Control } from "./control.js"

/** Milliseconds between two looks while something is under way. */
const INTERVAL = 50

/** Milliseconds without a byte after which the server is asked. With less, a machine that stalls would ask for nothing. */
const LATE = 500

/** Behind a longer round trip, in milliseconds, the server is asked after twice as long. */
const FAR = 100

/** Milliseconds between two answers that say that the server waits. In between a byte that was on its way has arrived. */
const APART = 250

/** Milliseconds from an answer of the server until its sessions are judged: what lay in a socket is read before that. */
const SETTLE = 10

/** Milliseconds between two questions to a server. For a statement that it works on they grow up to `LONGEST_PAUSE`. */
const PAUSE = 1_000
const LONGEST_PAUSE = 5_000

/**
 * Milliseconds of a silent host after which nobody waits there who can go elsewhere. With less, a server that stalls for a moment
 * would send the reads of all its waiters to the primary.
 */
const STALLED = 100

/** Milliseconds for an answer on a control connection that was open before: it may be frozen, too. */
const SHORT = 250

/** Milliseconds for an answer on a new control connection. */
const LONG = 1_000

/**
 * Milliseconds for which no connection to the server before must have had an answer, and questions that only another server has
 * answered, until that server counts as its successor. A load balancer would have led one of so many new connections back.
 */
const SUCCESSION = 10_000
const ANSWERS = 5

/** A connection of the pool. Changed by `Watch` alone. */
interface Watched<Conn> {
  readonly connection: Conn
  readonly awaiting: Driver.Awaiting
  readonly signals: Driver.Signals
  readonly openedAt: Instant
  /** What it has received, and which operation it has awaited, at the last look. */
  received: number
  operation: object | undefined
  /** Milliseconds without a byte for this operation, as far as this process was running. */
  quiet: number
  /** When the server may be asked about the operation again, and the pause before that. */
  askAt: Instant
  pause: number
  /** The server was found waiting. */
  waiting: { readonly mark: string; readonly at: Instant } | undefined
  /** Questions about it that another server has answered. */
  elsewhere: number
  /** What it had received when the host was found silent. */
  receivedBefore: number
}

/** A connection that the server is asked about, as it was before the question. */
interface Suspect<Conn> {
  readonly watched: Watched<Conn>
  readonly operation: object
  readonly received: number
}

/**
 * Finds connections of one endpoint whose statements will never be answered, because the way to the server has swallowed them.
 *
 * Silence proves nothing, since a statement may rightly run for an hour. So the server is asked, on the control connection, what it
 * does for the session:
 *
 * 1. It does not know the session: the connection is lost.
 * 2. It has answered, or waits for the client, says so twice with a pause in between, and no byte has come: the connection is lost.
 * 3. It works on the statement, or does not say: nothing happens, and it is asked again later.
 * 4. It cannot be reached: that says nothing about the statement. The host counts as silent, and packed reads are sent elsewhere. If it
 *    is a replica, its other connections are lost: what they execute only reads, and another server can execute it.
 * 5. Another server has answered: nothing happens until that one is known to be the successor (`SUCCESSION`).
 *
 * When one connection is lost, the others of the pool must prove that they work.
 */
export interface Silence<Conn> {
  /** Opens a connection that is watched until its scope closes. */
  readonly connect: (signals: Driver.Signals) => Effect.Effect<Conn, SqlError, Scope.Scope>
  /**
   * A statement is overdue, and since it began nothing has come from the host. It ends with the first byte, with an answer on the
   * control connection, and with a new connection.
   */
  readonly isSilent: () => boolean
  /** When something has last come from the host, as far as it was noticed; `-Infinity` before that. */
  readonly heardAt: () => Instant
}

class Watch<Conn> implements Driver.Observer {
  isWatching = false
  private readonly connections = new Set<Watched<Conn>>()
  private timer: Timer | undefined = undefined
  private lookedAt: Instant = 0
  private askedAt: Instant = -Infinity
  private isAsking = false
  /** When the second of two answers is asked for. */
  private confirmAt: Instant = Infinity
  /** Another server has answered. Only a new control connection can be led to the one that was asked for. */
  private isElsewhere = false
  /** The last look that has found bytes of an answer that is not complete. */
  private heardAt: Instant = -Infinity
  /** When the control connection has last shown that the server lives. */
  private toldAt: Instant = -Infinity
  private silentSince: Instant | undefined = undefined

  constructor(
    private readonly silence: Driver.Silence<Conn>,
    private readonly control: Control<Conn>,
    private readonly timers: Timers["Type"],
    private readonly fork: (effect: Effect.Effect<void>) => void,
    private readonly leave: () => boolean
  ) {}

  add(connection: Conn, signals: Driver.Signals): Watched<Conn> {
    const awaiting = this.silence.awaiting(connection)
    const { received } = awaiting
    const watched: Watched<Conn> = {
      connection,
      awaiting,
      signals,
      openedAt: this.timers.now(),
      received,
      operation: undefined,
      quiet: 0,
      askAt: 0,
      pause: 0,
      waiting: undefined,
      elsewhere: 0,
      receivedBefore: received
    }
    this.silentSince = undefined
    this.connections.add(watched)
    awaiting.observe(this)
    if (awaiting.isBusy && !this.isWatching) this.began()
    return watched
  }

  remove(watched: Watched<Conn>): void {
    this.connections.delete(watched)
  }

  stop(): void {
    this.timer?.cancel()
    this.isWatching = true
  }

  // Looking -----------------------------------------------------------------------------------------------------

  began(): void {
    this.lookedAt = this.timers.now()
    this.lookIn(INTERVAL)
  }

  private lookIn(millis: number): void {
    this.isWatching = true
    this.timer = this.timers.set(this.timers.now() + millis, () => this.look())
  }

  private look(): void {
    const now = this.timers.now()
    // While this process was held up, nothing could arrive.
    const passed = Math.min(now - this.lookedAt, 2 * INTERVAL)
    let isBusy = false
    let isDue = false
    let lateSince = -Infinity
    let mayAsk = false
    for (const watched of this.connections) {
      this.note(watched, now, passed)
      mayAsk ||= this.mayAsk(watched)
      isBusy ||= watched.awaiting.isBusy
      if (watched.quiet < lateness(watched.awaiting)) continue
      if (watched.askAt <= now && this.mayAsk(watched)) isDue = true
      lateSince = Math.max(lateSince, now - watched.quiet)
    }
    this.lookedAt = now
    // One for all of them: if nothing has come since the last of them began, nothing has come since the others did.
    if (lateSince !== -Infinity) this.late(lateSince)
    const isSilent = this.isSilent
    if (isSilent) {
      const silent = now - this.silentSince!
      // Nobody else would find out that the host is back.
      if (silent >= LATE && mayAsk) isDue = true
      if (silent >= STALLED && this.leave()) this.sendElsewhere()
    }
    const askAt = Math.min(this.askedAt + PAUSE, this.confirmAt)
    if (isDue && !this.isAsking && now >= askAt) this.ask(now)
    if (isBusy || this.isAsking) this.lookIn(INTERVAL)
    else if (isSilent) this.lookIn(PAUSE)
    else this.isWatching = false
  }

  private note(watched: Watched<Conn>, now: Instant, passed: number): void {
    const { answeredAt, operation, received, since } = watched.awaiting
    // Of bytes that belong to an answer it is known when they came.
    if (received !== watched.received && answeredAt < this.lookedAt) this.heardAt = now
    if (operation === undefined || operation !== watched.operation || received !== watched.received) {
      const isNew = operation !== undefined && received === watched.received
      watched.quiet = isNew ? Math.max(0, Math.min(now - since, passed)) : 0
      watched.operation = operation
      watched.received = received
      watched.askAt = 0
      watched.pause = 0
      watched.waiting = undefined
      watched.elsewhere = 0
    } else if (now > since) watched.quiet += passed
  }

  /** Behind a proxy it is not known which session of which server has the statement. */
  private mayAsk({ connection }: Watched<Conn>): boolean {
    return this.silence.server(connection) !== undefined
  }

  // The host ----------------------------------------------------------------------------------------------------

  late(since: Instant): void {
    if (this.silentSince !== undefined || this.hasSign(since)) return
    this.silentSince = this.timers.now()
    for (const watched of this.connections) watched.receivedBefore = watched.awaiting.received
    if (!this.isWatching) this.began()
  }

  /** Something has come from the host since then. Bytes that have come since the last look may belong to a later answer. */
  private hasSign(since: Instant): boolean {
    if (this.toldAt > since || this.heardAt > since) return true
    for (const { awaiting, openedAt, received } of this.connections) {
      const { answeredAt } = awaiting
      if (openedAt > since || answeredAt > since) return true
      if (awaiting.received !== received && answeredAt < this.lookedAt) return true
    }
    return false
  }

  get isSilent(): boolean {
    if (this.silentSince === undefined) return false
    for (const { awaiting, receivedBefore } of this.connections) {
      if (awaiting.received === receivedBefore) continue
      this.silentSince = undefined
      return false
    }
    return true
  }

  /** Bytes of a statement that has no answer yet are noticed at the next look. */
  get lastHeardAt(): Instant {
    let last = Math.max(this.heardAt, this.toldAt)
    for (const { awaiting, openedAt } of this.connections) last = Math.max(last, openedAt, awaiting.answeredAt)
    return last
  }

  /** Those who await packed reads get the answer of another connection, or of another host. */
  private sendElsewhere(): void {
    for (const { awaiting, quiet } of this.connections) if (quiet > 0) awaiting.sendElsewhere()
  }

  /** The control connection has answered, so the host is there. */
  private told(): void {
    this.toldAt = this.timers.now()
    this.silentSince = undefined
  }

  // Asking ------------------------------------------------------------------------------------------------------

  private ask(now: Instant): void {
    const suspects: Array<Suspect<Conn>> = []
    for (const watched of this.connections) {
      const { operation, quiet, received } = watched
      // Those that are not late yet cost nothing, and are judged sooner.
      if (operation !== undefined && quiet >= APART && this.mayAsk(watched)) {
        suspects.push({ watched, operation, received })
      }
    }
    this.isAsking = true
    this.askedAt = now
    const connections = suspects.map(({ watched }) => watched.connection)
    const run = this.isElsewhere ? this.control.runAnew : this.control.run
    const question = run((control) => this.silence.ask(control, connections))
    const roundTrip = suspects.reduce((longest, { watched }) => Math.max(longest, watched.awaiting.roundTrip), 0)
    const within = (millis: number) =>
      Effect.suspend(() =>
        Bounded.interruptAt(this.timers, this.timers.now() + millis + 4 * roundTrip, question, tooLate)
      )
    const wasOpen = this.control.stats().open > 0 && !this.isElsewhere
    const asked = wasOpen ? Effect.catchAll(within(SHORT), () => within(LONG)) : within(LONG)
    this.fork(
      Effect.match(asked, {
        onFailure: (error) => this.unanswered(suspects, error),
        onSuccess: ({ server, sessions }) => {
          this.told()
          this.timers.set(this.timers.now() + SETTLE + roundTrip, () => this.judge(suspects, server, sessions))
        }
      })
    )
  }

  private unanswered(suspects: ReadonlyArray<Suspect<Conn>>, error: SqlError): void {
    this.isAsking = false
    this.confirmAt = Infinity
    if (isAnswer(error)) this.told()
    else {
      this.late(this.askedAt)
      if (this.isSilent) {
        this.sendElsewhere()
        if (this.leave()) this.lose(suspects.filter(isStill).map(({ watched }) => [watched, new Error(UNREACHABLE)]))
      }
    }
    for (const { watched } of suspects) this.wait(watched)
  }

  private judge(
    suspects: ReadonlyArray<Suspect<Conn>>,
    server: string | undefined,
    sessions: ReadonlyArray<Driver.SessionState>
  ): void {
    this.isAsking = false
    this.confirmAt = Infinity
    const lost: Array<readonly [Watched<Conn>, Error]> = []
    this.isElsewhere = false
    suspects.forEach(({ operation, received, watched }, i) => {
      if (!isStill({ operation, received, watched }) || !this.connections.has(watched)) return
      const session = sessions[i]
      if (session === undefined) return
      if (this.silence.server(watched.connection) === server) {
        watched.elsewhere = 0
        this.judgeOne(watched, session, lost)
      } else {
        this.isElsewhere = true
        watched.elsewhere++
        if (this.isSucceeded(watched)) lost.push([watched, new Error(SUCCEEDED)])
        else watched.askAt = 0
      }
    })
    this.lose(lost)
  }

  private lose(lost: ReadonlyArray<readonly [Watched<Conn>, Error]>): void {
    const [first, ...others] = lost
    if (first === undefined) return
    const [{ awaiting, signals }, cause] = first
    signals.fatal(cause)
    awaiting.lose(cause)
    for (const [{ awaiting }, cause] of others) awaiting.lose(cause)
  }

  private judgeOne(
    watched: Watched<Conn>,
    { mark, state }: Driver.SessionState,
    lost: Array<readonly [Watched<Conn>, Error]>
  ): void {
    const now = this.timers.now()
    const isLate = watched.quiet >= lateness(watched.awaiting)
    if (state === "working") {
      watched.waiting = undefined
      this.wait(watched)
      return
    }
    if (state === "gone" && isLate) {
      lost.push([watched, new Error(GONE)])
      return
    }
    const before = watched.waiting
    if (state === "waiting" && (before === undefined || before.mark !== mark)) watched.waiting = { mark, at: now }
    else if (state === "waiting" && isLate && now - before!.at >= APART) {
      lost.push([watched, new Error(WAITING)])
      return
    }
    this.confirmAt = now + APART
    watched.askAt = 0
  }

  /** The server is not asked about it for a while, each time for longer. */
  private wait(watched: Watched<Conn>): void {
    watched.pause = Math.min(LONGEST_PAUSE, Math.max(PAUSE, 2 * watched.pause))
    watched.askAt = this.timers.now() + watched.pause
  }

  /** Another server has taken the place of the one that the connection is on: see `SUCCESSION`. */
  private isSucceeded({ connection, elsewhere, quiet }: Watched<Conn>): boolean {
    const server = this.silence.server(connection)
    const now = this.timers.now()
    let heardAt = -Infinity
    for (const other of this.connections) {
      if (this.silence.server(other.connection) === server) heardAt = Math.max(heardAt, other.awaiting.answeredAt)
    }
    return elsewhere >= ANSWERS && quiet >= SUCCESSION && now - heardAt >= SUCCESSION
  }
}

const GONE = "Connection terminated: the server does not know the session any more, and has not said so here"
const WAITING =
  "Connection terminated: the server has done its work and waits for the client, and its answer does not arrive: something on the way has dropped the connection"
const UNREACHABLE =
  "Connection terminated: nothing comes from the server any more, and no new connection to it is answered. Another one can execute the statement"
const SUCCEEDED =
  "Connection terminated: another server answers at this address, and the one that had the statement is silent"

const lateness = ({ roundTrip }: Driver.Awaiting): number => (roundTrip > FAR ? 2 * LATE : LATE)

/** It has had no byte since it was asked about. */
const isStill = <Conn>({ operation, received, watched }: Suspect<Conn>): boolean =>
  watched.awaiting.operation === operation && watched.awaiting.received === received

/** The server has refused the question, or the connection. */
const isAnswer = (error: SqlError): boolean => {
  const { _tag, connection } = SqlReason.of(error)
  return connection === "keep" || _tag === "TooManyConnections" || _tag === "AuthenticationFailed"
}

const tooLate = (): SqlError =>
  SqlReason.toError(
    SqlReason.make("ConnectFailed", { connection: "none", retry: "always" }),
    "the server was asked about a silent statement, and has not answered in time"
  )

/** What `make` takes. */
export interface Options<Conn> {
  readonly driver: Driver.Driver<any, Conn>
  /** Opens a connection of the pool. */
  readonly connect: Silence<Conn>["connect"]
  readonly control: Control<Conn>
  readonly timers: Timers["Type"]
  /** Sends those who wait for a connection to another host. False: there is none that can do the same. */
  readonly leave: () => boolean
}

export const make = Effect.fnUntraced(function* <Conn>({
  connect,
  control,
  driver,
  leave,
  timers
}: Options<Conn>): Effect.fn.Return<Silence<Conn>, never, Scope.Scope> {
  if (driver.silence === undefined) return { connect, isSilent: () => false, heardAt: () => -Infinity }
  const watch = new Watch(driver.silence, control, timers, yield* Fork.make, leave)
  const outer = yield* Effect.scope
  yield* Scope.addFinalizer(
    outer,
    Effect.sync(() => watch.stop())
  )
  return {
    connect: (signals) =>
      Effect.flatMap(connect(signals), (connection) =>
        Effect.scopeWith((scope) => {
          const watched = watch.add(connection, signals)
          const remove = Effect.sync(() => watch.remove(watched))
          return Effect.as(Scope.addFinalizer(scope, remove), connection)
        })
      ),
    isSilent: () => watch.isSilent,
    heardAt: () => watch.lastHeardAt
  }
})
