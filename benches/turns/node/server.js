// The no-op intent as it is written for Node: express and dialogflow-fulfillment.
const express = require('express');
const { WebhookClient } = require('dialogflow-fulfillment');

const app = express();
app.use(express.json());
app.post('/fulfillment', (request, response) => {
  const agent = new WebhookClient({ request, response });
  const intents = new Map([['Noop', (agent) => agent.add('Done.')]]);
  return agent.handleRequest(intents);
});
app.listen(Number(process.argv[2]), '127.0.0.1');
