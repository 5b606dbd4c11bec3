import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Command } from "./child.js"
import type { Sample } from "./subject.js"

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/**
 * A process that measures one subject. Each subject has its own, so that the object shapes and the garbage of one do
 * not slow the compiled code of another, whatever the order of the rounds.
 */
export class Measurer {
  private readonly child: ChildProcess
  private pending: { resolve: (value: any) => void; reject: (error: Error) => void } | undefined
  private ended: Error | undefined

  constructor() {
    const execArgv = ["--expose-gc", "--import", new URL("./plain.mjs", import.meta.url).href]
    this.child = fork(here("./child.ts"), [], { execArgv, stdio: ["ignore", "ignore", "inherit", "ipc"] })
    this.child.on("message", (message: { value?: unknown; error?: string }) => {
      const pending = this.pending
      this.pending = undefined
      if (message.error === undefined) pending?.resolve(message.value)
      else pending?.reject(new Error(message.error))
    })
    this.child.on("exit", (code, signal) => {
      this.ended = new Error(`its process ended (${signal ?? `exit code ${code}`})`)
      this.pending?.reject(this.ended)
      this.pending = undefined
    })
  }

  private ask<T>(command: Command, limitMillis: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.ended !== undefined) return reject(this.ended)
      const limit = setTimeout(() => {
        this.pending = undefined
        this.kill()
        reject(new Error(`"${command.type}" took longer than ${limitMillis / 1000} s`))
      }, limitMillis)
      this.pending = {
        resolve: (value) => {
          clearTimeout(limit)
          resolve(value)
        },
        reject: (error) => {
          clearTimeout(limit)
          reject(error)
        }
      }
      this.child.send(command)
    })
  }

  start(module: string, start: string, settings: unknown, limitMillis: number): Promise<void> {
    return this.ask({ type: "start", module, start, settings }, limitMillis)
  }

  warm(warmMillis: number, roundMillis: number, opsPerCall: number, limitMillis: number): Promise<void> {
    return this.ask({ type: "warm", warmMillis, roundMillis, opsPerCall }, limitMillis)
  }

  profile(file: string, limitMillis: number): Promise<void> {
    return this.ask({ type: "profile", file }, limitMillis)
  }

  round(limitMillis: number): Promise<Sample> {
    return this.ask({ type: "round" }, limitMillis)
  }

  async close(): Promise<void> {
    await this.ask({ type: "close" }, 10_000).catch(() => undefined)
    if (this.ended !== undefined) return
    await new Promise<void>((resolve) => {
      const limit = setTimeout(() => this.kill(), 5_000)
      this.child.once("exit", () => {
        clearTimeout(limit)
        resolve()
      })
    })
  }

  kill(): void {
    this.child.kill("SIGKILL")
  }
}
