/** Clients that come as they please, whatever becomes of those before them, and leave after their deadline. */
import { Agent, request } from "node:http"
import { deadlineMillis, settleMillis, spellMillis } from "./settings.js"

/** Of the requests that came after the queue had filled. */
export interface Counts {
  /** Milliseconds of each that was answered with 200 in time. */
  readonly took: ReadonlyArray<number>
  /** Answered in time with something else. */
  readonly refused: number
  /** Their clients have left. */
  readonly useless: number
  readonly millis: number
}

const [port, rate] = process.argv.slice(2).map(Number) as [number, number]
const agent = new Agent({ keepAlive: true, maxSockets: Infinity })

const spell = async (): Promise<Counts> => {
  const took: Array<number> = []
  let refused = 0
  let useless = 0
  let open = 0
  const beganAt = performance.now()
  const one = () => {
    const at = performance.now()
    const counts = at - beganAt >= settleMillis
    open++
    const sent = request({ agent, host: "127.0.0.1", port, path: "/" }, (response) => {
      response.resume()
      response.once("end", () => {
        if (!counts) return
        if (response.statusCode === 200) took.push(performance.now() - at)
        else refused++
      })
    })
    const late = setTimeout(() => {
      if (counts) useless++
      sent.destroy()
    }, deadlineMillis)
    sent.on("error", () => {})
    sent.once("close", () => {
      clearTimeout(late)
      open--
    })
    sent.end()
  }
  let due = 0
  // Each has a moment of its own, with pauses as chance gives them; what the loop was late for is sent at once.
  while (due < spellMillis) {
    const rest = beganAt + due - performance.now()
    if (rest > 1) await new Promise((resolve) => setTimeout(resolve, rest))
    one()
    due += (-Math.log(1 - Math.random()) * 1_000) / rate
  }
  while (open > 0) await new Promise((resolve) => setTimeout(resolve, 10))
  return { took, refused, useless, millis: spellMillis - settleMillis }
}

process.on("message", () => {
  spell().then((counts) => process.send!(counts))
})
process.on("disconnect", () => process.exit(0))
