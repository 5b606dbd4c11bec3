const [file, start, workload, url] = process.argv.slice(2)
const { createRequire } = await import("node:module")
const req = createRequire(import.meta.url)
const { dirname, join } = await import("node:path")
const base = dirname(req.resolve("effect/package.json"))
const FR: any = await import(join(base, "dist/esm/internal/fiberRuntime.js"))
const counts = new Map<string, number>()
const P = FR.FiberRuntime.prototype
for (const k of Object.getOwnPropertyNames(P)) {
  if (["constructor"].includes(k)) continue
  const d = Object.getOwnPropertyDescriptor(P, k)!
  if (typeof d.value !== "function") continue
  const f = d.value
  P[k] = function (this: any, ...a: any[]) { counts.set(k, (counts.get(k) ?? 0) + 1); return f.apply(this, a) }
}
const m: any = await import(`./pg/${file}.ts`)
const s = await m[start!]({ url, connections: 10, callers: 1, workload })
await s.run(20)
counts.clear()
await s.run(200)
for (const [k, v] of [...counts].sort((a, b) => b[1] - a[1])) if (v > 100) console.log((v / 200).toFixed(1).padStart(8), k)
process.exit(0)
