import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type Certificate = { readonly key: string; readonly cert: string };

/** A new self-signed certificate for 127.0.0.1, and its key; PEM. */
export function makeCertificate(): Certificate {
  const scratch = mkdtempSync(join(tmpdir(), 'berth-certificate-'));
  const [key, cert] = [join(scratch, 'key.pem'), join(scratch, 'cert.pem')];
  const names = ['-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const options = ['-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '2', ...names];
  try {
    execFileSync('/usr/bin/openssl', ['req', '-x509', ...options], { stdio: 'ignore' });
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
