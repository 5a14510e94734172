// A shop to try the hub with, on SQLite and on this machine only: PORT, DATABASE, ADMIN_PASSWORD,
// HUB_URL and HUB_SECRET come from the environment. The first start makes its tables and sample data.
process.env.VENDURE_DISABLE_TELEMETRY = '1';
const {
  bootstrap, DefaultJobQueuePlugin, DefaultLogger, dummyPaymentHandler, JobQueueService, LanguageCode, LogLevel,
  manualFulfillmentHandler, TransactionalConnection, Country,
} = require('@vendure/core');
const { populateInitialData } = require('@vendure/core/cli');
const { inventoryWebhooks } = require('./inventory-webhooks');

// The shop's own pages show the number that can be bought, instead of "in stock".
class ShowTheNumber {
  getStockLevel(_, __, saleable) { return String(saleable); }
}

const config = {
  apiOptions: { hostname: '127.0.0.1', port: Number(process.env.PORT || 3100), adminApiPath: 'admin-api', shopApiPath: 'shop-api' },
  authOptions: {
    tokenMethod: ['bearer'],
    superadminCredentials: { identifier: 'superadmin', password: process.env.ADMIN_PASSWORD },
  },
  dbConnectionOptions: { type: 'better-sqlite3', database: process.env.DATABASE, synchronize: true },
  paymentOptions: { paymentMethodHandlers: [dummyPaymentHandler] },
  shippingOptions: { fulfillmentHandlers: [manualFulfillmentHandler] },
  catalogOptions: { stockDisplayStrategy: new ShowTheNumber() },
  logger: new DefaultLogger({ level: LogLevel.Warn }),
  plugins: [DefaultJobQueuePlugin.init({}), inventoryWebhooks({ url: process.env.HUB_URL, secret: process.env.HUB_SECRET || '' })],
};
const sample = {
  defaultLanguage: LanguageCode.en, defaultZone: 'Europe', collections: [],
  taxRates: [{ name: 'Standard', percentage: 20 }],
  shippingMethods: [{ name: 'Standard', price: 500 }],
  paymentMethods: [{ name: 'Dummy', handler: { code: dummyPaymentHandler.code, arguments: [{ name: 'automaticSettle', value: 'true' }] } }],
  countries: [{ name: 'Germany', code: 'DE', zone: 'Europe' }],
};

(async () => {
  const app = await bootstrap(config);
  const countries = app.get(TransactionalConnection).rawConnection.getRepository(Country);
  if (!(await countries.count())) await populateInitialData(app, sample);
  await app.get(JobQueueService).start();
  console.log('ready');
  process.on('SIGTERM', () => app.close().then(() => process.exit(0)));
})().catch((error) => { console.error(error); process.exit(1); });
