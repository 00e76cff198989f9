// An OpenID Connect issuer, oidc-provider by Filip Skokan, whose clients get a token of their own kind each for their
// credentials: node tokens.mjs PORT AUDIENCE KEYS. It begins with new keys each time, KEYS of each type.
import { generateKeyPairSync } from "node:crypto";
import Provider from "oidc-provider";

const [port, audience, keys] = process.argv.slice(2);
const second = () => Math.floor(Date.now() / 1000);
const kinds = {
  writer: () => ({ groups: ["writers"] }),
  reader: () => ({ groups: ["readers"] }),
  other: () => ({ groups: ["others"] }),
  keeper: () => ({ groups: "keepers staff" }),
  nobody: () => ({}),
  ps256: () => ({ groups: ["writers"] }),
  es256: () => ({ groups: ["writers"] }),
  eddsa: () => ({ groups: ["writers"] }),
  hs256: () => ({ groups: ["writers"] }),
  elsewhere: () => ({ groups: ["writers"], aud: "https://elsewhere.example/" }),
  audiences: () => ({ groups: ["writers"], aud: ["https://elsewhere.example/", audience] }),
  expired: () => ({ groups: ["writers"], exp: second() - 61 }),
  late: () => ({ groups: ["writers"], exp: second() - 50 }),
  early: () => ({ groups: ["writers"], nbf: second() + 50, iat: second() + 50 }),
  future: () => ({ groups: ["writers"], nbf: second() + 70 }),
  long: () => ({ groups: ["writers"], note: "x".repeat(20_000) }),
  large: () => ({ groups: ["writers"], note: "x".repeat(100_000) }),
};
const algorithms = { ps256: "PS256", es256: "ES256", eddsa: "EdDSA", hs256: "HS256" };
const secret = Buffer.from("a secret that issuer and gateway share");
const made = (type, options) =>
  Array.from({ length: Number(keys) }, () => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }),
    use: "sig",
  }));
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
const provider = new Provider(`http://localhost:${port}`, {
  jwks: { keys: [{ ...rsa, use: "sig" }, ...made("ec", { namedCurve: "P-256" }), ...made("ed25519")] },
  clients: Object.keys(kinds).map((client_id) => ({
    client_id,
    client_secret: "secret",
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
  })),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource, { clientId }) => ({
        scope: "",
        audience: resource,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: algorithms[clientId] ?? "RS256", ...(clientId === "hs256" && { key: secret }) } },
      }),
    },
  },
  formats: {
    customizers: {
      jwt: (_, token, jwt) => Object.assign(jwt.payload, kinds[token.clientId]()),
    },
  },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
