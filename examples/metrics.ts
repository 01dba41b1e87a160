/** @file Metrics: the Fréchet distance of two clouds whose distance is known, and the scores of real digits as if they were generated. */
import { evaluateSamples, fillNormal, frechetFromFeatures, frechetName, loadDataset, streamKey } from '../index.ts';

// N(0, 1) and N(1, 2²) in four dimensions: 4·((0 − 1)² + (1 − 2)²) = 8.
const d = 4;
const n = 50_000;
const cloud = (name: string, mean: number, std: number): Float32Array => {
  const points = new Float32Array(n * d);
  fillNormal(points, streamKey(0, 0, name), d);
  return points.map((v) => mean + std * v);
};
const distance = frechetFromFeatures(cloud('a', 0, 1), cloud('b', 1, 2), { d });
console.log(`two Gaussians: ${distance.toFixed(2)} (8 in the limit of many samples)`);

// A thousand digits that no network here was trained on.
const { heldOut } = await loadDataset('digits');
const images = heldOut.images.subarray(0, 1000 * 28 * 28);
const scores = await evaluateSamples('digits', { images, n: 1000, labels: heldOut.labels!.subarray(0, 1000) }, { neighbours: 0 });
console.log(`${frechetName('digits')} of 1,000 real digits to 8,000 others: ${scores.frechet.training.toFixed(2)}`);
console.log(`the classifier sees the right digit in ${((scores.classAccuracy ?? 0) * 100).toFixed(1)} % of them`);
