// An OpenID provider on loopback. It prints `issuer <issuer>`. Each line on its standard input replaces its signing key;
// it then prints `kid <id of the new key>`. It prints notices too.
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import Provider from "oidc-provider";

const server = createServer((request, response) => handle(request, response));
let handle;

function rotate(issuer) {
  const kid = randomUUID();
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), kid, alg: "ES256", use: "sig" }] },
    clients: [
      {
        client_id: "gateway",
        client_secret: process.env.CLIENT_SECRET,
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
        id_token_signed_response_alg: "ES256",
      },
    ],
    scopes: ["read:orders"],
    ttl: { ClientCredentials: 300 },
    cookies: { keys: [randomUUID()] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (context, resource) => ({
          audience: resource,
          scope: "read:orders",
          accessTokenFormat: "jwt",
          accessTokenTTL: 300,
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
  });
  handle = provider.callback();
  return kid;
}

server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  rotate(issuer);
  console.log(`issuer ${issuer}`);
  createInterface({ input: process.stdin })
    .on("line", () => console.log(`kid ${rotate(issuer)}`))
    .on("close", () => process.exit());
});
