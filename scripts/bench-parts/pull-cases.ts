// What is pulled, from where, and what is aimed at.
import type { PullRepository } from './pull-images.ts';

/** Where an image is pulled from: the registry itself, one that speaks TLS, one that is 20 ms away. */
export type From = 'here' | 'tls' | 'far';

export type PullCase = {
  readonly what: string;
  readonly repository: PullRepository;
  readonly from: From;
  /** Tags that are there before the clock runs, and those that are pulled at once. */
  readonly before: readonly string[];
  readonly tags: readonly string[];
  readonly target: string;
};

const plain = (repository: PullRepository, what: string, target: string): PullCase => ({
  what,
  repository,
  from: 'here',
  before: [],
  tags: ['v1'],
  target: `<= ${target} x best peer`,
});

const seven = '154 MB in 7 layers';

export const pullCases: Readonly<Record<string, PullCase>> = {
  'large-files': plain('large-files', seven, '0.5'),
  'small-files': plain('small-files', '20,000 small files', '0.4'),
  'one-layer': plain('one-layer', 'one layer of 500 MB', '0.6'),
  'many-layers': plain('many-layers', '60 layers', '0.4'),
  zstd: plain('zstd', `${seven}, zstd`, '0.5'),
  sharing: { ...plain('sharing', 'five layers of seven are there', '0.5'), before: ['v1'], tags: ['v2'] },
  ten: {
    ...plain('ten', 'ten images of 22 MB at once', '0.5'),
    tags: Array.from({ length: 10 }, (_, i) => `v${i + 1}`),
  },
  far: { ...plain('large-files', `${seven}, 20 ms away`, '0.5'), from: 'far' },
  tls: { ...plain('large-files', `${seven}, TLS`, '0.5'), from: 'tls' },
};
