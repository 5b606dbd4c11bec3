/** Settings of the runner as a whole. Vitest reads them from no other file; the projects are in vitest.workspace.ts. */
import { defineConfig } from "vitest/config"
import projects from "./vitest.workspace.js"

export default defineConfig({
  test: {
    // Given by name: when Vitest finds the workspace file by itself, it prints that such files are deprecated.
    projects,
    pool: "forks",
    poolOptions: {
      forks: {
        // More processes than cores, because most of the time a test waits.
        minForks: 4,
        maxForks: 4,
        // Files share a process: importing Effect takes a second, and nothing of ours may outlive its scope anyway.
        isolate: false
      }
    }
  }
})
