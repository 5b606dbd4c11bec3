import { startServer } from "./pg/server.js"
const s = await startServer()
console.log(JSON.stringify({ url: s.url, delayedUrl: s.delayedUrl }))
setInterval(() => {}, 1e6)
