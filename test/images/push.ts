import type { BuiltImage } from './image.ts';
import type { Blob } from './layer.ts';

/** Pushes an image under all of its names to a registry on plain HTTP (`host:port`). What is there is not sent again. */
export async function pushImage(registry: string, image: BuiltImage): Promise<void> {
  for (const name of image.names) {
    const [repository = '', tag = ''] = name.split(':');
    for (const blob of [...image.layers, image.config]) await pushBlob(registry, repository, blob);
    const { mediaType, bytes } = image.manifest;
    await put(`http://${registry}/v2/${repository}/manifests/${tag}`, bytes, mediaType);
  }
}

async function pushBlob(registry: string, repository: string, { digest, bytes }: Blob): Promise<void> {
  const base = `http://${registry}/v2/${repository}/blobs`;
  if ((await fetch(`${base}/${digest}`, { method: 'HEAD' })).ok) return;
  const session = await fetch(`${base}/uploads/`, { method: 'POST' });
  const location = session.headers.get('location');
  if (session.status !== 202 || !location) throw new Error(`Cannot start an upload at ${base}: ${session.status}`);
  const target = new URL(location, base);
  target.searchParams.set('digest', digest);
  await put(target.href, bytes, 'application/octet-stream');
}

async function put(url: string, bytes: Buffer, mediaType: string): Promise<void> {
  const answer = await fetch(url, {
    method: 'PUT',
    body: new Uint8Array(bytes),
    headers: { 'content-type': mediaType },
  });
  if (answer.status !== 201) throw new Error(`PUT ${url}: ${answer.status} ${(await answer.text()).slice(0, 500)}`);
}
