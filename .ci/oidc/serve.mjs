// SMART Backend Services as oidc-provider does them, on 127.0.0.1, before one guarded address.
// usage: node serve.mjs PORT CLIENTS.json     ready when it prints READY; end it by its process id
// CLIENTS.json: [{"client_id": …, "scope": …, "jwks": {…}, "alg": "ES384"} or {…, "secret": …}]
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose';
import { Provider } from 'oidc-provider';

const port = Number(process.argv[2]);
const asked = JSON.parse(readFileSync(process.argv[3], 'utf8'));
const issuer = `http://127.0.0.1:${port}`;
const base = `${issuer}/fhir`;
const scopes = [...new Set(asked.flatMap((one) => one.scope.split(' ')))];
const lifetime = Number(process.env.LIFETIME ?? 300);

const pair = await generateKeyPair('ES256', { extractable: true });
const own = { use: 'sig', alg: 'ES256', kid: 'server' };
const publicKeys = createLocalJWKSet({ keys: [{ ...(await exportJWK(pair.publicKey)), ...own }] });

const clients = asked.map((one) => ({
  client_id: one.client_id,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  id_token_signed_response_alg: 'ES256',
  scope: one.scope,
  ...(one.secret
    ? { client_secret: one.secret, token_endpoint_auth_method: one.method }
    : {
        jwks: one.jwks,
        token_endpoint_auth_method: 'private_key_jwt',
        token_endpoint_auth_signing_alg: one.alg,
      }),
}));

const provider = new Provider(issuer, {
  clients,
  jwks: { keys: [{ ...(await exportJWK(pair.privateKey)), ...own }] },
  scopes,
  clientAuthMethods: ['private_key_jwt', 'client_secret_basic', 'client_secret_post'],
  enabledJWA: { clientAuthSigningAlgValues: ['RS384', 'ES384'] },
  ttl: { ClientCredentials: lifetime },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => base,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: scopes.join(' '),
        audience: base,
        accessTokenTTL: lifetime,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});
provider.on('grant.error', (_, error) => console.error(error.message, error.error_detail ?? ''));

function say(response, status, content) {
  response.writeHead(status, { 'Content-Type': 'application/fhir+json' });
  response.end(JSON.stringify(content));
}

// One record behind the token, so that the client is seen to use what it was given.
async function guarded(request, response) {
  const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
  try {
    const { payload } = await jwtVerify(token, publicKeys, { issuer, audience: base });
    say(response, 200, { resourceType: 'Basic', id: 'seen', language: payload.scope });
  } catch {
    say(response, 401, { resourceType: 'OperationOutcome' });
  }
}

const answer = provider.callback();
http
  .createServer((request, response) => {
    if (request.url === '/fhir/.well-known/smart-configuration') {
      say(response, 200, {
        token_endpoint: `${issuer}/token`,
        token_endpoint_auth_methods_supported: ['private_key_jwt'],
        token_endpoint_auth_signing_alg_values_supported: ['RS384', 'ES384'],
        grant_types_supported: ['client_credentials'],
        scopes_supported: scopes,
        capabilities: ['client-confidential-asymmetric'],
      });
    } else if (request.url.startsWith('/fhir/')) {
      guarded(request, response);
    } else {
      answer(request, response);
    }
  })
  .listen(port, '127.0.0.1', () => console.log(`READY ${base}`));
