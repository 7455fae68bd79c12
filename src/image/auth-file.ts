import { Fault, isErrno, messageOf } from '../base/fault.ts';
import { type HostFiles, isNoAnswer, type OpenHostFiles } from '../base/host-files.ts';
import { isObject } from '../base/json.ts';
import { log } from '../base/log.ts';
import { jsonOf } from '../base/parse.ts';
import { ownFiles } from '../sys/own-files.ts';
import { credentialsFor, hostOf, isEmpty, type RegistryAuth } from './auth.ts';
import type { Reference } from './reference.ts';

const maxBytes = 1024 * 1024;

/**
 * The node's own credentials for a repository, of a file as `docker login`, `podman login` and kubelet's config.json have it: of the
 * keys that name its registry, with or without the beginning of its path, the longest (containers-auth.json(5)), and a key with `*`
 * only where no other does. One that says nothing, as a login kept by a program leaves it, counts for none. Null if there are none.
 * Read at each pull: whoever renews them need not tell Berth.
 * @throws Fault FailedPrecondition for a file that is none.
 */
export async function nodeAuth(
  path: string,
  { domain, path: repository }: Pick<Reference, 'domain' | 'path'>,
  open: OpenHostFiles = ownFiles,
): Promise<RegistryAuth | null> {
  if (path === '') return null;
  using files = open();
  const wanted = { host: hostOf(domain), path: `${repository}/` };
  const [best] = Object.entries(await readAuths(path, files))
    .flatMap(([key, entry]) => (isObject(entry) ? { key, at: place(key), auth: authOf(entry, domain) } : []))
    .filter(({ at, auth }) => isOf(at, wanted) && !isEmpty(auth))
    .sort((a, b) => rank(b.at) - rank(a.at));
  if (best === undefined) return null;
  try {
    credentialsFor(domain, best.auth);
  } catch (error) {
    throw unusable(path, `its entry ${JSON.stringify(best.key)}: ${messageOf(error)}`);
  }
  return best.auth;
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

/** What a key names: a registry, and the beginning of a path in it, which ends with a slash if there is one. */
type Place = { readonly host: string; readonly path: string };

/** `https://index.docker.io/v1/` is docker.io; `registry.example/team` is a part of one. */
function place(key: string): Place {
  const bare = key.replace(/^[a-z]+:\/\//i, '').replace(/\/v[12]\/?$/, '');
  const slash = bare.indexOf('/');
  const path = slash < 0 ? '' : bare.slice(slash + 1).replace(/\/+$/, '');
  return { host: hostOf(slash < 0 ? bare : bare.slice(0, slash)), path: path === '' ? '' : `${path}/` };
}

const isOf = (key: Place, wanted: Place): boolean =>
  wanted.path.startsWith(key.path) && (key.host === wanted.host || isMatch(key.host, wanted.host));

/** As kubelet matches them: `*` is a part of a name between dots, or of such a part. Ports are the same, or both left out. */
function isMatch(pattern: string, host: string): boolean {
  if (!pattern.includes('*')) return false;
  const [parts, own] = [pattern.split('.'), host.split('.')];
  return parts.length === own.length && parts.every((part, nth) => isPart(part, own[nth]!));
}

const isPart = (pattern: string, part: string): boolean => {
  const texts = pattern.split('*').map((text) => RegExp.escape(text));
  return new RegExp(`^${texts.join('[^:]*')}$`).test(part);
};

/** A name before a pattern, and then the longer one. */
const rank = ({ host, path }: Place): number => (host.includes('*') ? 0 : 1 << 20) + host.length + path.length;

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
