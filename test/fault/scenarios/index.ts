/** All fault scenarios, in the order of the page that says what each must show. */
import type { Scenario } from "../scoreboard/model.js"
import * as clocks from "./clocks.js"
import * as closing from "./closing.js"
import * as failover from "./failover.js"
import * as interruption from "./interruption.js"
import * as leaks from "./leaks.js"
import * as overload from "./overload.js"
import * as packed from "./packed.js"
import * as replicas from "./replicas.js"
import * as requests from "./requests.js"
import * as restart from "./restart.js"
import * as silence from "./silence.js"
import * as suspension from "./suspension.js"
import * as transactions from "./transactions.js"

const numberOf = ({ id }: Scenario): number => Number(id.slice(1))

export const scenarios: ReadonlyArray<Scenario> = [
  clocks,
  closing,
  failover,
  interruption,
  leaks,
  overload,
  packed,
  replicas,
  requests,
  restart,
  silence,
  suspension,
  transactions
]
  .flatMap(({ scenarios }) => scenarios)
  .sort((a, b) => numberOf(a) - numberOf(b))
