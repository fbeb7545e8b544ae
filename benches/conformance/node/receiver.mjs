// A receiver in express with one of the libraries under test, as its documentation shows it.
//
// Usage: SECRET=… node receiver.mjs LIBRARY. It prints its address.

import express from 'express';

const secret = process.env.SECRET;
const runs = new Map();

// Runs an event, and returns its status. The first run of some events is a failure.
function run({ id, type }) {
    const count = (runs.get(id) ?? 0) + 1;
    runs.set(id, count);
    return type === 'conform.fail_once' && count === 1 ? 500 : 204;
}

// Mounts a receiver. `verify` throws if a delivery is refused.
function mount(app, verify) {
    app.post('/hooks', express.raw({ type: 'application/json' }), (request, response) => {
        try {
            verify(request);
        } catch {
            response.status(400).end();
            return;
        }
        response.status(run(JSON.parse(request.body))).end();
    });
}

const libraries = {
    async standardwebhooks(app) {
        const { Webhook } = await import('standardwebhooks');
        const webhook = new Webhook(secret);
        mount(app, ({ body, headers }) => webhook.verify(body, headers));
    },
    async svix(app) {
        const { Webhook } = await import('svix');
        const webhook = new Webhook(secret);
        mount(app, ({ body, headers }) => webhook.verify(body, headers));
    },
    async stripe(app) {
        const { default: Stripe } = await import('stripe');
        const { webhooks } = new Stripe('sk_test_of_no_account');
        mount(app, ({ body, headers }) => webhooks.constructEvent(body, headers['stripe-signature'], secret));
    },
    async '@octokit/webhooks'(app) {
        const { Webhooks, createNodeMiddleware } = await import('@octokit/webhooks');
        const webhooks = new Webhooks({ secret });
        webhooks.onAny(({ payload }) => {
            if (run(payload) !== 204) {
                throw new Error('the first run of this event is a failure');
            }
        });
        app.use(createNodeMiddleware(webhooks, { path: '/hooks' }));
    },
};

const app = express();
app.get('/runs/:id', (request, response) => {
    response.send(String(runs.get(request.params.id) ?? 0));
});
await libraries[process.argv[2]](app);
const server = app.listen(0, '127.0.0.1', () => {
    console.log(`listening on 127.0.0.1:${server.address().port}`);
});
