import { Fault } from '../base/fault.ts';
import { type Digest, parseDigest } from '../model/ids.ts';

/** Which image: a repository at a registry, and a tag or a manifest's digest in it. */
export type Reference = {
  /** `docker.io`, `registry.example:5000`. */
  readonly domain: string;
  /** Path in the registry: `library/busybox`. */
  readonly path: string;
  /** Empty if only a digest was given. */
  readonly tag: string;
  readonly digest: Digest | null;
};

// The grammar of the distribution project's "reference" page. A domain is what has a dot, a port, or is localhost.
const domainPattern =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/;
const componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
/** Of a repository, without its registry's name; that is a name of the network (RFC 1035, 2.3.4), with a port. */
const maxPathLength = 255;
const maxDomainLength = 255;
const maxLength = 1024;
export const defaultDomain = 'docker.io';

/**
 * Parses a reference as people write it: `busybox` is `docker.io/library/busybox:latest`.
 * @throws Fault InvalidArgument that says which part is wrong.
 */
export function parseReference(text: string): Reference {
  const shown = JSON.stringify(text.slice(0, 200));
  const wrong = (why: string) => new Fault('InvalidArgument', `Image reference ${shown} is not valid: ${why}`);
  if (text.length > maxLength) throw wrong(`it is longer than ${maxLength} characters`);
  const { name, hasTag, tag, afterAt } = partsOf(text);
  const digest = afterAt === null ? null : parseDigest(afterAt);
  if (hasTag && !tagPattern.test(tag)) throw wrong(`the tag ${JSON.stringify(tag.slice(0, 200))} is not one`);
  if (!hasTag && /^(?:[0-9a-f]{64}|[0-9a-f]{128})$/.test(name)) throw wrong('it is an image id');
  const { domain, path } = splitDomain(name);
  // A port beyond 65535, or an address with too many parts, is what nothing can be asked at.
  // Names with underscores are found in networks without a port: with one Go's programs take no such name.
  const isDomain = domainPattern.test(domain) || componentPattern.test(domain);
  if (!isDomain || domain.length > maxDomainLength || !URL.canParse(`https://${domain}`))
    throw wrong(`${JSON.stringify(domain)} is not a registry's name`);
  if (path === '' || path.length > maxPathLength) throw wrong('the name is empty or too long');
  for (const component of path.split('/')) {
    if (!componentPattern.test(component)) throw wrong(`${JSON.stringify(component)} in its name must be lower case`);
  }
  return { domain, path, tag: tag || (digest ? '' : 'latest'), digest };
}

/** The repository of a name that says no registry (`busybox`, `team/app`), without tag and digest; else null. */
export function shortName(text: string): string | null {
  const { name } = partsOf(text);
  return hasDomain(name) ? null : name;
}

function partsOf(text: string) {
  const at = text.indexOf('@');
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(':');
  const hasTag = colon > named.lastIndexOf('/');
  return {
    name: hasTag ? named.slice(0, colon) : named,
    hasTag,
    tag: hasTag ? named.slice(colon + 1) : '',
    afterAt: at < 0 ? null : text.slice(at + 1),
  };
}

function hasDomain(name: string): boolean {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  return /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
}

function splitDomain(name: string): { domain: string; path: string } {
  const isDomain = hasDomain(name);
  const slash = name.indexOf('/');
  const domain = isDomain ? name.slice(0, slash) : defaultDomain;
  const path = isDomain ? name.slice(slash + 1) : name;
  if (domain === defaultDomain || domain === 'index.docker.io') {
    return { domain: defaultDomain, path: path.includes('/') ? path : `library/${path}` };
  }
  return { domain, path };
}

/** `docker.io/library/busybox` */
export const repositoryOf = (reference: Reference): string => `${reference.domain}/${reference.path}`;

/** The full name with its tag, or null if the reference has none. */
export const tagOf = (reference: Reference): string | null =>
  reference.tag ? `${repositoryOf(reference)}:${reference.tag}` : null;

/** The full name by this digest. */
export const byDigest = (reference: Reference, digest: string): string => `${repositoryOf(reference)}@${digest}`;

/** What is looked up at the registry: the digest if there is one, for that cannot move. */
export const targetOf = (reference: Reference): string => reference.digest ?? reference.tag;

/** The one full form of a reference: by digest if it has one, else by tag. */
export const canonical = (reference: Reference): string =>
  reference.digest ? byDigest(reference, reference.digest) : `${repositoryOf(reference)}:${reference.tag}`;
