import type { RegistryAuth } from '../../src/image/index.ts';

/** What a pull shows, as CRI spells it: nothing but what is said. */
export const authOf = (shown: Partial<RegistryAuth>): RegistryAuth => ({
  ...{ username: '', password: '', auth: '', serverAddress: '', identityToken: '', registryToken: '' },
  ...shown,
});
