/**
 * A rollout, pod by pod: every order in which pods can become ready and end is tried. It shares no code with the planner: the
 * controller below does what a Deployment's controller is documented to do, one action at a time.
 */

/** Pods of each kind: old ones that serve, old ones that end, new ones that are not ready, new ones that are. */
interface Moment {
  readonly serving: number
  readonly ending: number
  readonly starting: number
  readonly ready: number
}

export interface Rules {
  readonly pods: number
  readonly surge: number | `${number}%`
  readonly unavailable: number | `${number}%`
  readonly ends: "before its successor starts" | "before the next is ready" | "before the next are ready" | "whenever"
}

const resolve = (share: number | `${number}%`, pods: number, round: "up" | "down"): number => {
  if (typeof share === "number") return share
  const percent = Number(share.slice(0, -1))
  let whole = 0
  while ((whole + 1) * 100 <= percent * pods) whole++
  return round === "up" && whole * 100 < percent * pods ? whole + 1 : whole
}

/** The most pods that have connections at once, at any moment of any course of the rollout. */
export const mostPods = ({ ends, pods, ...shares }: Rules): number => {
  const surge = resolve(shares.surge, pods, "up")
  const rounded = resolve(shares.unavailable, pods, "down")
  const unavailable = surge === 0 && rounded === 0 ? 1 : Math.min(rounded, pods)
  const seen = new Set<string>()
  const todo: Array<Moment> = [{ serving: pods, ending: 0, starting: 0, ready: 0 }]
  let most = 0

  /** Everything the controller does until it has to wait for a pod, each action of it a moment. */
  const settled = (start: Moment): ReadonlyArray<Moment> => {
    const course = [start]
    for (;;) {
      const now = course.at(-1)!
      const total = now.serving + now.starting + now.ready
      if (total < pods + surge && now.starting + now.ready < pods) {
        course.push({ ...now, starting: now.starting + 1 })
        continue
      }
      const spare = now.serving + now.ready - (pods - unavailable)
      if (spare > 0 && now.serving > 0) {
        // A pod that closes its connections before its successor starts is as good as gone.
        const ending = ends === "before its successor starts" ? now.ending : now.ending + 1
        course.push({ ...now, serving: now.serving - 1, ending })
        continue
      }
      return course
    }
  }

  /** What may happen next outside of the controller. */
  const next = (now: Moment): ReadonlyArray<Moment> => {
    const found: Array<Moment> = []
    if (now.ending > 0) found.push({ ...now, ending: now.ending - 1 })
    if (ends !== "whenever" && now.ending > 0) return found
    const atOnce = ends === "before the next is ready" ? Math.min(1, now.starting) : now.starting
    for (let n = 1; n <= atOnce; n++) found.push({ ...now, starting: now.starting - n, ready: now.ready + n })
    return found
  }

  for (;;) {
    const now = todo.pop()
    if (now === undefined) return most
    const key = `${now.serving} ${now.ending} ${now.starting} ${now.ready}`
    if (seen.has(key)) continue
    seen.add(key)
    const course = settled(now)
    for (const moment of course) most = Math.max(most, moment.serving + moment.ending + moment.starting + moment.ready)
    todo.push(...next(course.at(-1)!))
  }
}
