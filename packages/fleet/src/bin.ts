#!/usr/bin/env node
import { version } from "./internal/version.js"

const args = process.argv.slice(2)

// Answered before anything else is loaded: scripts ask for it, and the rest takes half a second on a small machine.
if (args.length === 1 && args[0] === "--version") process.stdout.write(`${version()}\n`)
else await import("./internal/main.js")
