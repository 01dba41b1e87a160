/** @file `npm run bench`: our speed and memory beside PyTorch's, in turns within one run. One JSON object a benchmark. */
import { parseArgs } from 'node:util';
import { methodNames } from '../cli/work/methods.ts';
import { deviceNames } from '../engine/run/devices.ts';
import { benchmarks } from './benchmarks.ts';
import { deviceRecords } from './devices.ts';
import { evaluationBenchmarks } from './evaluation.ts';
import { gpuRecords } from './gpu.ts';
import { methodRecords } from './methods.ts';
import { python, torchVersion } from './process.ts';
import { toyRecords } from './toys.ts';

const HELP = `npm run bench -- [devices | gpu | eval | methods | toys] [--only NAME] [--threads N] [--runs N] [--no-peer] [--no-compile] [--seeds N,N]
  devices       training steps on each device that computes here, and the share of a step outside kernels
  gpu           values of training steps on an NVIDIA GPU beside the CPU's, times beside PyTorch's; writes docs/results/gpu/DEVICE.json
  eval          evaluation: ${Object.keys(evaluationBenchmarks).join(', ')}
  methods       every method beside DMD2, without peers
  toys          every method on mixtures in the plane; what was measured before is kept
  --only        one of ${Object.keys(benchmarks).join(', ')}; with methods and toys, one method; with devices, one device
  --threads     threads of either side; 0 (default) = all cores
  --runs        rounds that count, at least 5 (default)
  --seeds       seeds of toys; 1,2,3 (default)
  --no-peer     without PyTorch
  --no-compile  without torch.compile, which takes minutes to start
The interpreter with PyTorch is python3, or ONESTEP_PYTHON.`;

/** What goes over all methods or devices, one record after the other. */
const sweeps: Readonly<
  Record<
    string,
    (settings: { threads: number; runs: number; compile: boolean; seeds: readonly number[] }, only?: string) => AsyncIterable<object>
  >
> = {
  devices: deviceRecords,
  gpu: (settings) => gpuRecords(settings),
  methods: methodRecords,
  toys: ({ seeds }, only) => toyRecords(seeds, only),
};

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: {
      only: { type: 'string' },
      threads: { type: 'string', default: '0' },
      runs: { type: 'string', default: '5' },
      seeds: { type: 'string', default: '1,2,3' },
      'no-peer': { type: 'boolean', default: false },
      'no-compile': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  const [threads, runs] = [Number(values.threads), Number(values.runs)];
  const [what] = positionals;
  const records = sweeps[what ?? ''];
  const suite = what === 'eval' ? evaluationBenchmarks : benchmarks;
  const names = what === 'devices' ? deviceNames : records ? await methodNames() : Object.keys(suite);
  const seeds = values.seeds.split(',').map(Number);
  const known =
    (values.only === undefined || names.includes(values.only)) &&
    positionals.length === (records || what === 'eval' ? 1 : 0) &&
    seeds.every(Number.isInteger);
  if (values.help || !known || !(Number.isInteger(threads) && threads >= 0) || !(Number.isInteger(runs) && runs >= 1)) {
    process[values.help ? 'stdout' : 'stderr'].write(HELP + '\n');
    return values.help ? 0 : 2;
  }
  if (records) {
    for await (const record of records({ threads, runs, seeds, compile: !values['no-compile'] }, values.only))
      console.log(JSON.stringify(record));
    return 0;
  }
  const torch = values['no-peer'] ? null : await torchVersion();
  if (!torch && !values['no-peer'])
    process.stderr.write(
      `peers are skipped: ${python()} has no PyTorch (pip install torch==2.13.0 numpy, or name another interpreter in ONESTEP_PYTHON)\n`,
    );
  for (const name of values.only === undefined ? names : [values.only])
    console.log(JSON.stringify(await suite[name]!({ threads, runs, torch, compile: !values['no-compile'] })));
  return 0;
}

process.exitCode = await main();
