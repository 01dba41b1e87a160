/** @file Programs of a few lines that draw samples of an exported student without onestep: in Python, in Node and in a browser. */
import type { StudentFacts } from '../../student/facts.ts';
import { noiseNames } from '../../student/folder.ts';

type Facts = Pick<StudentFacts, 'shape' | 'classes' | 'noises'>;

/** Samples that a program draws. */
const SAMPLES = 4;

/** Programs by the ending of their file. @param file name of the student beside them */
export const snippetsOf = (file: string, facts: Facts): Readonly<Record<'py' | 'mjs' | 'html', string>> => ({
  py: python(file, facts),
  mjs: node(file, facts),
  html: browser(file, facts),
});

const isPicture = ({ shape }: Facts): boolean => shape.length === 3 && (shape[0] === 1 || shape[0] === 3);
const list = (values: readonly (number | string)[]): string => values.map((v) => JSON.stringify(v)).join(', ');

function python(file: string, facts: Facts): string {
  const { shape, classes } = facts;
  const picture = isPicture(facts);
  const pixels = shape[0] === 1 ? 'sample[0]' : 'sample.transpose(1, 2, 0)';
  return `"""Draws samples of ${file}: pip install onnxruntime numpy${picture ? ' pillow' : ''}"""
import numpy as np
import onnxruntime${picture ? '\nfrom PIL import Image' : ''}

session = onnxruntime.InferenceSession("${file}", providers=["CPUExecutionProvider"])
n = ${SAMPLES}  # any number of samples at once
random = np.random.default_rng(seed=0)
inputs = {name: random.standard_normal((n, ${list(shape)}), dtype=np.float32) for name in [${list(noiseNames(facts))}]}
${classes > 0 ? `inputs["label"] = np.arange(n, dtype=np.int64) % ${classes}  # a class of 0 to ${classes - 1} for each sample\n` : ''}(image,) = session.run(["image"], inputs)  # float32 [n, ${list(shape)}], from -1 to 1
print(image.shape, image.min(), image.max())
${
  picture
    ? `for i, sample in enumerate(np.rint((image + 1) * 127.5).astype(np.uint8)):
    Image.fromarray(${pixels}).save(f"sample-{i}.png")
`
    : ''
}`;
}

/** What the programs in JavaScript share. \`Tensor\` is ONNX Runtime's. */
function inputs(facts: Facts): string {
  const { shape, classes } = facts;
  const size = shape.reduce((a, b) => a * b, 1);
  return `const n = ${SAMPLES}; // any number of samples at once
// Unit normal by Box and Muller; put a seeded generator in place of Math.random for samples that come again.
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
const inputs = {};
for (const name of [${list(noiseNames(facts))}])
  inputs[name] = new Tensor('float32', Float32Array.from({ length: n * ${size} }, normal), [n, ${list(shape)}]);
${classes > 0 ? `// A class of 0 to ${classes - 1} for each sample.\ninputs.label = new Tensor('int64', BigInt64Array.from({ length: n }, (_, i) => BigInt(i % ${classes})), [n]);\n` : ''}const { image } = await session.run(inputs); // float32 [n, ${list(shape)}], from -1 to 1`;
}

function node(file: string, facts: Facts): string {
  const { shape } = facts;
  const picture = isPicture(facts);
  const [channels, height, width] = shape;
  const size = shape.reduce((a, b) => a * b, 1);
  const raw = `{ raw: { width: ${width}, height: ${height}, channels: ${channels} } }`;
  const rearranged = `  // Channels come one after the other; sharp wants them side by side.
  const pixels = Uint8Array.from(bytes, (_, k) => bytes[(k % ${channels}) * ${Number(height) * Number(width)} + Math.floor(k / ${channels})]);
`;
  const save = `for (let i = 0; i < n; i++) {
  const bytes = Uint8Array.from(image.data.subarray(i * ${size}, (i + 1) * ${size}), (v) => Math.round((v + 1) * 127.5));
${channels === 1 ? '' : rearranged}  await sharp(${channels === 1 ? 'bytes' : 'pixels'}, ${raw}).toFile(\`sample-\${i}.png\`);
}
`;
  return `// Draws samples of ${file}: npm install onnxruntime-node${picture ? ' sharp' : ''}
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor } from 'onnxruntime-node';${picture ? "\nimport sharp from 'sharp';" : ''}

const session = await InferenceSession.create(fileURLToPath(new URL('${file}', import.meta.url)));
${inputs(facts)}
console.log(image.dims, image.data.reduce((a, b) => Math.min(a, b)), image.data.reduce((a, b) => Math.max(a, b)));
${picture ? save : ''}// With onestep the same seed gives the same samples everywhere: (await loadStudent('${file}')).sample({ n: ${SAMPLES}, seed: 0 }).
`;
}

function browser(file: string, facts: Facts): string {
  const [channels, height, width] = facts.shape;
  const area = Number(height) * Number(width);
  const draw = `for (let i = 0; i < n; i++) {
  const canvas = Object.assign(document.createElement('canvas'), { width: ${width}, height: ${height} });
  const pixels = new ImageData(${width}, ${height});
  for (let p = 0; p < ${area}; p++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * p + c] = (image.data[i * ${Number(channels) * area} + ${channels === 3 ? `c * ${area} + ` : ''}p] + 1) * 127.5;
    pixels.data[4 * p + 3] = 255;
  }
  canvas.getContext('2d').putImageData(pixels, 0, 0);
  document.body.append(canvas);
}`;
  const tell = "document.body.append([...image.data].map((v) => v.toFixed(3)).join(' '));";
  return `<!doctype html>
<!-- Draws samples of ${file} in a browser: npm install onnxruntime-web, copy its folder dist beside this file as ort, and serve the folder. -->
<html lang="en">
<meta charset="utf-8">
<title>${file}</title>
<body>
<script type="module">
import { InferenceSession, Tensor } from "./ort/ort.wasm.min.mjs";

const session = await InferenceSession.create('${file}', { executionProviders: ['wasm'] });
${inputs(facts)}
${isPicture(facts) ? draw : tell}
</script>
`;
}
