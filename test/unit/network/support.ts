import type { PodConfig } from '../../../src/model/config.ts';
import type { PodId } from '../../../src/model/ids.ts';

export const podId = 'ab'.repeat(32) as PodId;
/** As much of a pod as a network looks at. */
const config = {
  metadata: { name: 'web', namespace: 'shop', uid: 'u', attempt: 0 },
  portMappings: [],
  dns: null,
  annotations: {},
} as unknown as PodConfig;
export const attachment = { podId, config, netns: '/nowhere', cgroupPath: '' };
