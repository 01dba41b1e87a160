/** @file A server of pictures: GET /?seed=1&label=3 answers with a PNG of a finished student. */
import { createServer, type Server } from 'node:http';
import * as one from '../../index.ts';

/** Serves the student of a file. */
export async function serve(file: string, port = 8000): Promise<Server> {
  const student = await one.loadStudent(file);
  const server = createServer(async ({ url }, response) => {
    const { searchParams } = new URL(url!, 'http://localhost');
    const labels = searchParams.getAll('label').map(Number);
    try {
      const [png] = await student.samplePng({ seed: Number(searchParams.get('seed')), labels });
      response.setHeader('Content-Type', 'image/png').end(png);
    } catch (error) {
      response.writeHead(error instanceof one.InputError ? 400 : 500).end(`${(error as Error).message}\n`);
    }
  });
  server.once('close', () => void student.close());
  return new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(server)));
}
if (import.meta.filename === process.argv[1]) await serve(process.argv[2] ?? 'student.onnx');
