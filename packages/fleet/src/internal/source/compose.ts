/** Compose files: the services of one, with the `deploy` of each. */
import { Either } from "effect"
import type { Service } from "../../PlanInput.js"
import { Cursor, type Read, whole } from "./cursor.js"
import { CONCURRENCY, concurrency, type Draft, type Drafts, defined, labelled, noClientOf } from "./draft.js"
import type { Said } from "./yaml.js"

export const isCompose = ({ value }: Said): boolean =>
  typeof value === "object" && value !== null && "services" in value

/** `key: value` and `- key=value` are two ways to say the same. */
const named = (at: Cursor, name: string): Cursor => {
  const listed = at.items.find((item) => item.text?.startsWith(`${name}=`) === true)
  return listed === undefined ? at.get(name) : listed
}

const textOf = (at: Cursor, name: string): string | undefined => {
  const found = named(at, name)
  return found.text?.startsWith(`${name}=`) === true ? found.text.slice(name.length + 1) : found.text
}

/** A number that is filled in when the file is used. */
const isOpen = (at: Cursor): boolean => typeof at.value === "string" && at.value.includes("${")

const replicasOf = (service: Cursor): Read<Pick<Draft, "unknownPods"> & { readonly pods?: number }> => {
  const mode = service.get("deploy", "mode").text
  if (mode === "global") {
    return Either.right({
      unknownPods: 'its mode is global, so there are as many as machines: say how many with "pods"'
    })
  }
  const deployed = service.get("deploy", "replicas")
  const at = deployed.isAbsent ? service.get("scale") : deployed
  if (isOpen(at)) {
    return Either.right({
      unknownPods: `${at.name} is ${JSON.stringify(at.value)}: fill it in first, for example by docker compose config`
    })
  }
  return Either.map(whole(at, 0, 100_000), (pods = 1) => ({ pods }))
}

/** Old ones are stopped first unless `order` says otherwise. */
const rollout = (service: Cursor): Read<Partial<Service>> =>
  Either.gen(function* () {
    const update = service.get("deploy", "update_config")
    const order = update.get("order")
    const parallelism = (yield* whole(update.get("parallelism"), 0, 100_000)) ?? 1
    if (order.isAbsent || order.value === "stop-first") return { strategy: "recreate" }
    if (order.value !== "start-first") return yield* order.refuse("start-first or stop-first")
    // 0 updates all at once.
    return { strategy: "rolling", surge: parallelism === 0 ? "100%" : parallelism, unavailable: 0 }
  })

const draftOf = (name: string, service: Cursor): Read<Draft> =>
  Either.gen(function* () {
    const { pods, unknownPods } = yield* replicasOf(service)
    const labels = service.get("labels")
    const list = labels.items.length > 0
    const annotated = yield* labelled((label) => (list ? Cursor.of(labelAt(labels, label)) : labels.get(label)))
    const processes = concurrency(textOf(service.get("environment"), CONCURRENCY))
    return {
      service: { name, ...defined({ pods, processes }), ...(yield* rollout(service)), ...annotated },
      source: service.source,
      unknownPods,
      noClient: noClientOf(service.get("image").text)
    }
  })

/** The value of a label in a list, at the line of the label. */
const labelAt = (labels: Cursor, label: string): Said => {
  const { file, line } = named(labels, label).source
  return { file, value: textOf(labels, label), lineOf: () => line }
}

/** A later file overrides what an earlier one says of a service, as with `docker compose -f … -f …`. */
export const compose = (saids: ReadonlyArray<Said>): Read<Drafts> =>
  Either.gen(function* () {
    const drafts = new Map<string, Draft>()
    for (const said of saids) {
      const services = Cursor.of(said).get("services")
      if (services.entries.length === 0) return yield* services.refuse("an object with the services")
      for (const [name, service] of services.entries) {
        const draft = yield* draftOf(name, service)
        const first = drafts.get(name)
        drafts.set(
          name,
          first === undefined ? draft : { ...first, service: { ...first.service, ...overrides(service, draft) } }
        )
      }
    }
    return { drafts: [...drafts.values()], notes: [] }
  })

/** Only what the later file says itself, not the defaults of what it leaves out. */
const overrides = (
  at: Cursor,
  { service: { pods, strategy, surge, unavailable, ...rest } }: Draft
): Partial<Service> => ({
  ...rest,
  ...(at.get("deploy", "replicas").isAbsent && at.get("scale").isAbsent ? {} : defined({ pods })),
  ...(at.get("deploy", "update_config").isAbsent ? {} : defined({ strategy, surge, unavailable }))
})
