/** @file Compiles and runs every case of every operation on WebGPU: where its nodes are and how far it is from float64; a process of its own. */
import { toOnnx } from '../../graph/onnx.ts';
import { evaluate } from '../../graph/reference.ts';
import { simplify } from '../../graph/simplify.ts';
import { webgpuRuntime } from '../../run/ort-webgpu.ts';
import { allCases } from '../cases/index.ts';
import { derivativesOf, type OpCase, pointsOf } from '../gradcheck.ts';
import { hostFeeds } from '../parity.ts';
import { staysOnProvider } from './placement.ts';

const runtime = webgpuRuntime();

/** Largest deviation of values and first gradients at all points, relative to max(1, largest value). */
async function deviationOf(c: OpCase): Promise<number> {
  const { y, first, projections } = derivativesOf(c);
  const tensors = [y, ...first];
  const outputs = Object.fromEntries(tensors.map((t, i) => [`out ${i}`, t]));
  const { program } = await runtime.compile({ program: { outputs, updates: new Map() } }, runtime.state({}));
  let worst = 0;
  for (const [, values] of pointsOf(c)) {
    const feeds = { ...values, ...projections };
    const expected = evaluate(tensors, feeds);
    const actual = await program!.run(hostFeeds(tensors, feeds));
    expected.forEach(({ data }, i) => {
      const scale = data.reduce((m, v) => Math.max(m, Math.abs(v)), 1);
      const found = actual[`out ${i}`]!.data;
      data.forEach((v, k) => {
        const off = Object.is(Number(found[k]), v) ? 0 : Math.abs(Number(found[k]) - v) / scale;
        worst = off <= worst ? worst : off;
      });
    });
  }
  await program!.close();
  return worst;
}

const elsewhere: string[] = [];
const deviations: Record<string, number | string> = {};
for (const c of allCases) {
  const name = `${c.op} (${c.title})`;
  const { y, first } = derivativesOf(c);
  const outputs = Object.fromEntries(simplify([y, ...first]).map((t, i) => [`out ${i}`, t]));
  if (!(await staysOnProvider(name, toOnnx(outputs, { target: 'webgpu' })))) elsewhere.push(name);
  deviations[name] = await deviationOf(c).catch((error: unknown) => String(error));
}
process.stdout.write(`${JSON.stringify({ elsewhere, deviations })}\n`);
