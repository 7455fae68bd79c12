import type { Digest } from '../model/ids.ts';
import type { ImageConfig } from '../model/image.ts';
import { folded, parseJson } from './documents.ts';

/** An image's config document (OCI image-spec, config.md) of what Berth knows of it. */
export function configDocument(config: ImageConfig, diffIds: readonly Digest[]): object {
  const { os, architecture, variant, env, entrypoint, cmd, user, workingDir, labels, volumes, stopSignal } = config;
  const set = <T extends { length: number }>(key: string, value: T) => (value.length > 0 ? { [key]: value } : {});
  return {
    architecture,
    os,
    ...set('variant', variant),
    config: {
      ...set('Env', env),
      ...set('Entrypoint', entrypoint),
      ...set('Cmd', cmd),
      ...set('User', user),
      ...set('WorkingDir', workingDir),
      ...set('StopSignal', stopSignal),
      ...(Object.keys(labels).length > 0 ? { Labels: labels } : {}),
      ...(volumes.length > 0 ? { Volumes: Object.fromEntries(volumes.map((volume) => [volume, {}])) } : {}),
    },
    rootfs: { type: 'layers', diff_ids: diffIds },
  };
}

/** The same document over other layers. */
export function withLayers(document: Buffer, diffIds: readonly Digest[]): object {
  const others = Object.entries(parseJson(document, "image's config")).filter(([name]) => folded(name) !== 'rootfs');
  return { ...Object.fromEntries(others), rootfs: { type: 'layers', diff_ids: diffIds } };
}
