// Fastify with jose: node fastify.mjs PORT PROCESSES
import cluster from 'node:cluster';
import Fastify from 'fastify';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const [port, processes] = process.argv.slice(2).map(Number);
const { ISSUER, AUDIENCE } = process.env;

if (cluster.isPrimary) {
  for (let n = 0; n < processes; n++) cluster.fork();
} else {
  const keys = createRemoteJWKSet(new URL(`${ISSUER}/.well-known/jwks.json`), { cacheMaxAge: 600000 });
  const rules = { issuer: ISSUER, audience: AUDIENCE, algorithms: ['RS256', 'ES256', 'EdDSA'] };
  const reject = (reply, error, challenge) => reply.code(401).header('www-authenticate', challenge).send({ error });
  const guard = async (request, reply) => {
    const [scheme, token] = (request.headers.authorization || '').split(' ');
    if (scheme !== 'Bearer') return reject(reply, 'No token provided', 'Bearer');
    try {
      request.user = (await jwtVerify(token, keys, rules)).payload;
    } catch (error) {
      if (!error.code?.startsWith?.('ERR_J')) throw error;
      return reject(reply, 'Invalid token', 'Bearer error="invalid_token"');
    }
  };
  const app = Fastify({ logger: true, disableRequestLogging: true }); // which writes two lines for each request
  app.addHook('onResponse', async (request, reply) => {
    const { method, url, ip } = request;
    request.log.info({ method, url, ip, status: reply.statusCode, ms: reply.elapsedTime }, 'request completed');
  });
  app.get('/protected', { preHandler: guard }, async (request) => ({ message: 'Access granted', user: request.user }));
  app.post('/echo', { preHandler: guard }, async (request) => request.body);
  await app.listen({ port, host: '127.0.0.1' });
}
