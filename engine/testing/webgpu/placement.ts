/** @file Whether ONNX Runtime puts every node of a model on an accelerator's provider. */
import { writeSync } from 'node:fs';
import * as ort from 'onnxruntime-node';

const settingsOf = (provider: 'webgpu' | 'cuda') =>
  ({
    executionProviders: [provider === 'webgpu' ? { name: provider, preferredLayout: 'NCHW' } : provider],
    enableMemPattern: false,
  }) as const;
const HEADING = '=== ';

/** Where not, the nodes are written to stderr, for `nodesElsewhere`. */
export async function staysOnProvider(name: string, model: Uint8Array, provider: 'webgpu' | 'cuda' = 'webgpu'): Promise<boolean> {
  const settings = settingsOf(provider);
  try {
    const strict = { ...settings, logSeverityLevel: 4, extra: { session: { disable_cpu_ep_fallback: '1' } } } as const;
    await (await ort.InferenceSession.create(model, strict)).release();
    return true;
  } catch {
    writeSync(2, `\n${HEADING}${name}\n`);
    await (await ort.InferenceSession.create(model, { ...settings, logSeverityLevel: 0 })).release();
    return false;
  }
}

/** Types of the nodes that were put on the CPU, by the name of their model; read from what such a process wrote to stderr. */
export function nodesElsewhere(stderr: string): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries(
    stderr
      .split(`\n${HEADING}`)
      .slice(1)
      .map((section) => {
        const [name = '', ...lines] = section.split('\n');
        const verdicts = lines.filter((line) => line.includes('VerifyEachNodeIsAssignedToAnEp'));
        let onCpu = false;
        const found = new Set<string>();
        for (const line of verdicts) {
          if (line.includes('placed on')) onCpu = line.includes('CPUExecutionProvider');
          else if (onCpu) found.add(/\]\s+(\w+) \(/.exec(line)?.[1] ?? line);
        }
        return [name, [...found].sort()] as const;
      }),
  );
}
