// Tells the hub which order changed. The hub asks the shop for the order itself, so nothing else has
// to be told, and a delivery that is lost is made good by the hub's poll.
//
//   plugins: [inventoryWebhooks({ url: 'https://hub.example.com/hooks/shop', secret: '…' })]
const crypto = require('crypto');
const { EventBus, HistoryEntryEvent, OrderStateTransitionEvent, PluginCommonModule, VendurePlugin } = require('@vendure/core');

const ATTEMPTS = 4;

async function deliver({ url, secret }, order) {
  const body = JSON.stringify({ topic: 'order', ...order });
  const headers = {
    'content-type': 'application/json',
    'x-inventory-delivery': crypto.randomUUID(),
    'x-inventory-signature': crypto.createHmac('sha256', secret).update(body).digest('base64'),
  };
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    try {
      const answer = await fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(5000) });
      if (answer.ok || (answer.status >= 400 && answer.status < 500 && answer.status !== 429)) return;
    } catch (error) { /* the next attempt, or the hub's poll */ }
    await new Promise((wake) => setTimeout(wake, 250 * 4 ** attempt).unref());
  }
}

function inventoryWebhooks(options) {
  class InventoryWebhooks {
    constructor(eventBus) { this.eventBus = eventBus; }
    onApplicationBootstrap() {
      if (!options.url) return;
      this.eventBus.ofType(OrderStateTransitionEvent).subscribe((event) => deliver(options, { code: event.order.code }));
      // Cancelled, added and fulfilled lines leave the order's state as it is, and are in its history.
      this.eventBus.ofType(HistoryEntryEvent).subscribe((event) => {
        if (event.historyType === 'order' && event.type === 'created') deliver(options, { id: String(event.input.orderId) });
      });
    }
  }
  Reflect.defineMetadata('design:paramtypes', [EventBus], InventoryWebhooks);
  VendurePlugin({ imports: [PluginCommonModule], compatibility: '^3.0.0' })(InventoryWebhooks);
  return InventoryWebhooks;
}

module.exports = { inventoryWebhooks };
