import type { SqlError } from "@effect/sql/SqlError"
import { Chunk, Effect, Exit, Mailbox, Option, Stream } from "effect"
import type { ListenEvent } from "../../Config.js"

/**
 * Events that are kept for a program that does not read them yet. A smaller number loses notifications in a short pause of the
 * program. With a larger one a program that never catches up uses more memory before it learns that.
 */
const BEHIND = 10_000

/**
 * One subscription. What the program has not read yet waits in a mailbox; what does not fit is counted, and the program is told in
 * its place.
 */
export class Listener {
  /** The server has confirmed a LISTEN for it, on this connection or on an earlier one. */
  heard = false
  private missed = 0

  private constructor(
    readonly channel: string,
    private readonly mailbox: Mailbox.Mailbox<ListenEvent, SqlError>
  ) {}

  static make(channel: string): Effect.Effect<Listener> {
    return Effect.map(
      Mailbox.make<ListenEvent, SqlError>({ capacity: BEHIND, strategy: "dropping" }),
      (mailbox) => new Listener(channel, mailbox)
    )
  }

  /** Gives false for the first event that does not fit: the program must be warned. */
  tell(event: ListenEvent): boolean {
    // Behind what was missed nothing may be read before the program knows of it.
    if (this.missed === 0 && this.mailbox.unsafeOffer(event)) return true
    return ++this.missed > 1
  }

  fail(error: SqlError): void {
    this.mailbox.unsafeDone(Exit.fail(error))
  }

  get events(): Stream.Stream<ListenEvent, SqlError> {
    return Stream.repeatEffectChunkOption(
      Effect.matchEffect(this.mailbox.takeAll, {
        onFailure: (error) => Effect.fail(Option.some(error)),
        onSuccess: ([events, isOver]) => {
          if (this.missed === 0) {
            return isOver && events.length === 0 ? Effect.fail(Option.none()) : Effect.succeed(events)
          }
          // All that was kept is older than what was missed.
          const overflowed: ListenEvent = { _tag: "Overflowed", channel: this.channel, missed: this.missed }
          this.missed = 0
          return Effect.succeed(Chunk.append(events, overflowed))
        }
      })
    )
  }
}
