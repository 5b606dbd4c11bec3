/** The measuring process: starts one subject, warms it up and runs a round whenever the parent says so. */
import { writeFileSync } from "node:fs"
import { Session } from "node:inspector/promises"
import type { Metrics, Sample, Start, Subject } from "./subject.js"

export type Command =
  | { readonly type: "start"; readonly module: string; readonly start: string; readonly settings: unknown }
  | { readonly type: "warm"; readonly warmMillis: number; readonly roundMillis: number; readonly opsPerCall: number }
  | { readonly type: "profile"; readonly file: string }
  | { readonly type: "round" }
  | { readonly type: "close" }

let subject: Subject
let calls = 1
let opsPerCall = 1

const measure = async (): Promise<Sample> => {
  // No garbage collection before a round: a full one takes the shapes of objects that have no instance at that moment,
  // and with them the compiled code that knows them. Effect's loops then cost a third more until they are compiled
  // again, loops over long-lived objects do not: the ratio would be wrong.
  const cpuBefore = process.cpuUsage()
  const before = process.hrtime.bigint()
  const metrics: Metrics | void = await subject.run(calls)
  const wall = Number(process.hrtime.bigint() - before)
  const cpu = process.cpuUsage(cpuBefore)
  const ops = calls * opsPerCall
  return {
    wall: metrics?.["wall"] ?? wall / ops,
    cpu: metrics?.["cpu"] ?? ((cpu.user + cpu.system) * 1000) / ops,
    calls,
    metrics: metrics ?? {}
  }
}

/**
 * Runs more and more calls until `warmMillis` of work have been done, then fixes the calls of a round. Work is CPU time
 * where that is less than what the clock says: on a busy machine, or with a server, most of the time is waiting, and
 * waiting compiles nothing. A subject that does nothing but wait is done after three times as long.
 */
const warm = async (warmMillis: number, roundMillis: number): Promise<void> => {
  let spent = 0
  let waited = 0
  for (;;) {
    const { cpu, wall } = await measure()
    const millis = (wall * calls * opsPerCall) / 1e6
    waited += millis
    spent += Math.min(millis, (cpu * calls * opsPerCall) / 1e6)
    const next = Math.max(1, Math.round((calls * roundMillis) / Math.max(millis, 0.001)))
    // Early rounds are slow, because they are interpreted: grow in steps, so that one of them does not decide alone.
    calls = Math.min(next, calls * 10)
    if ((spent >= warmMillis || waited >= 3 * warmMillis) && next <= calls * 2) return
  }
}

let writeProfile: (() => Promise<void>) | undefined

/** Profiles from here to the end: rounds, not the start and the warm-up. */
const profile = async (file: string): Promise<void> => {
  const session = new Session()
  session.connect()
  await session.post("Profiler.enable")
  await session.post("Profiler.start")
  writeProfile = async () => {
    const { profile } = await session.post("Profiler.stop")
    writeFileSync(file, JSON.stringify(profile))
  }
}

const answer = async (command: Command): Promise<unknown> => {
  switch (command.type) {
    case "start": {
      let start: any = await import(command.module)
      for (const part of command.start.split(".")) start = start?.[part]
      if (start === undefined) throw new Error(`the subject's module has no export "${command.start}"`)
      subject = await (start as Start)(command.settings)
      return undefined
    }
    case "warm":
      opsPerCall = command.opsPerCall
      return await warm(command.warmMillis, command.roundMillis)
    case "profile":
      return await profile(command.file)
    case "round":
      return await measure()
    case "close":
      await writeProfile?.()
      return await subject.close?.()
  }
}

process.on("message", (command: Command) => {
  answer(command).then(
    (value) => {
      // What a pool still keeps alive (timers, sockets) must not keep this process.
      process.send!({ value }, () => command.type === "close" && process.exit(0))
    },
    (error) => process.send!({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  )
})
process.on("disconnect", () => process.exit(0))
