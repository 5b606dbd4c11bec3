import { defineConfig } from "vitest/config"

const unit = ["packages/*/test/**/*.test.ts", "test/unit/**/*.test.ts"]

const integration = [
  "packages/*/test/**/*.integration.test.ts",
  "packages/examples/*/test/**/*.test.ts",
  "test/{contract,flow}/**/*.test.ts"
]

/** What measures time, or wants the whole machine: one after the other, with nothing beside it. */
const alone = ["packages/examples/*/test/main.test.ts", "test/{fault,soak}/**/*.test.ts"]

const every = {
  setupFiles: ["./test/support/itAnew.ts"],
  // Long, because a bound of time is no test: machines are busy.
  testTimeout: 60_000,
  hookTimeout: 120_000
}

const databases = { ...every, globalSetup: ["./test/support/systemParts.ts"] }

export default defineConfig({
  test: {
    pool: "forks",
    // Two, also where there are two cores: a test mostly waits. Files share a process, because the import of Effect takes a
    // second, and because nothing of ours may outlive its scope.
    poolOptions: { forks: { minForks: 2, maxForks: 2, isolate: false } },
    projects: [
      { test: { ...every, name: "unit", include: unit, exclude: ["**/node_modules/**", ...integration] } },
      {
        test: { ...databases, name: "integration", include: integration, exclude: ["**/node_modules/**", ...alone] }
      },
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
    ]
  }
})
