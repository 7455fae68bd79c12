import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AskedImage, imageNames } from '../../../src/image/naming.ts';
import type { Image } from '../../../src/model/image.ts';

const [a, b] = ['a'.repeat(64), 'b'.repeat(64)] as const;
const id = `sha256:${'1'.repeat(64)}`;
const image = (tags: string[], digests: string[]) => ({ id, tags, digests }) as unknown as Image;
const twice = image(
  ['r1.example/app:1', 'r1.example/app:2', 'r2.example/app:1'],
  [`r1.example/app@sha256:${a}`, `r2.example/app@sha256:${a}`, `r2.example/app@sha256:${b}`],
);
const hub = image(['docker.io/library/web:1', 'docker.io/library/web2:1'], [`docker.io/library/web@sha256:${a}`]);

const cases: [what: string, image: Image, asked: AskedImage, name: string, ref: string][] = [
  [
    'kubelet: the id, and the name of the user, whose repository the digest is of',
    twice,
    { image: id, userSpecifiedImage: 'r2.example/app:1' },
    'r2.example/app:1',
    `r2.example/app@sha256:${a}`,
  ],
  [
    'a name by digest has that digest',
    twice,
    { image: id, userSpecifiedImage: `r2.example/app:1@sha256:${b}` },
    `r2.example/app:1@sha256:${b}`,
    `r2.example/app@sha256:${b}`,
  ],
  [
    'the words of the user stay as they are',
    hub,
    { image: id, userSpecifiedImage: 'web' },
    'web',
    `docker.io/library/web@sha256:${a}`,
  ],
  [
    'a user who names a repository that the image is not in',
    hub,
    { image: id, userSpecifiedImage: 'mirror.example/web:1' },
    'mirror.example/web:1',
    `docker.io/library/web@sha256:${a}`,
  ],
  [
    'what is no reference is shown all the same',
    hub,
    { image: id, userSpecifiedImage: 'A B' },
    'A B',
    `docker.io/library/web@sha256:${a}`,
  ],
  [
    'crictl: the tag that was asked for',
    twice,
    { image: 'r1.example/app:2' },
    'r1.example/app:2',
    `r1.example/app@sha256:${a}`,
  ],
  ['a short name in full', hub, { image: 'web:1' }, 'docker.io/library/web:1', `docker.io/library/web@sha256:${a}`],
  [
    'by digest alone: a tag of that repository',
    twice,
    { image: `r2.example/app@sha256:${b}` },
    'r2.example/app:1',
    `r2.example/app@sha256:${b}`,
  ],
  ['an id alone: the first tag', twice, { image: id }, 'r1.example/app:1', `r1.example/app@sha256:${a}`],
  ['an id without its algorithm', twice, { image: '1'.repeat(64) }, 'r1.example/app:1', `r1.example/app@sha256:${a}`],
  [
    'the digest is of the repository of the tag shown',
    image(['r2.example/app:1'], twice.digests as string[]),
    { image: id },
    'r2.example/app:1',
    `r2.example/app@sha256:${a}`,
  ],
  [
    'no tag: the digest',
    image([], [`x.example/y@sha256:${a}`]),
    { image: id },
    `x.example/y@sha256:${a}`,
    `x.example/y@sha256:${a}`,
  ],
  ['no digest: the id', image(['localhost/made:1'], []), { image: id }, 'localhost/made:1', id],
  ['no name at all', image([], []), { image: id }, id, id],
  [
    'a repository whose name begins another',
    image([], [`r.example/app2@sha256:${a}`, `r.example/app@sha256:${a}`]),
    { image: 'r.example/app:1' },
    `r.example/app@sha256:${a}`,
    `r.example/app@sha256:${a}`,
  ],
];

for (const [what, of, asked, name, ref] of cases) {
  test(what, () => assert.deepEqual(imageNames(of, asked), { name, ref }));
}
