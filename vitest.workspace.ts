import { defineWorkspace } from "vitest/config"

export default defineWorkspace([
  {
    test: {
      name: "unit",
      include: ["packages/*/test/**/*.test.ts", "test/unit/**/*.test.ts"],
      exclude: ["**/node_modules/**", "**/*.integration.test.ts"],
      // Long, because a bound of time is no test: machines are busy.
      testTimeout: 60_000
    }
  },
  {
    test: {
      name: "integration",
      globalSetup: ["./test/support/systemParts.ts"],
      include: [
        "packages/*/test/**/*.integration.test.ts",
        "packages/examples/*/test/**/*.test.ts",
        "test/{contract,fault,flow,soak}/**/*.test.ts"
      ],
      exclude: ["**/node_modules/**"],
      testTimeout: 60_000,
      hookTimeout: 120_000
    }
  }
])
