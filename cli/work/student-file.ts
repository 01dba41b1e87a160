/** @file Finished students as generators: what the commands draw from an ONNX file that `onestep export` wrote. */
import type { SampleType } from '../../engine/train/network.ts';
import { loadStudent } from '../../student/student.ts';
import type { Generator, GeneratorOptions } from './generator.ts';

export interface StudentFile {
  readonly sample: SampleType;
  /** Names and values that the exporter wrote into the file. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Its samples lie in [-1, 1]. */
  readonly generator: Generator;
}

/** Opens a student file, or its bytes. Errors as in `loadStudent`. */
export async function openStudentFile(
  file: string | Uint8Array,
  { batch = 100, threads = 0, device }: Pick<GeneratorOptions, 'batch' | 'threads' | 'device'> = {},
): Promise<StudentFile> {
  const student = await loadStudent(file, { threads, ...(device ? { device } : {}) });
  const { shape, classes, metadata, nfe } = student;
  return {
    sample: { shape, classes },
    metadata,
    generator: {
      nfe,
      sampler: 'student',
      async generate({ n, seed, labels, onProgress }) {
        const { images } = await student.sample({
          n,
          seed,
          batch,
          ...(labels ? { labels: Array.from(labels) } : {}),
          ...(onProgress ? { onProgress } : {}),
        });
        return images;
      },
      close: () => student.close(),
    },
  };
}
