#!/usr/bin/env node
// Builds every test image. Without options it fills the cache that the tests serve from.
import { buildCatalog, ensureTestImages, pushImage } from '../test/images/index.ts';
import { writeLayout } from '../test/images/layout.ts';
import { optionsOf } from './options.ts';

const usage = `usage: test-images.ts [--push HOST:PORT] [--layout FILE.tar [--host NAME]]
  --push    also push every image to this registry (plain HTTP)
  --layout  also write every image to this OCI layout archive, named below --host (default localhost)`;

const { values } = optionsOf('node scripts/test-images.ts --help', {
  options: {
    push: { type: 'string' },
    layout: { type: 'string' },
    host: { type: 'string', default: 'localhost' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(usage);
} else {
  console.log(`Test images: ${await ensureTestImages()}`);
  const images = values.push || values.layout ? await buildCatalog() : [];
  if (values.layout) await writeLayout(values.layout, values.host, images);
  for (const image of values.push ? images : []) {
    await pushImage(values.push!, image);
    console.log(`${image.manifest.digest} ${image.names.join(' ')}`);
  }
}
