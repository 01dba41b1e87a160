/** @file Benchmarks of evaluation: `npm run bench -- eval`. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Result, Settings } from './benchmarks.ts';
import { round, takeTurns } from './measure.ts';
import { ours, peer, pythonHas, type Side } from './process.ts';

/** Seconds of one distance between given moments, beside pytorch-fid's where the interpreter has it. */
async function frechet({ threads, runs, torch }: Settings): Promise<Result> {
  const beside = torch !== null && (await pythonHas('pytorch_fid.fid_score'));
  const folder = await mkdtemp(join(tmpdir(), 'onestep-bench-'));
  const sides: Side[] = [];
  try {
    sides.push(await ours('frechet', threads, folder));
    if (beside) sides.push(await peer('pytorch-fid', 'frechet.py', [folder, String(threads)]));
    const [own, other] = await takeTurns(sides, { benchmark: 'frechet-2048', warmup: 1, runs, checked: 1 });
    const seconds = (milliseconds: number): number => round(milliseconds / 1000);
    return {
      name: 'frechet-2048',
      unit: 's',
      ours: seconds(own!.wall),
      limit: 10,
      ...(other ? { peer: seconds(other.wall), ratio: round(own!.wall / other.wall), agree: true } : {}),
      cpu: { ours: seconds(own!.cpu), ...(other ? { peer: seconds(other.cpu) } : {}) },
      runs,
      threads: 'all',
      peakMegabytes: { ours: Math.round(own!.peak), ...(other ? { peer: Math.round(other.peak) } : {}) },
      ...sides[0]!.facts,
    };
  } finally {
    await Promise.all(sides.map((side) => side.close().catch(() => {})));
    await rm(folder, { recursive: true, force: true });
  }
}

/** Images per second from JPEG files to moments with the FID Inception, beside pytorch-fid's on the same files and weights. */
async function images({ threads, runs, torch }: Settings): Promise<Result> {
  const beside = torch !== null && (await pythonHas('pytorch_fid.fid_score'));
  const folder = await mkdtemp(join(tmpdir(), 'onestep-bench-'));
  const sides: Side[] = [];
  try {
    sides.push(await ours('images', threads, folder));
    if (beside) sides.push(await peer('pytorch-fid', 'images.py', [folder, String(threads)]));
    const [own, other] = await takeTurns(sides, { benchmark: 'images-to-moments', warmup: 1, runs, checked: 1 });
    const rate = ({ wall }: { readonly wall: number }): number => round((1000 * Number(sides[0]!.facts['images'])) / wall);
    return {
      name: 'images-to-moments',
      unit: 'images/s',
      ours: rate(own!),
      ...(other ? { peer: rate(other), ratio: round(other.wall / own!.wall), agree: true } : {}),
      cpu: { ours: round(own!.cpu), ...(other ? { peer: round(other.cpu) } : {}) },
      runs,
      threads: threads || 'all',
      peakMegabytes: { ours: Math.round(own!.peak), ...(other ? { peer: Math.round(other.peak) } : {}) },
      ...sides[0]!.facts,
    };
  } finally {
    await Promise.all(sides.map((side) => side.close().catch(() => {})));
    await rm(folder, { recursive: true, force: true });
  }
}

/** Images and as many texts per second through the towers of CLIP ViT-B/32, beside transformers' on the same weights. */
async function clip({ threads, runs, torch }: Settings): Promise<Result> {
  const beside = torch !== null && (await pythonHas('transformers'));
  const folder = await mkdtemp(join(tmpdir(), 'onestep-bench-'));
  const sides: Side[] = [];
  try {
    sides.push(await ours('clip', threads, beside ? folder : null));
    if (beside) sides.push(await peer('transformers', 'clip.py', [folder, String(threads)]));
    const [own, other] = await takeTurns(sides, { benchmark: 'clip-towers', warmup: 1, runs, checked: 1 });
    const rate = ({ wall }: { readonly wall: number }): number => round((1000 * Number(sides[0]!.facts['images'])) / wall);
    return {
      name: 'clip-towers',
      unit: 'images and texts/s',
      ours: rate(own!),
      ...(other ? { peer: rate(other), ratio: round(other.wall / own!.wall), agree: true } : {}),
      cpu: { ours: round(own!.cpu), ...(other ? { peer: round(other.cpu) } : {}) },
      runs,
      threads: threads || 'all',
      peakMegabytes: { ours: Math.round(own!.peak), ...(other ? { peer: Math.round(other.peak) } : {}) },
      ...sides[0]!.facts,
    };
  } finally {
    await Promise.all(sides.map((side) => side.close().catch(() => {})));
    await rm(folder, { recursive: true, force: true });
  }
}

export const evaluationBenchmarks: Readonly<Record<string, (settings: Settings) => Promise<Result>>> = {
  'images-to-moments': images,
  'frechet-2048': frechet,
  'clip-towers': clip,
};
