// A receiver in express that verifies with the npm package standardwebhooks.
import express from 'express';
import { Webhook } from 'standardwebhooks';

const webhook = new Webhook(process.env.SECRET);
const app = express();
app.disable('x-powered-by');
app.post('/hooks', express.raw({ type: () => true, limit: '16mb' }), (request, response) => {
    try {
        webhook.verify(request.body, request.headers);
        response.status(204).end();
    } catch {
        response.status(401).end();
    }
});
app.listen(Number(process.env.PORT), '127.0.0.1');
