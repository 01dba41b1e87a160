/** @file Images in parquet files as the Hugging Face hub stores data sets: a column of {bytes, path} or of bytes, and columns with label and caption. */
import { Piscina } from 'piscina';
import { InputError } from '../../engine/io/errors.ts';
import { errorCode } from '../../engine/io/failures.ts';
import { openRanges } from '../../engine/io/range-file.ts';
import { workerEntry } from '../../engine/io/threads.ts';
import type { Container, Item } from './container.ts';
import type { Answer, Columns, DescribeTask, Row, RowsTask, Table } from './parquet.worker.ts';

export type { Columns } from './parquet.worker.ts';

interface Tasks {
  readonly describeTable: { readonly task: DescribeTask; readonly value: Table };
  readonly readRows: { readonly task: RowsTask; readonly value: readonly Row[] };
}

/** A group of rows is read in a second or so; a damaged file may take for ever. */
const DEADLINE_MS = 120_000;

/** Threads that read parquet files, for all files of the process: they start with the first and end when there is nothing to read. */
const threads = new Piscina({
  ...(({ url, execArgv }) => ({ filename: url.href, execArgv }))(workerEntry(import.meta.url, 'parquet.worker')),
  minThreads: 0,
  maxThreads: 2,
  idleTimeout: 2000,
});

/** What became of a thread that gave no answer, or undefined where that is a mistake of our own. */
function lost(error: unknown, signal: AbortSignal, deadline: number): string | undefined {
  if (signal.aborted) return `no answer within ${deadline / 1000} s`;
  return errorCode(error) === 'ERR_WORKER_OUT_OF_MEMORY' ? 'it takes more memory than there is' : undefined;
}

async function ask<Name extends keyof Tasks>(name: Name, task: Tasks[Name]['task'], deadline: number): Promise<Tasks[Name]['value']> {
  const signal = AbortSignal.timeout(deadline);
  const answer = (await threads.run(task, { name, signal }).catch((error: unknown) => {
    const why = lost(error, signal, deadline);
    throw why === undefined ? error : new InputError(`${task.path}: cannot be read as a parquet file (${why}); a complete file expected`);
  })) as Answer<Tasks[Name]['value']>;
  if ('mistake' in answer) throw new InputError(answer.mistake);
  return answer.value;
}

function itemOf({ bytes, label, caption }: Row, name: string, column: string): Item {
  return {
    name,
    label,
    caption,
    load: async () => {
      if (bytes) return bytes;
      throw new InputError(`${name}: column ${column} holds no bytes of an image; a file with the images inside expected`);
    },
  };
}

/**
 * @param deadline milliseconds that a group of rows may take
 * @throws InputError where it is no parquet file, or has no column of images or none of the names that are wanted
 */
export async function openParquetImages(path: string, wanted: Columns = {}, deadline = DEADLINE_MS): Promise<Container> {
  const { columns, classes, groups } = await ask('describeTable', { path, wanted }, deadline);
  return {
    count: groups.reduce((sum, size) => sum + size, 0),
    classes,
    async *items(from, to) {
      let begin = 0;
      for (const size of groups) {
        const [rowStart, rowEnd] = [Math.max(from, begin), Math.min(to, begin + size)];
        begin += size;
        if (rowStart >= rowEnd) continue;
        // One group at a time is in memory.
        const rows = await ask('readRows', { path, columns, rowStart, rowEnd }, deadline);
        for (const [i, row] of rows.entries()) yield itemOf(row, `${path}[${rowStart + i}]`, columns.image);
      }
    },
    async digest(hash) {
      const file = await openRanges(path);
      try {
        for await (const chunk of file.stream(0, file.size)) hash.update(chunk);
      } finally {
        await file.close();
      }
    },
    async close() {},
  };
}
