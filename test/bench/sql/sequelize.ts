import { QueryTypes, Sequelize, type Transaction } from "sequelize"
import { promiseSubject, type Run } from "./promises.js"

const names = { postgresql: "postgres", mysql: "mysql" } as const

/** Plain SQL with bound values: what it costs without models. */
export const query = promiseSubject(({ connections, dialect, url }) => {
  const sequelize = new Sequelize(url, {
    dialect: names[dialect],
    logging: false,
    pool: { max: connections, min: connections, idle: 3_600_000, acquire: 60_000 }
  })
  const run =
    (transaction: Transaction | null): Run =>
    async (step, args) => {
      if (step.rows > 0)
        return await sequelize.query(step.numbered, { type: QueryTypes.SELECT, bind: args, transaction })
      await sequelize.query(step.numbered, { type: QueryTypes.RAW, bind: args, transaction })
      return []
    }
  return {
    run: run(null),
    transaction: (body) => sequelize.transaction((transaction) => body(run(transaction))),
    close: () => sequelize.close()
  }
})
