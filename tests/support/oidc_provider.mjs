// npm's oidc-provider behind tests/support/certified.py, which speaks to it in lines of JSON (tests/support/child.py).
// Its own pages ask for a name and any password, then for consent. It ends with its standard input.
import { createInterface } from "node:readline";
import { Provider } from "oidc-provider";

console.info = console.error; // standard output is for answers

let provider;
let lifetime = 3600; // seconds, of access tokens from now on

function start({ issuer, clients }) {
  provider = new Provider(issuer, {
    clients,
    pkce: { required: () => true },
    scopes: ["openid", "offline_access", "git"],
    claims: { openid: ["sub"], profile: ["preferred_username"] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, preferred_username: id }) }),
    features: {
      deviceFlow: { enabled: true },
      registration: { enabled: true },
      revocation: { enabled: true },
    },
    issueRefreshToken: (_, client) => client.grantTypeAllowed("refresh_token"),
    rotateRefreshToken: true,
    ttl: { AccessToken: () => lifetime, RefreshToken: 86400, Grant: 86400, Session: 86400, Interaction: 600 },
  });
  provider.proxy = true; // TLS ends in front of it
  return new Promise((ready) => {
    const server = provider.listen(0, "127.0.0.1", () => ready(server.address().port));
  });
}

const calls = {
  start,
  set_lifetime: ({ seconds }) => { lifetime = seconds; },
  // Whose access token that is, empty for one that is not alive.
  owner: async ({ token }) => (await provider.AccessToken.find(token))?.accountId ?? "",
  refreshable: async ({ token }) => {
    const found = await provider.RefreshToken.find(token);
    return Boolean(found?.isValid);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { number, name, arguments: given } = JSON.parse(line);
  let answer;
  try {
    answer = { number, result: (await calls[name](given)) ?? null };
  } catch (error) {
    answer = { number, error: String(error.stack) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
