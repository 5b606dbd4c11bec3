/** Deployments, StatefulSets and HorizontalPodAutoscalers. */
import { Either } from "effect"
import type { BadFile } from "../../PlanError.js"
import type { Service } from "../../PlanInput.js"
import { isStuck, STUCK } from "../../PlanInput.js"
import { Cursor, type Read, share, whole } from "./cursor.js"
import { CONCURRENCY, concurrency, type Draft, type Drafts, defined, labelled, noClientOf, note } from "./draft.js"
import type { Said } from "./yaml.js"

/** What runs pods in a way that is not planned. */
const uncounted = [
  "DaemonSet",
  "CronJob",
  "Job",
  "ReplicaSet",
  "ReplicationController",
  "Pod",
  "ScaledObject",
  "Rollout"
]

export const isKubernetes = ({ value }: Said): boolean =>
  typeof value === "object" && value !== null && "apiVersion" in value && "kind" in value

/** Each object of the documents: those of a `List` one by one. */
const objectsOf = (saids: ReadonlyArray<Said>): ReadonlyArray<Cursor> =>
  saids.map(Cursor.of).flatMap((object) => (object.get("kind").text === "List" ? object.get("items").items : [object]))

const kindOf = (object: Cursor): string => object.get("kind").text ?? ""
const nameOf = (object: Cursor): string => object.get("metadata", "name").text ?? "unnamed"
const titled = (kind = "", name = ""): string => `${kind} "${name}"`
const titleOf = (object: Cursor): string => titled(kindOf(object), nameOf(object))

/** What distinguishes an object from all others. */
const identityOf = (object: Cursor): string =>
  [kindOf(object), object.get("metadata", "namespace").text ?? "", nameOf(object)].join("/")

/** For a second object of one name: in another namespace, or of another kind. */
const qualified = (object: Cursor): string =>
  [object.get("metadata", "namespace").text ?? kindOf(object), nameOf(object)].join("/")

interface Scaler {
  readonly at: Cursor
  readonly most: number
}

const scalerOf = (object: Cursor): Read<Scaler> =>
  Either.gen(function* () {
    const spec = object.get("spec")
    const at = spec.get("maxReplicas")
    const most = yield* whole(at, 1, 100_000)
    if (most === undefined) return yield* Either.left(at.bad(`${titleOf(object)}: maxReplicas is missing`))
    const least = yield* whole(spec.get("minReplicas"), 0, 100_000)
    if (least !== undefined && least > most) {
      return yield* Either.left(at.bad(`${titleOf(object)}: maxReplicas ${most} is below minReplicas ${least}`))
    }
    return { at, most }
  })

/** The default of Kubernetes: to write it says nothing about the time that a pod takes to end. */
const DEFAULT_GRACE = 30

/** All old pods may still be there when all new ones are ready, if one may take longer to end than a new one to be ready. */
const terminating = (object: Cursor): Read<"full" | undefined> =>
  Either.gen(function* () {
    const pod = object.get("spec", "template", "spec")
    const grace = yield* whole(pod.get("terminationGracePeriodSeconds"), 0, 1_000_000)
    if (grace === undefined || grace <= DEFAULT_GRACE) return undefined
    const settled = (yield* whole(object.get("spec", "minReadySeconds"), 0, 1_000_000)) ?? 0
    const delays: Array<number> = []
    for (const container of pod.get("containers").items) {
      delays.push((yield* whole(container.get("readinessProbe", "initialDelaySeconds"), 0, 1_000_000)) ?? 0)
    }
    return grace > settled + Math.max(0, ...delays) ? "full" : undefined
  })

const rollout = (object: Cursor): Read<Partial<Service>> =>
  Either.gen(function* () {
    if (kindOf(object) === "StatefulSet") return { strategy: "recreate" }
    const strategy = object.get("spec", "strategy")
    const type = strategy.get("type").value ?? "RollingUpdate"
    if (type === "Recreate") return { strategy: "recreate" }
    if (type !== "RollingUpdate") return yield* strategy.get("type").refuse("RollingUpdate or Recreate")
    const rolling = strategy.get("rollingUpdate")
    const surge = yield* share(rolling.get("maxSurge"))
    const unavailable = yield* share(rolling.get("maxUnavailable"))
    const shares = defined({ surge, unavailable })
    if (isStuck(shares)) return yield* Either.left(rolling.bad(`maxSurge and maxUnavailable are both 0: ${STUCK}`))
    return { strategy: "rolling", ...shares, ...defined({ terminating: yield* terminating(object) }) }
  })

const processesOf = (object: Cursor): number | undefined => {
  const containers = object.get("spec", "template", "spec", "containers").items
  const variables = containers.flatMap((container) => container.get("env").items)
  return concurrency(variables.find((one) => one.get("name").value === CONCURRENCY)?.get("value").text)
}

const workload = (object: Cursor, scaler: Scaler | undefined): Read<Draft> =>
  Either.gen(function* () {
    const at = object.get("spec", "replicas")
    const replicas = yield* whole(at, 0, 100_000)
    if (scaler !== undefined && replicas !== undefined && scaler.most < replicas) {
      const { file, line } = at.source
      const problem = `maxReplicas ${scaler.most} is below the ${replicas} replicas of ${titleOf(object)} (${file}:${line})`
      return yield* Either.left(scaler.at.bad(problem))
    }
    const annotations = ["metadata", "annotations"] as const
    const annotated = yield* labelled((name) => {
      const own = object.get(...annotations, name)
      return own.isAbsent ? object.get("spec", "template", ...annotations, name) : own
    })
    const image = object.get("spec", "template", "spec", "containers", 0, "image").text
    return {
      service: {
        name: nameOf(object),
        pods: scaler?.most ?? replicas ?? 1,
        ...(yield* rollout(object)),
        ...defined({ processes: processesOf(object) }),
        ...annotated
      },
      source: object.get("metadata", "name").source,
      noClient: noClientOf(image)
    }
  })

const isWorkload = (object: Cursor): boolean => /^(?:Deployment|StatefulSet)$/.test(kindOf(object))

/** A file in which no object can be planned is the wrong one, unless it has the autoscaler of another file. */
const useless = (objects: ReadonlyArray<Cursor>): BadFile | undefined => {
  const isUseful = (object: Cursor) => isWorkload(object) || kindOf(object) === "HorizontalPodAutoscaler"
  const useful = new Set(objects.filter(isUseful).map((object) => object.source.file))
  const first = objects.find((object) => !useful.has(object.source.file))
  if (first === undefined) return undefined
  const own = objects.filter((object) => object.source.file === first.source.file)
  const kinds = [...new Set(own.map(kindOf))].join(", ")
  return first.bad(`there is no Deployment, StatefulSet or HorizontalPodAutoscaler, but ${kinds}`)
}

export const kubernetes = (saids: ReadonlyArray<Said>): Read<Drafts> =>
  Either.gen(function* () {
    const objects = objectsOf(saids)
    const wrong = useless(objects)
    if (wrong !== undefined) return yield* Either.left(wrong)
    const scalers = new Map<string, Scaler>()
    for (const object of objects.filter((one) => kindOf(one) === "HorizontalPodAutoscaler")) {
      const target = object.get("spec", "scaleTargetRef")
      scalers.set(titled(target.get("kind").text, target.get("name").text), yield* scalerOf(object))
    }
    const drafts: Array<Draft> = []
    const seen = new Map<string, Cursor>()
    const names = new Set<string>()
    for (const object of objects.filter(isWorkload)) {
      const draft = yield* workload(object, scalers.get(titleOf(object)))
      const same = seen.get(identityOf(object))?.get("metadata", "name").source
      if (same !== undefined) {
        const problem = `${titleOf(object)} is there already: ${same.file}:${same.line}`
        return yield* Either.left(object.get("metadata", "name").bad(problem))
      }
      seen.set(identityOf(object), object)
      const name = names.has(draft.service.name) ? qualified(object) : draft.service.name
      names.add(name)
      drafts.push({ ...draft, service: { ...draft.service, name } })
    }
    const left = objects.filter((object) => uncounted.includes(kindOf(object)))
    return {
      drafts,
      notes: left.map((object) =>
        note(
          `${titleOf(object)} is not counted: if it uses the database, add its connections to "others"`,
          object.source
        )
      )
    }
  })
