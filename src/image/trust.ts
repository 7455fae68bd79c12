import { X509Certificate } from 'node:crypto';
import { readdir, readlink, stat } from 'node:fs/promises';
import { isAbsolute, join, normalize } from 'node:path';
import { rootCertificates } from 'node:tls';
import { isErrno, messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { readText } from '../sys/read-file.ts';
import type { Environment } from './proxy.ts';

/** Where distributions keep the authorities that their operators trust (as in Go's crypto/x509): the first that is there counts. */
const bundles = [
  '/etc/ssl/certs/ca-certificates.crt', // Debian, Alpine, Arch
  '/etc/pki/tls/certs/ca-bundle.crt', // Fedora, RHEL
  '/etc/ssl/ca-bundle.pem', // openSUSE
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem', // CentOS, RHEL 7
  '/etc/ssl/cert.pem', // Alpine
];
/** Where they keep them one by one: an operator may have added one, and never made the bundle anew. All of them count. */
const folders = ['/etc/ssl/certs', '/etc/pki/tls/certs'];
/** The host's bundle has some 200 KiB. */
const mostBytes = 8 * 1024 * 1024;
const mostFiles = 2000;

/** What was read last, or is being read. */
let last: { readonly marks: string; readonly authorities: Promise<readonly string[]> } | null = null;

/**
 * The host's certificate authorities, PEM, as Go's programs find them: those of SSL_CERT_FILE or of the distribution's bundle, and
 * beside them those of the folders in SSL_CERT_DIR or of the distribution's. Read again when one of these places changed. On
 * a host without any: those that come with Node.
 */
export async function hostAuthorities(env: Environment = process.env): Promise<readonly string[]> {
  const bundle = await firstOf(env.SSL_CERT_FILE ? [env.SSL_CERT_FILE] : bundles);
  const places = await marked(env.SSL_CERT_DIR ? env.SSL_CERT_DIR.split(':') : folders);
  const marks = [bundle, ...places].map((place) => (place ? `${place.path} ${place.mark}` : '')).join('\n');
  if (last?.marks === marks) return last.authorities;
  const authorities = readAll(bundle?.path ?? null, places);
  const mine = { marks, authorities };
  last = mine;
  authorities.catch(() => {
    if (last === mine) last = null; // it may be there the next time
  });
  return authorities;
}

/** A file or folder that is there, and what changes when it does. */
type Place = { readonly path: string; readonly mark: string };

async function firstOf(paths: readonly string[]): Promise<Place | null> {
  for (const path of paths) {
    const [place] = await marked([path]);
    if (place) return place;
  }
  return null;
}

async function marked(paths: readonly string[]): Promise<Place[]> {
  const places = await Promise.all(
    paths.map(async (path) => {
      try {
        const { mtimeMs, size, ino } = await stat(path);
        return [{ path, mark: `${mtimeMs} ${size} ${ino}` }];
      } catch (error) {
        if (isErrno(error, 'ENOENT', 'ENOTDIR')) return [];
        throw error;
      }
    }),
  );
  return places.flat();
}

async function readAll(bundle: string | null, places: readonly Place[]): Promise<readonly string[]> {
  const whole = bundle === null ? null : await readText(bundle, mostBytes);
  const known = new Set(certificatesOf(whole ?? '').map(bodyOf));
  const found: string[] = whole === null ? [] : [whole];
  for (const { path } of places) {
    for (const certificate of await certificatesIn(path)) {
      const body = bodyOf(certificate);
      if (known.has(body) || !isCertificate(certificate)) continue;
      known.add(body);
      found.push(certificate);
    }
  }
  return found.length > 0 ? found : rootCertificates;
}

const certificatesOf = (text: string): string[] =>
  text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];

/** The same certificate may be wrapped in lines of another length. */
const bodyOf = (certificate: string): string => certificate.replace(/-----[^-]*-----|\s/g, '');

function isCertificate(text: string): boolean {
  try {
    new X509Certificate(text);
    return true;
  } catch {
    return false; // one that cannot be read would spoil the others
  }
}

/** A file that cannot be read costs nobody the others. Most of a folder are further names of its own files: those are left out. */
async function certificatesIn(folder: string): Promise<string[]> {
  try {
    const entries = (await readdir(folder, { withFileTypes: true })).slice(0, mostFiles);
    const texts = await Promise.all(
      entries.map(async (entry) => {
        const isWanted = entry.isFile() || (entry.isSymbolicLink() && (await leadsOut(join(folder, entry.name))));
        return isWanted ? await readText(join(folder, entry.name), mostBytes).catch(() => '') : '';
      }),
    );
    return texts.flatMap(certificatesOf);
  } catch (error) {
    log.warn({ folder, reason: messageOf(error) }, 'The certificate authorities of a folder cannot be read');
    return [];
  }
}

async function leadsOut(link: string): Promise<boolean> {
  const target = await readlink(link).catch(() => '');
  return isAbsolute(target) || normalize(target).includes('/');
}
