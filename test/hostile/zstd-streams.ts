// Random streams of zstd: as compressors make them, and damaged.
import { constants, zstdCompressSync } from 'node:zlib';
import { damaged, pick, type Random } from './fuzz-support.ts';
import { content } from './gzip-streams.ts';

const { ZSTD_c_checksumFlag, ZSTD_c_compressionLevel, ZSTD_c_windowLog } = constants;

function frame(random: Random): Buffer {
  const params = {
    [ZSTD_c_compressionLevel]: pick(random, [-5, 1, 3, 9, 19]),
    [ZSTD_c_checksumFlag]: random(2),
    ...(random(3) === 0 ? { [ZSTD_c_windowLog]: 10 + random(10) } : {}),
  };
  return zstdCompressSync(content(random), { params });
}

/** A frame that is skipped (RFC 8878, 3.1.2). */
function skipped(random: Random): Buffer {
  const data = Buffer.alloc(8 + random(random(10) === 0 ? 70_000 : 40));
  data.writeUInt32LE(0x184d2a50 + random(16));
  data.writeUInt32LE(data.length - 8, 4);
  return data;
}

/** Some frames, and every other time damage. */
export function zstdStream(random: Random): Buffer {
  const frames = Array.from({ length: 1 + random(3) }, () => (random(4) === 0 ? skipped(random) : frame(random)));
  const whole = Buffer.concat(frames);
  return random(2) === 0 ? whole : damaged(whole, random);
}
