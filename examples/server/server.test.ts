/** @file The example server answers with the samples of its student. */
import { writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tinyModel } from '../../cli/testing/tiny.ts';
import { studentOnnx } from '../../cli/work/exporting.ts';
import { tempFolder } from '../../data/testing/temp.ts';
import { loadStudent } from '../../index.ts';
import { serve } from './server.ts';

const folder = tempFolder();

test('a picture for seed and class; a mistake is one line', async () => {
  const file = join(folder, 'student.onnx');
  await writeFile(file, studentOnnx(tinyModel({ levels: [80] })));
  const server = await serve(file, 0);
  const ask = (query: string): Promise<Response> => fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/${query}`);
  const student = await loadStudent(file);
  const [wanted] = await student.samplePng({ seed: 4, labels: [7] });
  await student.close();
  const answer = await ask('?seed=4&label=7');
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'image/png']);
  expect(Buffer.from(await answer.arrayBuffer()).equals(wanted!)).toBe(true);
  const wrong = await ask('?label=12');
  expect([wrong.status, await wrong.text()]).toEqual([400, `label: 12 is no class of ${file}; it has 0 to 9\n`]);
  await new Promise((resolve) => server.close(resolve));
});
