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

interface Rated {
  readonly name: string;
  readonly unit: string;
  /** What bench/serve.ts calls it. */
  readonly work: string;
  readonly peer: { readonly name: string; readonly script: string; readonly module: string };
  /** Whether our side writes for a peer only what a peer reads. */
  readonly alone: boolean;
}
/** Images per second of a work, beside a peer's on the same inputs and weights. */
async function rated({ name, unit, work, peer: other, alone }: Rated, { threads, runs, torch }: Settings): Promise<Result> {
  const beside = torch !== null && (await pythonHas(other.module));
  const folder = await mkdtemp(join(tmpdir(), 'onestep-bench-'));
  const sides: Side[] = [];
  try {
    sides.push(await ours(work, threads, beside || !alone ? folder : null));
    if (beside) sides.push(await peer(other.name, other.script, [folder, String(threads)]));
    const [own, theirs] = await takeTurns(sides, { benchmark: name, warmup: 1, runs, checked: 1 });
    const rate = ({ wall }: { readonly wall: number }): number => round((1000 * Number(sides[0]!.facts['images'])) / wall);
    return {
      name,
      unit,
      ours: rate(own!),
      ...(theirs ? { peer: rate(theirs), ratio: round(theirs.wall / own!.wall), agree: true } : {}),
      cpu: { ours: round(own!.cpu), ...(theirs ? { peer: round(theirs.cpu) } : {}) },
      runs,
      threads: threads || 'all',
      peakMegabytes: { ours: Math.round(own!.peak), ...(theirs ? { peer: Math.round(theirs.peak) } : {}) },
      ...sides[0]!.facts,
    };
  } finally {
    await Promise.all(sides.map((side) => side.close().catch(() => {})));
    await rm(folder, { recursive: true, force: true });
  }
}

/** From JPEG files to moments with the FID Inception, beside pytorch-fid. */
const images = (settings: Settings): Promise<Result> =>
  rated(
    {
      ...{ name: 'images-to-moments', unit: 'images/s', work: 'images', alone: false },
      peer: { name: 'pytorch-fid', script: 'images.py', module: 'pytorch_fid.fid_score' },
    },
    settings,
  );

/** Images and as many texts through the towers of CLIP ViT-B/32, beside transformers. */
const clip = (settings: Settings): Promise<Result> =>
  rated(
    {
      ...{ name: 'clip-towers', unit: 'images and texts/s', work: 'clip', alone: true },
      peer: { name: 'transformers', script: 'clip.py', module: 'transformers' },
    },
    settings,
  );

export const evaluationBenchmarks: Readonly<Record<string, (settings: Settings) => Promise<Result>>> = {
  'images-to-moments': images,
  'frechet-2048': frechet,
  'clip-towers': clip,
};
