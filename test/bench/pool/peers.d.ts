/** The part of pg-pool, which has no types of its own, that the benchmark uses. */
declare module "pg-pool" {
  import type { EventEmitter } from "node:events"

  interface Options {
    readonly max: number
    readonly min: number
  }

  export default class Pool<Client extends EventEmitter> extends EventEmitter {
    constructor(options: Options, client: new () => Client)
    connect(): Promise<Client & { readonly release: () => void }>
    connect(callback: (error: unknown, client: Client & { readonly release: () => void }) => void): void
    end(): Promise<void>
    readonly waitingCount: number
  }
}
