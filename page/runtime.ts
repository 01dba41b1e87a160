/** @file ONNX Runtime in a browser: which device computes, sessions on it, and tensors for it. */
import type { InferenceSession, Tensor } from 'onnxruntime-common';
import type { HostTensor } from '../engine/run/runtime.ts';
import type { Device } from './messages.ts';

type Ort = typeof import('onnxruntime-common');

/** ONNX Runtime on a device. */
export interface Engine {
  readonly device: Device;
  readonly threads: number;
  /** What a reader of its speed should know; mostly empty. */
  readonly note: string;
  readonly ort: Ort;
  /** @param resident names of outputs that stay on the device */
  session(bytes: Uint8Array, resident?: readonly string[]): Promise<InferenceSession>;
  tensor(value: HostTensor): Tensor;
}

const FILES: Readonly<Record<Device, string>> = { webgpu: 'ort.webgpu.min.mjs', wasm: 'ort.wasm.min.mjs' };
const MOST_THREADS = 8;

/** The part of WebGPU that is asked here; TypeScript's own types of it are not in every version. */
interface Gpu {
  requestAdapter(): Promise<{ readonly info?: { readonly isFallbackAdapter?: boolean }; readonly isFallbackAdapter?: boolean } | null>;
}

/** What the browser's graphics card can do for us: everything, everything slowly (in software), or nothing. */
async function graphics(): Promise<'card' | 'software' | 'none'> {
  const { gpu } = navigator as unknown as { readonly gpu?: Gpu };
  const adapter = await gpu?.requestAdapter().catch(() => null);
  if (!adapter) return 'none';
  return adapter.info?.isFallbackAdapter || adapter.isFallbackAdapter ? 'software' : 'card';
}

/**
 * Starts ONNX Runtime on the wanted device; `auto` takes a graphics card where there is one.
 * @param base address of the site @throws Error where the wanted device is not there
 */
export async function openEngine(base: URL, wanted: Device | 'auto', has: readonly Device[]): Promise<Engine> {
  const found = has.includes('webgpu') && wanted !== 'wasm' ? await graphics() : 'none';
  if (wanted === 'webgpu' && found === 'none')
    throw new Error(
      has.includes('webgpu')
        ? 'this browser offers no WebGPU here; choose another device'
        : 'this site was made without WebGPU; choose another device',
    );
  const device = wanted === 'auto' ? (found === 'card' ? 'webgpu' : 'wasm') : wanted;
  const ort = (await import(new URL(`ort/${FILES[device]}`, base).href)) as Ort;
  // Threads share memory, which browsers allow to pages that are isolated from other origins.
  const threads = device === 'wasm' && crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, MOST_THREADS) : 1;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = 'error';
  const note = found === 'software' && device === 'webgpu' ? 'in software' : '';
  return {
    device,
    threads,
    note,
    ort,
    session: (bytes, resident = []) =>
      ort.InferenceSession.create(bytes, {
        executionProviders: [device],
        graphOptimizationLevel: 'all',
        logSeverityLevel: 3,
        ...(device === 'webgpu' ? { preferredOutputLocation: Object.fromEntries(resident.map((name) => [name, 'gpu-buffer'])) } : {}),
      }),
    tensor: ({ dtype, data, shape }) => new ort.Tensor(dtype as 'float32', data as Float32Array, shape as number[]),
  };
}
