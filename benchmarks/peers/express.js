// Express with express-oauth2-jwt-bearer and morgan: node express.js PORT PROCESSES
const cluster = require('node:cluster');
const [port, processes] = process.argv.slice(2).map(Number);
const { ISSUER, AUDIENCE } = process.env;

if (cluster.isPrimary) {
  for (let n = 0; n < processes; n++) cluster.fork();
} else {
  const express = require('express');
  const { auth } = require('express-oauth2-jwt-bearer');
  const morgan = require('morgan');
  const app = express();
  const guard = auth({
    issuer: ISSUER, jwksUri: `${ISSUER}/.well-known/jwks.json`, audience: AUDIENCE, cacheMaxAge: 600000,
  });
  app.disable('x-powered-by');
  app.use(morgan('combined'));
  app.get('/protected', guard, (req, res) => res.json({ message: 'Access granted', user: req.auth.payload }));
  app.post('/echo', guard, express.json(), (req, res) => res.json(req.body));
  app.use((error, req, res, next) => res.status(error.status || 500).set(error.headers || {}).json({ error: error.code }));
  app.listen(port, '127.0.0.1');
}
