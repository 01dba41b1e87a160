/** @file A process of its own that tries devices and prints what came of it: native code may write to stderr, or crash. */
import { type DeviceName, deviceOf, tryDevice } from '../../engine/run/devices.ts';

for (const name of process.argv.slice(2) as DeviceName[]) {
  const found = await tryDevice(name).then(
    async (milliseconds) => ({ milliseconds, failure: null, words: (await deviceOf(name).words?.()) ?? null }),
    (error: unknown) => ({ milliseconds: null, failure: (error as Error).message.split('\n')[0]!, words: null }),
  );
  process.stdout.write(`${JSON.stringify({ name, ...found })}\n`);
}
