const [file, start, workload, callers, url, seconds, conns] = process.argv.slice(2)
const m: any = await import(`./pg/${file}.ts`)
const s = await m[start!]({ url, connections: Number(conns ?? 10), callers: Number(callers), workload })
let calls = 1
const end = performance.now() + Number(seconds) * 1000
const rows: any[] = []
let next = performance.now() + 1000, ops = 0, cpu = process.cpuUsage(), t = performance.now(), last: any
while (performance.now() < end) {
  const a = performance.now()
  last = await s.run(calls)
  ops += calls * Number(callers)
  const ms = performance.now() - a
  calls = Math.max(1, Math.min(calls * 10, Math.round(calls * 250 / ms)))
  if (performance.now() > next) {
    const c = process.cpuUsage(cpu), w = performance.now() - t
    console.log(`${(ops / w * 1000).toFixed(0)} op/s, ${((c.user) / ops).toFixed(1)} user ${((c.system) / ops).toFixed(1)} sys us/op p50 ${last?.p50?.toFixed(0)} p99 ${last?.p99?.toFixed(0)}`)
    ops = 0; cpu = process.cpuUsage(); t = performance.now(); next = t + 1000
  }
}
await s.close?.()
process.exit(0)
