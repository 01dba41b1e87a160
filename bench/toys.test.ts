/** @file The table of methods in the plane. */
import { expect, test } from 'vitest';
import { toyTable } from './toys.ts';

const outcome = { steps: 4000, shares: 0.031, stray: 0.002, floor: 0.01, seconds: 60 };

test('the nearest on the ring first; the worst number of modes, medians, every distance', () => {
  const lines = toyTable([
    { ...outcome, method: 'far', target: 'ring', seed: 1, modes: 8, distance: 0.2 },
    { ...outcome, method: 'near', target: 'ring', seed: 1, modes: 8, distance: 0.02 },
    { ...outcome, method: 'near', target: 'ring', seed: 2, modes: 7, distance: 0.03, shares: 0.051 },
    { ...outcome, method: 'none', target: 'checkerboard', seed: 1, modes: 6, distance: 0.1 },
  ]).split('\n');
  expect(lines).toHaveLength(5);
  expect(lines[0]).toContain('distance of each seed (floor 0.010)');
  expect(lines[2]).toBe('| `near` | 7 | 4.1 | 0.2 | 0.020, 0.030 | – | – | – | – |');
  expect(lines[3]).toMatch(/^\| `far` \| 8 \|/);
  expect(lines[4]).toBe('| `none` | – | – | – | – | 6 | 3.1 | 0.2 | 0.100 |');
});
