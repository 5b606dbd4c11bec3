/** Before: Sequelize, with the configuration of the report. Version 4.44.0, which the report is about, never came back. */
import { QueryTypes, Sequelize } from "sequelize"
import type { Endpoints } from "./Endpoints.js"

/** The configuration of the report, word for word but for the addresses and the logging. */
export const make = ({ read, write }: Endpoints) =>
  new Sequelize({
    dialect: "postgres",
    logging: false,
    replication: { write, read: [read] },
    retry: {
      match: [
        /SequelizeDatabaseError: terminating connection/,
        /SequelizeDatabaseError: read ECONNRESET/,
        /SequelizeConnectionError/,
        /SequelizeConnectionRefusedError/,
        /SequelizeHostNotFoundError/,
        /SequelizeHostNotReachableError/,
        /SequelizeInvalidConnectionError/,
        /SequelizeConnectionTimedOutError/
      ],
      name: "query",
      backoffBase: 100,
      backoffExponent: 1.1,
      timeout: 30000,
      max: 10
    },
    pool: { min: 0, max: 10 }
  })

/** Runs on the read pool, because of its type. */
export const read = (sequelize: Sequelize) => sequelize.query("select pg_sleep(0.1)", { type: QueryTypes.SELECT })

/** Runs on the write pool. */
export const write = (sequelize: Sequelize, id: number) =>
  sequelize.query("insert into work (side, id) select 'sequelize', $1 from pg_sleep(0.1)", {
    type: QueryTypes.RAW,
    bind: [id]
  })
