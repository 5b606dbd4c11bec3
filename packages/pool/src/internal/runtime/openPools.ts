import * as Registry from "../../Registry.js"

/** The pools of this process that are not closed. The number rises when what `Pool` and `Pools` need of a pool changes. */
export const openPools: Registry.Registry<object> = Registry.make("@sluice/pool/open/1")
