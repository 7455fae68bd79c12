// A token service as the distribution project specifies it, with a key of its own.
import { createPrivateKey, createSign, X509Certificate } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { makeCertificate } from './certificate.ts';
import { listening } from './listening.ts';

export type TokenRequest = {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  readonly fields: Readonly<Record<string, string>>;
};

export type TokenServer = AsyncDisposable & {
  /** For startRegistry. */
  readonly settings: { realm: string; service: string; issuer: string; certificate: string };
  readonly asked: TokenRequest[];
};

const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Grants what is asked for to test:secret, and to the identity token `identity`; others get a token for nothing. */
export async function startTokenServer(): Promise<TokenServer> {
  const made = makeCertificate();
  const key = createPrivateKey(made.key);
  const certificate = made.cert;
  const der = new X509Certificate(certificate).raw.toString('base64');
  const asked: TokenRequest[] = [];
  const settings = { realm: '', service: 'test-registry', issuer: 'test-issuer', certificate };

  const token = (scope: string, granted: boolean): string => {
    const [type = '', name = '', actions = ''] = scope.split(':');
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: settings.issuer,
      aud: settings.service,
      sub: 'test',
      nbf: now - 60,
      iat: now - 60,
      exp: now + 600,
      jti: String(asked.length),
      access: granted ? [{ type, name, actions: actions.split(',') }] : [],
    };
    const signed = `${base64({ typ: 'JWT', alg: 'RS256', x5c: [der] })}.${base64(claims)}`;
    return `${signed}.${createSign('RSA-SHA256').update(signed).sign(key).toString('base64url')}`;
  };

  const server: Server = createServer(async (incoming, outgoing) => {
    let body = '';
    for await (const part of incoming) body += part;
    const url = new URL(incoming.url ?? '', 'http://x');
    const fields = Object.fromEntries(incoming.method === 'POST' ? new URLSearchParams(body) : url.searchParams);
    asked.push({ method: incoming.method ?? '', headers: incoming.headers, fields });
    const basic = `Basic ${Buffer.from('test:secret').toString('base64')}`;
    const granted = incoming.headers.authorization === basic || fields.refresh_token === 'identity';
    if (incoming.headers.authorization && !granted) outgoing.writeHead(401).end();
    else outgoing.end(JSON.stringify({ access_token: token(fields.scope ?? '', granted) }));
  });
  const { host, ...end } = await listening(server);
  settings.realm = `http://${host}/token`;
  return { settings, asked, ...end };
}
