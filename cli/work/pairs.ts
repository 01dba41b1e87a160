/**
 * @file Pairs of noise and the teacher's sample of it, made once and stored: samples and classes as tensors, the noise as the seed from which it
 * is made again.
 */

import { InputError } from '../../engine/io/errors.ts';
import { fromBigInt64, fromFloat32, readSafetensors, toBigInt64, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { fillIndex, streamKey } from '../../engine/random/philox.ts';
import type { DeviceName } from '../../engine/run/devices.ts';
import type { SampleType } from '../../engine/train/network.ts';
import type { Batch } from '../../engine/train/trainer.ts';
import { deviceNamed } from './device.ts';
import { drawSamples, type Pace } from './drawing.ts';
import { openGenerator, sampleNoise } from './generator.ts';
import type { Model } from './model.ts';
import { evenLabels } from './scores.ts';

export interface PairsRequest {
  readonly n: number;
  readonly seed: number;
  readonly steps: number;
  readonly guidance: number;
  readonly batch: number;
  readonly threads: number;
  readonly device?: DeviceName | 'auto';
  readonly onPace?: (pace: Pace) => void;
}

const KIND = 'onestep pairs 1';

/** Draws pairs along the teacher's deterministic trajectory and writes them. Errors: a model that is no denoiser. */
export async function makePairs(path: string, teacher: Model, request: PairsRequest): Promise<void> {
  const { n, seed, steps, guidance, batch, threads, device: word = 'cpu', onPace } = request;
  const { sample, levels } = teacher.card;
  if (levels) throw new InputError(`pairs: ${teacher.source} is a student; give the teacher that it comes from`);
  const device = deviceNamed(word);
  const generator = openGenerator(teacher, { sampler: 'heun', steps, guidance, batch, threads, device, latents: true });
  try {
    const labels = evenLabels(n, sample.classes);
    const { images } = await drawSamples({ generator }, { n, seed, labels }, onPace);
    const tensors = {
      samples: fromFloat32(images, [n, ...sample.shape]),
      ...(labels ? { labels: fromBigInt64(BigInt64Array.from(labels, BigInt), [n]) } : {}),
    };
    const facts = { kind: KIND, teacher: teacher.source, seed, steps, guidance, nfe: generator.nfe };
    await writeSafetensors(path, tensors, Object.fromEntries(Object.entries(facts).map(([name, value]) => [name, String(value)])));
  } finally {
    await generator.close();
  }
}

/** Stored pairs in memory. */
export interface PairSource {
  readonly n: number;
  /** The pairs of a step: picked by (seed, step), whatever came before. */
  at(step: number, count: number): NonNullable<Batch['pairs']>;
}

/** Opens stored pairs. Errors: another kind of file, or samples of another type than the teacher's. */
export async function openPairs(path: string, { shape, classes }: SampleType, seed: number): Promise<PairSource> {
  const { tensors, metadata } = await readSafetensors(path);
  const samples = tensors.get('samples');
  if (metadata['kind'] !== KIND || !samples) throw new InputError(`pairs: ${path} holds no pairs; make them with onestep pairs`);
  const [n = 0, ...own] = samples.shape;
  const labels = tensors.get('labels');
  if (own.join() !== shape.join() || Boolean(labels) !== classes > 0)
    throw new InputError(
      `pairs: ${path} holds samples [${own}] ${labels ? 'with' : 'without'} classes, the teacher makes [${shape}] ${classes > 0 ? 'with' : 'without'}; make them again with this teacher`,
    );
  const size = shape.reduce((a, b) => a * b, 1);
  const images = toFloat32(samples);
  const noise = sampleNoise([n, ...shape], Number(metadata['seed']), 0, 0).data as Float32Array;
  const classOf = labels ? toBigInt64(labels) : null;
  return {
    n,
    at(step, count) {
      const picked = new Int32Array(count);
      fillIndex(picked, streamKey(seed, step, 'pairs'), 1, n, 0);
      const gather = (from: Float32Array): Float32Array => {
        const out = new Float32Array(count * size);
        picked.forEach((p, i) => {
          out.set(from.subarray(p * size, (p + 1) * size), i * size);
        });
        return out;
      };
      const rows = classOf && new Float32Array(count * classes);
      if (rows) for (const [i, p] of picked.entries()) rows[i * classes + Number(classOf[p])] = 1;
      return { noise: gather(noise), samples: gather(images), labels: rows };
    },
  };
}
