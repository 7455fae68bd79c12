import { isObject } from '../base/json.ts';
import { parseDigest } from '../model/ids.ts';
import type { Image, ImageConfig } from '../model/image.ts';
import { checkConfig } from './config-limits.ts';

/**
 * Gives an image's record its type. What a pull would refuse now is refused here too, so that no code meets it: such an image
 * is pulled again, and that says why it cannot be.
 * @throws Error if a field is missing or has another type; Fault InvalidArgument for a config beyond the limits.
 */
export function parseImageRecord(json: unknown): Image {
  const record = object(json, 'record');
  const config = object(record.config, 'config');
  for (const name of ['os', 'architecture', 'variant', 'user', 'workingDir', 'stopSignal']) string(config[name], name);
  for (const name of ['env', 'entrypoint', 'cmd', 'volumes']) strings(config[name], name);
  Object.values(object(config.labels, 'labels')).forEach((value) => {
    string(value, 'label');
  });
  checkConfig(config as ImageConfig);
  return {
    id: parseDigest(string(record.id, 'id')) as string as Image['id'],
    tags: strings(record.tags, 'tags'),
    digests: strings(record.digests, 'digests'),
    config: config as ImageConfig,
    artifactType: record.artifactType === undefined ? '' : string(record.artifactType, 'artifactType'),
    passedOver: record.passedOver === undefined ? [] : strings(record.passedOver, 'passedOver'),
    layers: strings(record.layers, 'layers').map(parseDigest),
    size: number(record.size, 'size'),
    pulledAt: number(record.pulledAt, 'pulledAt'),
  };
}

function object(value: unknown, what: string): Record<string, unknown> {
  if (isObject(value)) return value;
  throw new Error(`${what} is not an object`);
}

function string(value: unknown, what: string): string {
  if (typeof value === 'string') return value;
  throw new Error(`${what} is not a string`);
}

function number(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  throw new Error(`${what} is not a whole number`);
}

function strings(value: unknown, what: string): string[] {
  if (Array.isArray(value)) return value.map((item) => string(item, what));
  throw new Error(`${what} is not a list`);
}
