// nginx with njs: verifies `x-hub-signature-256`, then forwards the body by a subrequest.
import crypto from 'crypto';

const KEY = '@SECRET@';

async function deliver(r) {
    const mac = crypto.createHmac('sha256', KEY).update(r.requestBuffer).digest('hex');
    if (r.headersIn['x-hub-signature-256'] !== 'sha256=' + mac) {
        r.return(401);
        return;
    }
    const reply = await r.subrequest('/app', { method: 'POST', body: r.requestBuffer });
    r.return(reply.status);
}

export default { deliver };
