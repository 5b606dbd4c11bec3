/** PM2's ecosystem files: each instance of an app is a process that is planned like a pod. */
import { Either } from "effect"
import type { Service } from "../../PlanInput.js"
import { Cursor, type Read, wholeText } from "./cursor.js"
import { type Draft, type Drafts, defined } from "./draft.js"
import type { Said } from "./yaml.js"

export const isPm2 = ({ value }: Said): boolean =>
  Array.isArray(value)
    ? value.some((app) => typeof app === "object" && app !== null && "script" in app)
    : typeof value === "object" && value !== null && ("apps" in value || "script" in value)

/** How many instances PM2 reloads at once, unless its environment says otherwise. */
const AT_ONCE = 2

const appsOf = (file: Cursor): ReadonlyArray<Cursor> => {
  if (file.items.length > 0) return file.items
  const apps = file.get("apps")
  if (apps.items.length > 0) return apps.items
  return apps.isAbsent ? [file] : [apps]
}

/** In cluster mode a reload starts an instance, and ends the old one when the new one is ready. In fork mode it is the other way. */
const rollout = (app: Cursor): Partial<Service> =>
  /^cluster(?:_mode)?$/.test(app.get("exec_mode").text ?? (app.get("instances").isAbsent ? "fork" : "cluster"))
    ? { strategy: "rolling", surge: AT_ONCE, unavailable: 0, terminating: "none" }
    : { strategy: "recreate" }

const draftOf = (app: Cursor): Read<Draft> =>
  Either.gen(function* () {
    const at = app.get("instances")
    // "max" and numbers below 1 count from the cores of the machine.
    const isByMachine = /^(?:max|0|-\d+)$/.test(at.text ?? "")
    const instances = isByMachine ? undefined : ((yield* wholeText(at, 1, 100_000)) ?? 1)
    const script = app.get("script").text ?? "app"
    const name =
      app.get("name").text ??
      script
        .split(/[\\/]/)
        .at(-1)!
        .replace(/\.[cm]?[jt]s$/, "")
    return {
      service: { name, ...defined({ pods: instances }), ...rollout(app) },
      source: app.source,
      unknownPods: isByMachine
        ? `instances is ${JSON.stringify(at.value)}, which depends on the machine: say how many with "pods"`
        : undefined
    }
  })

export const pm2 = (saids: ReadonlyArray<Said>): Read<Drafts> =>
  Either.map(Either.all(saids.map(Cursor.of).flatMap(appsOf).map(draftOf)), (drafts) => ({ drafts, notes: [] }))
