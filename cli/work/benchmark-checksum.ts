/** @file What tells one model from another, whatever it is called: a checksum over its weights and its card. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileFailure } from '../../engine/io/failures.ts';
import { isStudentFolder, studentPath } from '../../student/folder.ts';
import { loadModel } from './model.ts';

/** SHA-256, 64 hexadecimal digits. A finished student (.onnx) is its file's bytes. Errors as in `loadModel`. */
export async function modelChecksum(spec: string): Promise<string> {
  const hash = createHash('sha256');
  if (spec.endsWith('.onnx') || (await isStudentFolder(spec))) {
    const path = await studentPath(spec);
    const bytes = await readFile(path).catch((error: unknown) => {
      throw fileFailure('read', path, error);
    });
    return hash.update(bytes).digest('hex');
  }
  const { card, weights } = await loadModel(spec);
  hash.update(`${JSON.stringify(card)}\n`);
  for (const [name, { shape, data }] of [...weights].sort(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`${name} [${shape.join()}]\n`).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest('hex');
}
