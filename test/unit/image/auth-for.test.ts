// What is shown to which place of a pull, of what the pull brought and of what the node's file has.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { RegistryAuth } from '../../../src/image/auth.ts';
import { authFor, credentialsOf } from '../../../src/image/auth-for.ts';
import { parseReference, placesFor } from '../../../src/image/index.ts';
import { ownFiles } from '../../../src/sys/own-files.ts';
import { authOf } from '../../registry/auth.ts';

const root = mkdtempSync(join(tmpdir(), 'berth-auth-for-'));
after(() => rmSync(root, { recursive: true }));
const [authFile, registriesConf, certsDir] = ['auth.json', 'registries.conf', 'certs.d'].map((name) =>
  join(root, name),
) as [string, string, string];

writeFileSync(
  registriesConf,
  `[[registry]]
prefix = "registry.example"
location = "elsewhere.example/all"
[[registry.mirror]]
location = "mirror.example/all"
[[registry]]
location = "same.example:443"
`,
);
const folder = join(certsDir, 'vanity.example');
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, 'hosts.toml'), 'server = "https://real.example"\n');

/** The users that each place of a reference is shown. */
async function users(reference: string, auth: RegistryAuth | null, hosts: readonly string[]): Promise<string[]> {
  const auths = Object.fromEntries(hosts.map((host) => [host, { username: `node's of ${host}`, password: 'secret' }]));
  writeFileSync(authFile, JSON.stringify({ auths }));
  const meant = parseReference(reference);
  const node = { authFile, hostFiles: ownFiles };
  const chosen = await authFor(meant, { reference, auth }, node);
  const places = await placesFor(meant, { certsDir, registriesConf });
  const shown = places.map(async (endpoint) => {
    const credentials = await credentialsOf(endpoint, meant, chosen, node);
    const user = credentials.kind === 'basic' ? credentials.username : credentials.kind;
    return `${endpoint.base.host}: ${user}`;
  });
  return Promise.all(shown);
}

const pods = authOf({ username: 'pod', password: 'secret' });
const all = ['registry.example', 'mirror.example', 'elsewhere.example/all'];

for (const [what, asked, auth, hosts, shown] of [
  [
    'a registry that registries.conf has at another host is shown what the node has for that one',
    'registry.example/app',
    null,
    all,
    ["mirror.example: node's of mirror.example", "elsewhere.example: node's of elsewhere.example/all"],
  ],
  [
    'and nothing that it has for the name',
    'registry.example/app',
    null,
    ['registry.example'],
    ['mirror.example: none', 'elsewhere.example: none'],
  ],
  [
    'what the pull brought goes before',
    'registry.example/app',
    pods,
    ['elsewhere.example'],
    ['mirror.example: pod', 'elsewhere.example: pod'],
  ],
  [
    'unless it names another',
    'registry.example/app',
    { ...pods, serverAddress: 'registry.example' },
    ['registry.example'],
    ['mirror.example: none', 'elsewhere.example: none'],
  ],
  [
    'or names that place',
    'registry.example/app',
    { ...pods, serverAddress: 'https://elsewhere.example' },
    [],
    ['mirror.example: none', 'elsewhere.example: pod'],
  ],
  [
    'a token of the registry is not sent elsewhere',
    'registry.example/app',
    authOf({ registryToken: 'token' }),
    [],
    ['mirror.example: none', 'elsewhere.example: none'],
  ],
  [
    'a port that is meant anyway is no other host',
    'same.example:443/app',
    { ...pods, serverAddress: 'same.example:443' },
    [],
    ['same.example: pod'],
  ],
  [
    'a server of hosts.toml is the registry',
    'vanity.example/app',
    null,
    ['vanity.example', 'real.example'],
    ["real.example: node's of vanity.example"],
  ],
  [
    'and is shown what its own name has where the other has nothing',
    'vanity.example/app',
    null,
    ['real.example'],
    ["real.example: node's of real.example"],
  ],
] as const) {
  test(`${what}: ${asked}`, async () => assert.deepEqual(await users(asked, auth, hosts), shown));
}
