import { readFile, stat } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { isErrno } from '../base/fault.ts';
import type { Environment } from './proxy.ts';

/** Where distributions keep the authorities that their operators trust (as in Go's crypto/x509): the first that is there counts. */
const bundles = [
  '/etc/ssl/certs/ca-certificates.crt', // Debian, Alpine, Arch
  '/etc/pki/tls/certs/ca-bundle.crt', // Fedora, RHEL
  '/etc/ssl/ca-bundle.pem', // openSUSE
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem', // CentOS, RHEL 7
  '/etc/ssl/cert.pem', // Alpine
];

type Read = { readonly path: string; readonly mark: string; readonly authorities: readonly string[] };
let last: Read | null = null;

/**
 * The host's certificate authorities, PEM: those of SSL_CERT_FILE or of the distribution's bundle, read again when that
 * changed. On a host without any: those that come with Node.
 */
export async function hostAuthorities(env: Environment = process.env): Promise<readonly string[]> {
  for (const path of env.SSL_CERT_FILE ? [env.SSL_CERT_FILE] : bundles) {
    const mark = await markOf(path);
    if (mark === null) continue;
    if (last?.path !== path || last.mark !== mark) last = { path, mark, authorities: [await readFile(path, 'utf8')] };
    return last.authorities;
  }
  return rootCertificates;
}

/** What changes when a file does; null: there is none. */
async function markOf(path: string): Promise<string | null> {
  try {
    const { mtimeMs, size, ino } = await stat(path);
    return `${mtimeMs} ${size} ${ino}`;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return null;
    throw error;
  }
}
