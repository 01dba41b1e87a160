/** @file An extractor for tests of the pool: the mean of each picture, and a worker that ends with pictures of certain bytes. */
import { existsSync, writeFileSync } from 'node:fs';
import type { PictureExtractor } from '../features/extractor.ts';

/**
 * A picture whose first byte is 255 ends the worker; one of 254 does so once, as long as the file `once` is not there; one of 253 takes long.
 */
export default async function open(options: Readonly<Record<string, unknown>>): Promise<PictureExtractor> {
  return {
    name: 'mean',
    checksum: '0'.repeat(64),
    dimensions: 1,
    classes: 0,
    resize: 'none',
    channels: 1,
    batch: 2,
    shard: 4,
    prepare({ pixels, height, width }) {
      const once = String(options['once']);
      if (pixels[0] === 255) process.exit(7);
      if (pixels[0] === 254 && !existsSync(once)) {
        writeFileSync(once, '');
        process.exit(7);
      }
      return { values: Float32Array.from(pixels), shape: [1, height, width] };
    },
    async run(values, n) {
      const each = values.length / n;
      if (values[0] === 253) await new Promise((resolve) => setTimeout(resolve, 60_000));
      const features = Float32Array.from(
        { length: n },
        (_, i) => values.subarray(i * each, (i + 1) * each).reduce((a, b) => a + b, 0) / each,
      );
      return { features, logits: null };
    },
    async close() {},
  };
}
