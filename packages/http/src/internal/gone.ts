/**
 * Whether the client of an HTTP/1 request has hung up, told by its socket.
 *
 * A server of Node tells it by the event `close` of the response, but only of the response that is sent at the moment. A client may send
 * several requests at once (pipelining): their handlers run beside each other, and when it hangs up, nothing is told about those
 * whose response has yet to come. `request.destroyed` says nothing: it is true as soon as the body was read.
 */

/** The part of a socket that is looked at. */
export interface Socket {
  readonly destroyed: boolean
  readonly once: (event: "close", listener: () => void) => unknown
}

/** Those that want to know it, by socket. One listener for all, because Node warns of more than ten. */
const watching = new WeakMap<Socket, Set<() => void>>()

/** Calls `gone` once when the socket closes, at once if it is closed. What it gives ends that. */
export const watch = (socket: Socket, gone: () => void): (() => void) => {
  if (socket.destroyed) {
    gone()
    return () => {}
  }
  const others = watching.get(socket)
  const all = others ?? new Set()
  all.add(gone)
  if (others === undefined) {
    watching.set(socket, all)
    socket.once("close", () => {
      for (const one of all) one()
    })
  }
  return () => {
    all.delete(gone)
  }
}

/** The socket of a request of Node's HTTP/1 server; `undefined` for any other request. */
export const socketOf = (source: unknown): Socket | undefined => {
  const { httpVersionMajor, socket } = (source ?? {}) as { httpVersionMajor?: unknown; socket?: unknown }
  return httpVersionMajor === 1 && isSocket(socket) ? socket : undefined
}

const isSocket = (u: unknown): u is Socket => typeof u === "object" && u !== null && "once" in u && "destroyed" in u
