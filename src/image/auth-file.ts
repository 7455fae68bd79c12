import { Fault, isErrno, messageOf } from '../base/fault.ts';
import { type HostFiles, isNoAnswer, type OpenHostFiles } from '../base/host-files.ts';
import { isObject } from '../base/json.ts';
import { log } from '../base/log.ts';
import { jsonOf } from '../base/parse.ts';
import { ownFiles } from '../sys/own-files.ts';
import { credentialsFor, hostOf, type RegistryAuth } from './auth.ts';
import type { Reference } from './reference.ts';

const maxBytes = 1024 * 1024;

/**
 * The node's own credentials for a repository, of a file as `docker login` and `podman login` write it (config.json, auth.json):
 * of the keys that name its registry, with or without the beginning of its path, the longest (containers-auth.json(5)). Null if
 * there are none. Read at each pull: whoever renews them need not tell Berth.
 * @throws Fault FailedPrecondition for a file that is none.
 */
export async function nodeAuth(
  path: string,
  { domain, path: repository }: Pick<Reference, 'domain' | 'path'>,
  open: OpenHostFiles = ownFiles,
): Promise<RegistryAuth | null> {
  if (path === '') return null;
  using files = open();
  const auths = await readAuths(path, files);
  const wanted = `${hostOf(domain)}/${repository}/`;
  const [best] = Object.keys(auths)
    .filter((key) => wanted.startsWith(`${place(key)}/`))
    .sort((a, b) => place(b).length - place(a).length);
  const entry = best === undefined ? undefined : auths[best];
  if (!isObject(entry)) return null;
  const auth = authOf(entry, domain);
  try {
    credentialsFor(domain, auth);
  } catch (error) {
    throw unusable(path, `its entry ${JSON.stringify(best)}: ${messageOf(error)}`);
  }
  return auth;
}

const unusable = (path: string, why: string) =>
  new Fault('FailedPrecondition', `Cannot read the credentials of ${path} (images.auth_file): ${why}`);

async function readAuths(path: string, files: HostFiles): Promise<Record<string, unknown>> {
  try {
    const json: unknown = jsonOf(await files.readText(path, maxBytes));
    const auths = isObject(json) ? (json.auths ?? {}) : null;
    if (!isObject(auths)) throw new Error('it has no "auths"');
    if (isObject(json) && (json.credsStore || json.credHelpers))
      log.warn({ path }, 'Programs that keep credentials (credsStore, credHelpers) are not asked: images.auth_file');
    return auths;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) {
      log.warn({ path }, 'There is no file of credentials: images.auth_file');
      return {};
    }
    throw isNoAnswer(error) ? error : unusable(path, messageOf(error));
  }
}

/** `https://index.docker.io/v1/` is docker.io; `registry.example/team` is a part of one. */
function place(key: string): string {
  const bare = key.replace(/^[a-z]+:\/\//i, '').replace(/\/v[12]\/?$/, '');
  const slash = bare.indexOf('/');
  const host = hostOf(slash < 0 ? bare : bare.slice(0, slash));
  return (slash < 0 ? host : host + bare.slice(slash)).replace(/\/+$/, '');
}

/** For the registry that the key names, and for no mirror of it. */
function authOf(entry: Record<string, unknown>, serverAddress: string): RegistryAuth {
  const text = (name: string) => (typeof entry[name] === 'string' ? entry[name] : '');
  return {
    username: text('username'),
    password: text('password'),
    auth: text('auth'),
    serverAddress,
    identityToken: text('identitytoken'),
    registryToken: text('registrytoken'),
  };
}
