/** The manifest in `docs` is about the routes that there are. */
import { readFileSync } from "node:fs"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import { assert, describe, it } from "@effect/vitest"
import { Health } from "@sluice/http"
import { Sql } from "@sluice/sql"
import { Effect, Layer } from "effect"
import { parse } from "yaml"

const manifest = parse(readFileSync(new URL("../docs/kubernetes.yaml", import.meta.url), "utf8"))

const { containers, terminationGracePeriodSeconds } = manifest.spec.template.spec

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string }
}

const probes: Readonly<Record<string, Probe>> = {
  startup: containers[0].startupProbe,
  liveness: containers[0].livenessProbe,
  readiness: containers[0].readinessProbe
}

/** A database that is down. */
const down = Layer.succeed(Sql.Sql, {
  health: Effect.succeed({ isReady: false, reason: "the primary does not answer" })
} as unknown as Sql.Service)

describe("the manifest for Kubernetes", () => {
  const app = HttpRouter.empty.pipe(HttpRouter.mount("/health", Health.router))

  const statusOf = ({ httpGet }: Probe) =>
    Effect.acquireUseRelease(
      Effect.sync(() => HttpApp.toWebHandlerLayer(app as never, down as never)),
      ({ handler }) => Effect.promise(() => handler(new Request(`http://pod${httpGet.path}`))),
      ({ dispose }) => Effect.promise(dispose)
    ).pipe(Effect.map(({ status }) => status))

  it.effect("has probes that restart no pod when the database is down, and send it no requests", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Effect.all([probes["startup"]!, probes["liveness"]!].map(statusOf)), [200, 200])
      assert.strictEqual(yield* statusOf(probes["readiness"]!), 503)
    })
  )

  it("asks a port that the container has", () => {
    const ports = containers[0].ports.map(({ name }: { readonly name: string }) => name)
    for (const { httpGet } of Object.values(probes)) assert.include(ports, httpGet.port)
  })

  it("gives a pod more time to end than its pool takes to drain", () => {
    assert.isAbove(terminationGracePeriodSeconds, 10 + containers[0].lifecycle.preStop.sleep.seconds)
  })
})
