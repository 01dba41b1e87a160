/** @file Compiles for WebGPU, or the provider of the second argument, what the first names and says which nodes ONNX Runtime would put elsewhere; a process of its own. */
import '../../engine/graph/fluent.ts';
import { gradients } from '../../engine/graph/gradients.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { mean } from '../../engine/graph/ops/reduce.ts';
import { programFile } from '../../engine/run/ort.ts';
import { staysOnProvider } from '../../engine/testing/webgpu/placement.ts';
import { buildPhases, declarationsOf } from '../../engine/train/program.ts';
import { recordingScope } from '../../engine/train/weights.ts';
import { diffusersNetwork, foreignDenoiser, networkNames } from '../../models/foreign/diffusers/networks.ts';
import { readScheduler } from '../../models/foreign/diffusers/schedulers.ts';
import { SMALL } from '../../models/foreign/diffusers/testing/small.ts';
import { methodNames, NETWORKS, type NetworkName, tinyRun } from './tiny-runs.ts';

const provider = process.argv[3] === 'cuda' ? 'cuda' : 'webgpu';

type Named = readonly [name: string, model: Uint8Array];

/** The programs of a method's phases. */
async function* phasesOf(method: string, network: NetworkName): AsyncIterable<Named> {
  const { settings, weights } = await tinyRun(method, network);
  const names = (averages: typeof settings.averages) =>
    Object.fromEntries(Object.entries(averages).map(([player, list]) => [player, list.map(({ name }) => name)]));
  const phases = buildPhases(settings.stage, declarationsOf(settings.stage), weights, {
    ...settings,
    averages: names(settings.averages),
  });
  for (const { phase, fused, part, apply } of phases)
    for (const [kind, program] of Object.entries(method === 'dmd2' ? { fused, part, apply } : { fused }))
      yield [`${method} ${phase} ${kind} on ${network}`, (await programFile(program, provider)).model];
}

/** A small network of a class of diffusers and its gradients in all weights. */
async function foreign(name: string): Promise<Named> {
  const network = diffusersNetwork(name, { _class_name: name, ...SMALL[name] });
  const schedule = readScheduler(name, { _class_name: network.flow ? 'FlowMatchEulerDiscreteScheduler' : 'DDIMScheduler' });
  const { scope, tensors } = recordingScope('model');
  const given = Object.fromEntries(Object.entries(network.conditions).map(([key, shape]) => [key, input(key, [2, ...shape])]));
  const x = input('x', [2, network.channels, 8, 8]);
  const denoised = foreignDenoiser(network.raw(scope), schedule).denoise(x, input('sigma', [2, 1, 1, 1]), given);
  const loss = mean(denoised.square());
  const slopes = gradients(loss, [x, ...tensors.values()]).map((slope, i) => [`slope ${i}`, slope] as const);
  return [name, (await programFile({ outputs: { denoised, ...Object.fromEntries(slopes) }, updates: new Map() }, provider)).model];
}

/** Models by what they are. */
async function* models(): AsyncIterable<Named> {
  const [what] = process.argv.slice(2);
  if (what === 'networks') for (const name of Object.keys(NETWORKS) as NetworkName[]) yield* phasesOf('edm', name);
  if (what === 'methods') for (const name of methodNames) yield* phasesOf(name, 'small-unet');
  if (what === 'foreign') for (const name of networkNames) yield foreign(name);
}

const elsewhere: string[] = [];
let compiled = 0;
for await (const [name, model] of models()) {
  compiled += 1;
  if (!(await staysOnProvider(name, model, provider))) elsewhere.push(name);
}
process.stdout.write(`${JSON.stringify({ compiled, elsewhere })}\n`);
