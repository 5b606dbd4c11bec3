/**
 * Tells when a *transport* has ended: the socket of an HTTP/1 request, or the stream of an HTTP/2 one. What that means for a request is
 * decided in `ClientGone.ts`.
 */

/** The part of a transport that is looked at. */
export interface Transport {
  readonly destroyed: boolean
  readonly once: (event: "close", listener: () => void) => unknown
}

/** Those that want to know it, by transport. One listener for all, because Node warns of more than ten, and a client may send more requests at once. */
const watching = new WeakMap<Transport, Set<() => void>>()

/** Calls `gone` once when the transport ends, at once if it has ended. What it gives ends that. */
export const watch = (transport: Transport, gone: () => void): (() => void) => {
  if (transport.destroyed) {
    gone()
    return () => {}
  }
  const others = watching.get(transport)
  const all = others ?? new Set()
  all.add(gone)
  if (others === undefined) {
    watching.set(transport, all)
    transport.once("close", () => {
      for (const one of all) one()
    })
  }
  return () => {
    all.delete(gone)
  }
}

/** The socket of a request of Node's HTTP/1 server; `undefined` for any other request. */
export const socketOf = (source: unknown): Transport | undefined => {
  const { httpVersionMajor, socket } = (source ?? {}) as { httpVersionMajor?: unknown; socket?: unknown }
  return httpVersionMajor === 1 && isTransport(socket) ? socket : undefined
}

const isTransport = (u: unknown): u is Transport =>
  typeof u === "object" && u !== null && "once" in u && "destroyed" in u
