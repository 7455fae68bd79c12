import type { OpenHostFiles } from '../base/host-files.ts';
import { defaults } from '../base/settings.ts';
import { ownFiles } from '../sys/own-files.ts';
import type { LayerLimits } from './layer-form.ts';
import { hostPlatform, type Platform } from './platform.ts';

export type ImageSettings = {
  /** Where images' records and temporary files are. */
  readonly dataDir: string;
  /** `certs.d` directories, separated by colons: `<host>/hosts.toml`. */
  readonly certsDir: string;
  /** CRI-O's registries.conf; empty: none. */
  readonly registriesConf?: string;
  /** Credentials of the node, as `docker login` writes them; empty: none. */
  readonly authFile?: string;
  /** Who reads those three; the daemon must not hang with them. */
  readonly hostFiles?: OpenHostFiles;
  readonly platform?: Platform;
  /** Layers that are fetched and unpacked at once, over all pulls: as many worker threads. */
  readonly maxParallelLayers?: number;
  /** Parts of one large layer that are fetched at once; 1: every layer over one connection. */
  readonly connectionsPerLayer?: number;
  /** A whole pull, in milliseconds; 0: as long as bytes move. */
  readonly pullTimeoutMs?: number;
  /** The longest time until a server answers, in milliseconds. */
  readonly firstByteTimeoutMs?: number;
  /** The longest time without a byte fetched or written, in milliseconds. */
  readonly progressTimeoutMs?: number;
  readonly limits?: Partial<Limits>;
  /** Unpacks every layer on those below it, as is done where its meaning is in doubt; only tests say it. */
  readonly inOrderOnly?: boolean;
};

/** Of one image, over all its layers. */
export type Limits = LayerLimits & {
  readonly maxLayers: number;
  readonly maxManifestBytes: number;
  readonly maxConfigBytes: number;
};

/** The settings with every default filled in. */
export const withDefaults = (settings: ImageSettings) => ({
  registriesConf: defaults.images.registriesConf,
  authFile: defaults.images.authFile,
  hostFiles: ownFiles as OpenHostFiles,
  maxParallelLayers: defaults.images.maxParallelLayers,
  connectionsPerLayer: defaults.images.connectionsPerLayer,
  pullTimeoutMs: 0,
  inOrderOnly: false,
  firstByteTimeoutMs: defaults.timeouts.pullFirstByte * 1000,
  progressTimeoutMs: defaults.timeouts.pullProgress * 1000,
  ...settings,
  platform: settings.platform ?? hostPlatform(),
  limits: { ...defaults.images.limits, ...settings.limits },
});

export type FullSettings = ReturnType<typeof withDefaults>;
