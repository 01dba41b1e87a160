/** @file Trains tiny networks by one method on the CPU and on WebGPU and prints both curves; a process of its own. */
import { ortRuntime } from '../../engine/run/ort.ts';
import { webgpuRuntime } from '../../engine/run/ort-webgpu.ts';
import { type NetworkName, tinyCurve, tinyRun } from './tiny-runs.ts';

const [method = '', network = '', steps = '', options = '{}'] = process.argv.slice(2);
const run = await tinyRun(method, network as NetworkName, JSON.parse(options) as Record<string, unknown>, Number(steps));
const cpu = await tinyCurve(ortRuntime({ threads: 1 }), run, Number(steps));
const webgpu = await tinyCurve(webgpuRuntime(), run, Number(steps), 3);
process.stdout.write(`${JSON.stringify({ cpu, webgpu })}\n`);
