/** @file Trains tiny networks by one method on the CPU and on another device and prints both curves; a process of its own. */
import { type DeviceName, deviceOf } from '../../engine/run/devices.ts';
import { type NetworkName, tinyCurve, tinyRun } from './tiny-runs.ts';

const [method = '', network = '', steps = '', options = '{}', name = 'webgpu'] = process.argv.slice(2);
const run = await tinyRun(method, network as NetworkName, JSON.parse(options) as Record<string, unknown>, Number(steps));
const cpu = await tinyCurve(deviceOf('cpu').runtime({ threads: 1 }), run, Number(steps));
const device = await tinyCurve(deviceOf(name as DeviceName).runtime({ threads: 1 }), run, Number(steps), 3);
process.stdout.write(`${JSON.stringify({ cpu, device })}\n`);
