/** @file Who may import whom, and the other habits of the code that a grep can check. */
import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = import.meta.dirname;
const SKIPPED = new Set(['node_modules', 'dist', 'runs', '.git', 'coverage']);
const files = (folder = ''): string[] =>
  readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder ? `${folder}/${entry.name}` : entry.name;
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : files(path);
    return entry.isFile() ? [path] : [];
  });
const all = files();
const isCode = (path: string): boolean => /\.(ts|mjs)$/.test(path);
/** Product code: no tests, no helpers of tests, no tools that only development runs, no benchmarks. */
const isProduct = (path: string): boolean =>
  isCode(path) && path.includes('/') && !/\.test\.ts$|(^|\/)(testing|scripts)\/|^(bench|examples|docs)\//.test(path);
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** Our own folders; `contracts` are the files of engine/train that say what a method, a network, a schedule and a sampler are. */
type Place =
  | 'graph'
  | 'io'
  | 'random'
  | 'run'
  | 'train'
  | 'contracts'
  | 'samplers'
  | 'losses'
  | 'terms'
  | 'models'
  | 'data'
  | 'eval'
  | 'student'
  | 'page'
  | 'cli';
const CONTRACTS = ['loss', 'network', 'schedule', 'sampler', 'options', 'weights'].map((name) => `engine/train/${name}.ts`);
const EVERYTHING: readonly Place[] = [
  'graph',
  'io',
  'random',
  'run',
  'train',
  'samplers',
  'losses',
  'models',
  'data',
  'eval',
  'student',
  'cli',
];

interface Rule {
  /** Longest prefix wins. */
  readonly from: string;
  readonly may: readonly Place[];
  /** Packages; `node:` stands for everything that Node brings. */
  readonly npm: readonly string[];
}
const RULES: readonly Rule[] = [
  { from: 'engine/graph/', may: ['graph'], npm: [] },
  { from: 'engine/graph/onnx', may: ['graph'], npm: ['onnx-buf', '@bufbuild/protobuf'] },
  { from: 'engine/io/', may: ['io', 'random'], npm: ['node:'] },
  { from: 'engine/random/', may: ['io', 'random'], npm: [] },
  { from: 'engine/run/', may: ['graph', 'run', 'io', 'random'], npm: ['node:'] },
  // ort.ts and the parts that it was cut into.
  { from: 'engine/run/ort', may: ['graph', 'run', 'io', 'random'], npm: ['node:', 'onnxruntime-node', 'onnxruntime-common'] },
  // tfjs.ts and the parts that it was cut into: types alone, the package is found at run time.
  { from: 'engine/run/tfjs', may: ['graph', 'run', 'io'], npm: ['@tensorflow/tfjs-core'] },
  { from: 'engine/train/', may: ['graph', 'train', 'run', 'io', 'random'], npm: ['node:', 'zod'] },
  { from: 'samplers/', may: ['graph', 'contracts', 'samplers'], npm: [] },
  { from: 'losses/', may: ['graph', 'contracts', 'samplers', 'terms'], npm: [] },
  { from: 'models/', may: ['graph', 'contracts', 'models'], npm: [] },
  { from: 'models/foreign/', may: ['graph', 'contracts', 'models', 'io'], npm: ['onnx-buf', '@bufbuild/protobuf', 'zod'] },
  // Folders of pipelines: their schedulers are lists of levels and samplers.
  { from: 'models/foreign/diffusers/', may: ['graph', 'contracts', 'models', 'io', 'samplers'], npm: ['node:', 'zod'] },
  // Text into token numbers, and nowhere else.
  { from: 'models/foreign/tokenizer', may: ['io', 'models'], npm: ['@huggingface/tokenizers'] },
  { from: 'data/', may: ['io', 'random', 'data'], npm: ['node:', 'piscina'] },
  { from: 'data/image.ts', may: ['io', 'random', 'data'], npm: ['node:', 'sharp'] },
  { from: 'engine/io/source-loader.mjs', may: [], npm: ['tsx'] },
  { from: 'eval/', may: ['graph', 'contracts', 'run', 'io', 'random', 'models', 'data', 'eval'], npm: ['node:', 'piscina'] },
  { from: 'eval/sources/parquet.worker.ts', may: ['io', 'data', 'eval'], npm: ['hyparquet', 'hyparquet-compressors'] },
  // Checks what the files of published networks say.
  { from: 'eval/clip/', may: ['graph', 'contracts', 'run', 'io', 'random', 'models', 'data', 'eval'], npm: ['node:', 'zod'] },
  // Makes the encoder of captioned avatars.
  { from: 'eval/avatars/', may: ['graph', 'train', 'run', 'io', 'random', 'models', 'data', 'eval'], npm: ['node:'] },
  // Makes the feature network that evaluation ships with, by the engine's own trainer.
  { from: 'eval/classifier/', may: ['graph', 'train', 'run', 'io', 'random', 'models', 'data', 'eval'], npm: ['node:'] },
  { from: 'cli/', may: EVERYTHING, npm: ['node:', 'commander', 'yaml', 'zod'] },
  // Finished students in Node.
  { from: 'student/', may: ['run', 'io', 'random', 'data', 'student'], npm: [] },
  { from: 'student/folder.ts', may: ['io', 'student'], npm: ['node:'] },
  { from: 'student/student.ts', may: ['run', 'io', 'data', 'student'], npm: ['node:'] },
  // Reads what an exported student says of itself.
  { from: 'student/facts.ts', may: ['io', 'student'], npm: ['onnx-buf', '@bufbuild/protobuf'] },
  // Write pages, of whose own modules they know types alone.
  { from: 'cli/work/site', may: [...EVERYTHING, 'page'], npm: ['node:'] },
  // The programs that it writes import these.
  { from: 'cli/work/snippets.ts', may: ['student'], npm: ['node:', 'onnxruntime-node', 'sharp'] },
  // What runs in a browser; of the packages it knows types alone.
  { from: 'page/', may: ['run', 'random', 'data', 'student', 'page'], npm: ['onnxruntime-common'] },
];

const PREFIXES: readonly (readonly [string, Place])[] = [
  ['engine/graph/', 'graph'],
  ['engine/io/', 'io'],
  ['engine/random/', 'random'],
  ['engine/run/', 'run'],
  ['engine/train/', 'train'],
  ['samplers/', 'samplers'],
  ...readdirSync(join(root, 'losses'))
    .filter((file) => file.endsWith('terms.ts'))
    .map((file): readonly [string, Place] => [`losses/${file}`, 'terms']),
  ['losses/', 'losses'],
  ['models/', 'models'],
  ['data/', 'data'],
  ['eval/', 'eval'],
  ['student/', 'student'],
  ['page/', 'page'],
  ['cli/', 'cli'],
];
const placesOf = (path: string): readonly Place[] => {
  const found = PREFIXES.find(([prefix]) => path.startsWith(prefix))?.[1];
  const more = CONTRACTS.includes(path) ? (['contracts'] as const) : [];
  return found ? [found, ...(found === 'terms' ? (['losses'] as const) : []), ...more] : [];
};

const specifiers = (code: string): string[] =>
  [...code.matchAll(/^\s*(?:import|export)\b[^'";]*?from\s*'([^']+)'|^\s*import\s*'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/gm)].map(
    (m) => (m[1] ?? m[2] ?? m[3])!,
  );
const packageOf = (specifier: string): string =>
  specifier.startsWith('node:') || builtinModules.includes(specifier)
    ? 'node:'
    : specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/');

/** What is wrong with the imports of a file, one line each. */
function wrongImports(path: string, code: string): string[] {
  const rule = RULES.filter((r) => path.startsWith(r.from)).sort((a, b) => b.from.length - a.from.length)[0];
  if (!rule) return [`${path}: no rule says what it may import`];
  return specifiers(code).flatMap((specifier) => {
    if (!specifier.startsWith('.')) return rule.npm.includes(packageOf(specifier)) ? [] : [`${path} imports the package ${specifier}`];
    const target = normalize(join(dirname(path), specifier)).replaceAll('\\', '/');
    if (/(^|\/)testing\/|\.test\.ts$/.test(target)) return [`${path} imports the test helper ${target}`];
    return placesOf(target).some((place) => rule.may.includes(place)) ? [] : [`${path} imports ${target}`];
  });
}

/** Lines that match, as `path:line: text`. */
const hits = (path: string, pattern: RegExp): string[] =>
  read(path)
    .split('\n')
    .flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : []));
/** The same, where comments do not count. */
const codeHits = (path: string, pattern: RegExp): string[] => hits(path, pattern).filter((hit) => !/: (\/\/|\/?\*)/.test(hit));
const product = all.filter(isProduct);
const pure = product.filter((path) => /^(engine\/graph|losses|samplers|models)\//.test(path));

describe('imports', () => {
  test('the check sees what it should', () => {
    const bad =
      "import { x } from '../engine/run/ort.ts';\nimport {\n  y,\n} from 'sharp';\nexport * from '../data/image.ts';\nimport './terms.ts';";
    expect(wrongImports('losses/new.ts', bad)).toEqual([
      'losses/new.ts imports engine/run/ort.ts',
      'losses/new.ts imports the package sharp',
      'losses/new.ts imports data/image.ts',
    ]);
    expect(
      wrongImports('losses/new.ts', "import { mse } from './terms.ts';\nimport type { Loss } from '../engine/train/loss.ts';"),
    ).toEqual([]);
    expect(wrongImports('losses/new.ts', "import dmd2 from './dmd2.ts';")).toEqual(['losses/new.ts imports losses/dmd2.ts']);
    expect(wrongImports('models/new.ts', "import { read } from '../engine/io/zip.ts';")).toEqual([
      'models/new.ts imports engine/io/zip.ts',
    ]);
    expect(wrongImports('models/foreign/new.ts', "import { read } from '../../engine/io/zip.ts';")).toEqual([]);
    expect(product.length).toBeGreaterThan(50);
  });
  test('every folder imports only what it may', () => {
    expect(product.flatMap((path) => wrongImports(path, read(path)))).toEqual([]);
  });
  test('the entry only re-exports', () => {
    const statements = read('index.ts')
      .replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
      .split(';')
      .map((s) => s.trim())
      .filter((s) => s !== '');
    expect(statements.filter((s) => !/^export\b[\s\S]*\bfrom '[^']+'$/.test(s) && !/^import '[^']+'$/.test(s))).toEqual([]);
  });
});

describe('habits', () => {
  test('every source file says in one @file line what it is', () => {
    const wrong = all.filter(isCode).flatMap((path) => {
      const count = read(path).match(/^(?:\/\*\*| \*) @file \S/gm)?.length ?? 0;
      return count === 1 ? [] : [`${path}: ${count} @file lines`];
    });
    expect(wrong).toEqual([]);
  });
  test('no enum and no namespace', () => {
    const declared = /^\s*(export )?(declare )?(const )?(enum|namespace)\s+\w/;
    expect(all.filter(isCode).flatMap((path) => codeHits(path, declared))).toEqual([]);
  });
  test('graph, losses, samplers and models print nothing, wait for nothing and hold nothing', () => {
    expect(pure.flatMap((path) => codeHits(path, /\bconsole\.|\bprocess\./))).toEqual([]);
    expect(pure.filter((path) => !path.startsWith('models/foreign/')).flatMap((path) => codeHits(path, /\bawait\b/))).toEqual([]);
    expect(pure.flatMap((path) => codeHits(path, /^(export )?(let|var) /))).toEqual([]);
  });
  test('only the command line prints or exits', () => {
    // probe.ts is a process of its own, whose answer is what it prints; snippets.ts writes programs that print.
    const quiet = product.filter((path) => !/^cli\/(?!work\/)|^cli\/work\/(probe|snippets)\.ts$/.test(path));
    const printing = /\bconsole\.|\bprocess\.(exit|stdout|stderr)\b/;
    expect(quiet.flatMap((path) => codeHits(path, printing))).toEqual([]);
  });
  test('no paths of one machine', () => {
    const text = all.filter((path) => /\.(ts|mjs|md|json|ya?ml|svg|html|txt)$|^\.ci\//.test(path) && path !== 'package-lock.json');
    expect(text.length).toBeGreaterThan(100);
    const machine = new RegExp(['work', 'home', 'root', 'Users', 'tmp'].map((name) => `(^|[\\s'"\`(=])/${name}/\\w`).join('|'));
    expect(text.flatMap((path) => hits(path, machine))).toEqual([]);
  });
  test('product code reads nothing beside the project', () => {
    expect(product.flatMap((path) => codeHits(path, /\.\.\/shared\b/))).toEqual([]);
  });
});
