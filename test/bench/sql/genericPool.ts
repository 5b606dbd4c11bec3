import { createPool } from "generic-pool"
import { bracketed, promiseSubject, type Run } from "./promises.js"

export interface Driver<Client> {
  readonly connect: (url: string) => Promise<Client>
  readonly end: (client: Client) => Promise<void>
  readonly run: (client: Client) => Run
  readonly command: (client: Client, text: string) => PromiseLike<unknown>
}

/** generic-pool with the connections of any driver. */
export const genericPool = <Client>({ command, connect, end, run }: Driver<Client>) =>
  promiseSubject(({ connections, url }) => {
    const pool = createPool<Client>(
      { create: () => connect(url), destroy: end },
      { max: connections, min: connections }
    )
    return {
      run: (step, args) => pool.use((client) => run(client)(step, args) as Promise<any>),
      pinned: (body) => pool.use((client) => body(run(client))),
      transaction: (body) =>
        pool.use((client) =>
          bracketed(
            (text) => command(client, text),
            () => body(run(client))
          )
        ),
      close: async () => {
        await pool.drain()
        await pool.clear()
      }
    }
  })
