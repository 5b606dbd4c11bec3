/** The projects that `vitest run` knows: which files each one takes, and what it does before and around them. */
import type { TestProjectConfiguration } from "vitest/config"

const unit = ["packages/*/test/**/*.test.ts", "test/unit/**/*.test.ts"]

const integration = [
  "packages/*/test/**/*.integration.test.ts",
  "packages/examples/*/test/**/*.test.ts",
  "test/{contract,fault,flow,packages}/**/*.test.ts"
]

/** Tests that measure time or want the whole machine: they run one file after the other, after all other tests. */
const alone = [
  "packages/examples/payments/test/main.test.ts",
  "test/fault/{restart,scoreboard}.test.ts",
  "test/soak/**/*.test.ts"
]

const every = {
  setupFiles: ["./test/support/itAnew.ts"],
  // A safety net for a test that hangs, not a statement about speed: machines are busy.
  testTimeout: 60_000,
  hookTimeout: 120_000
}

const databases = { ...every, globalSetup: ["./test/support/systemParts.ts"] }

export default [
  { test: { ...every, name: "unit", include: unit, exclude: ["**/node_modules/**", ...integration] } },
  { test: { ...databases, name: "integration", include: integration, exclude: ["**/node_modules/**", ...alone] } },
  {
    test: {
      ...databases,
      name: "alone",
      include: alone,
      exclude: ["**/node_modules/**"],
      sequence: { groupOrder: 1 },
      poolOptions: { forks: { singleFork: true } }
    }
  }
] satisfies ReadonlyArray<TestProjectConfiguration>
