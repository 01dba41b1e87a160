/** @file What lives between runs on TensorFlow.js: uploaded when a program first needs it, brought back when the last program is closed. */
import { type DType, sizeOf } from '../graph/tensor.ts';
import type { HostTensor, State } from './runtime.ts';
import type { Tf, Value } from './tfjs-library.ts';
import { downloaded, uploaded } from './tfjs-memory.ts';

interface Slot {
  readonly dtype: DType;
  readonly shape: readonly number[];
  now: Value | HostTensor;
}
const isHost = (value: Value | HostTensor): value is HostTensor => 'data' in value && typeof value.data !== 'function';
const copied = ({ dtype, shape, data }: HostTensor): HostTensor => ({ dtype, shape, data: data.slice() as HostTensor['data'] });

export class TfjsState implements State {
  private readonly slots = new Map<string, Slot>();
  private programs = 0;

  constructor(initial: Readonly<Record<string, HostTensor>>) {
    for (const [name, value] of Object.entries(initial))
      this.slots.set(name, { dtype: value.dtype, shape: value.shape, now: copied(value) });
  }
  names(): readonly string[] {
    return [...this.slots.keys()];
  }
  has(name: string): boolean {
    return this.slots.has(name);
  }
  async read(name: string): Promise<HostTensor> {
    return this.here(this.slot(name));
  }
  async write(name: string, { data }: HostTensor): Promise<void> {
    const { dtype, shape } = this.slot(name);
    if (data.length !== sizeOf(shape)) throw new TypeError(`state: ${name} holds ${sizeOf(shape)} values, got ${data.length}`);
    this.set(name, copied({ dtype, shape, data }));
  }
  /** The value there. Errors: as `uploaded`. */
  current(tf: Tf, name: string): Value {
    const slot = this.slot(name);
    if (isHost(slot.now)) slot.now = uploaded(tf, `state ${name}`, slot.now);
    return slot.now;
  }
  /** Takes a value over and frees the one before. */
  set(name: string, value: Value | HostTensor): void {
    const slot = this.slot(name);
    if (!isHost(slot.now)) slot.now.dispose();
    slot.now = value;
  }
  /** One more program computes with it. */
  open(): void {
    this.programs += 1;
  }
  /** One less. After the last one nothing is left there. */
  leave(): void {
    this.programs -= 1;
    if (this.programs === 0) for (const [name, slot] of this.slots) this.set(name, this.here(slot));
  }
  private here({ now, dtype }: Slot): HostTensor {
    return isHost(now) ? copied(now) : downloaded(now, dtype);
  }
  private slot(name: string): Slot {
    const slot = this.slots.get(name);
    if (!slot) throw new TypeError(`state: there is no ${name}; there are ${this.names().join(', ')}`);
    return slot;
  }
}
