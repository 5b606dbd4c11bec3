import { Plan } from "@sluice/fleet"

const web = { name: "web", pods: 20, processes: 4 }
const database = { maxConnections: 500 }

console.log(Plan.plan({ database, services: [web] }).recommended)
// 4
const slower = { ...web, surge: 1, unavailable: 0 }
console.log(Plan.plan({ database, services: [slower] }).recommended)
// 5
const asked = Plan.plan({ database, services: [{ ...web, maxSize: 6 }] })
console.log(asked.fits, asked.worstCase.map(({ connections }) => connections).join(", "))
// false 480, 600, 720
