/** @file `onestep doctor`: what this machine has, and what would compute on it. */
import { Command } from 'commander';
import { say, short } from '../output.ts';
import { packageVersion } from '../version.ts';
import { type DeviceFacts, type Diagnosis, diagnose } from '../work/doctor.ts';

export const doctorCommand = (): Command =>
  new Command('doctor')
    .description('show versions, cores, memory and what each device can do on this machine')
    .option('--json', 'print one JSON object')
    .action(async ({ json }: { json?: boolean }) => {
      const diagnosis = await diagnose();
      if (json) say(JSON.stringify({ onestep: packageVersion(), ...diagnosis }));
      else for (const line of lines(diagnosis)) say(line);
    });

const words = (name: string, version: string | null, failure: string | null): string =>
  `${name} ${version ?? ''}: ${failure === null ? 'works' : `does not work: ${failure}`}`;

/** What a device does here, or what is missing for it. */
function deviceLine({ name, title, failure, milliseconds, software, words: means, needs, command }: DeviceFacts): string {
  const start = `--device ${name}: ${title}`;
  if (failure === null)
    return `${start} trains and samples; a trial took ${short(milliseconds!)} ms${software ? '; the adapter is in software' : ''}${means === null ? '' : `; ${means}`}`;
  return `${start} does not work: ${failure}; it needs ${needs}${command ? `; add what is missing with: ${command}` : ''}`;
}

function lines({ node, platform, processor, cores, memoryMegabytes, onnxruntime, sharp, devices, auto }: Diagnosis): string[] {
  return [
    `onestep ${packageVersion()}, Node ${node}, ${platform}`,
    `${processor}, ${cores} cores, ${memoryMegabytes.total} MB of memory, ${memoryMegabytes.free} MB free`,
    `ONNX Runtime ${onnxruntime.version}`,
    words('sharp', sharp.version, sharp.failure),
    ...devices.map(deviceLine),
    `--device auto: ${auto.device} (${auto.why})`,
  ];
}
