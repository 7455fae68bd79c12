import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { type Pack, pack } from 'tar-stream';

export const demoName = 'localhost/berth-demo:latest';

const page = `<!doctype html>
<title>Berth</title>
<h1>A pod runs on Berth.</h1>
`;
const applets = ['sh', 'httpd', 'ls', 'cat', 'ps', 'ip', 'sleep', 'wget', 'hostname'];

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** A docker-archive (docker save) with one image: a static busybox and a page. */
export async function demoImage(busybox: Buffer): Promise<Buffer> {
  const layer = await archive((tar) => {
    for (const name of ['bin/', 'etc/', 'www/', 'tmp/'])
      tar.entry({ name, type: 'directory', mode: name === 'tmp/' ? 0o1777 : 0o755 });
    tar.entry({ name: 'bin/busybox', mode: 0o755 }, busybox);
    for (const name of applets) tar.entry({ name: `bin/${name}`, type: 'symlink', linkname: 'busybox' });
    tar.entry({ name: 'etc/passwd' }, 'root:x:0:0:root:/:/bin/sh\n');
    tar.entry({ name: 'etc/group' }, 'root:x:0:\n');
    tar.entry({ name: 'www/index.html' }, page);
  });
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config: { Env: ['PATH=/bin'], Cmd: ['/bin/sh'] },
      rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
    }),
  );
  const manifest = [{ Config: `${sha256(config)}.json`, RepoTags: [demoName], Layers: ['layer.tar'] }];
  return archive((tar) => {
    tar.entry({ name: 'manifest.json' }, JSON.stringify(manifest));
    tar.entry({ name: `${sha256(config)}.json` }, config);
    tar.entry({ name: 'layer.tar' }, layer);
  });
}

async function archive(fill: (tar: Pack) => void): Promise<Buffer> {
  const tar = pack();
  fill(tar);
  tar.finalize();
  return buffer(tar);
}
