/** @file `npx tsx bench/precision.ts`: errors of outputs and gradients of each family of networks in lower precision, as the table of docs/precision.md. */
import { NETWORKS, precisionError } from '../models/testing/precision-error.ts';

console.log('| network | float16: output | gradient | bfloat16: output | gradient |\n|---|---|---|---|---|');
for (const family of Object.keys(NETWORKS)) {
  const errors = [await precisionError(family, 'float16'), await precisionError(family, 'bfloat16')];
  const cells = errors.flatMap(({ output, gradient }) => [output, gradient]).map((v) => v.toExponential(1));
  console.log(`| \`${family}\` | ${cells.join(' | ')} |`);
}
