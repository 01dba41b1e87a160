/** @file The document of a site: a form, the samples and, where the site trains, its part. */
import { escapeText } from '../../eval/report/escape.ts';
import { renderFacts, renderPage } from '../../eval/report/page.ts';
import { stylesheet } from '../../eval/report/style.ts';
import type { Device, Site } from '../../page/messages.ts';

export interface SitePage {
  readonly title: string;
  readonly site: Site;
  /** Names of the classes; numbers where there are none. */
  readonly classNames: readonly string[];
  /** Names and values for the end of the page. */
  readonly facts: Readonly<Record<string, string>>;
  /** What is trained, where something is. */
  readonly training: { readonly method: string; readonly steps: number; readonly terms: readonly string[] } | null;
}

const STYLE = `
form,form .buttons{display:flex;flex-wrap:wrap;gap:16px;align-items:end}
form{margin:28px 0 0}
form .buttons{gap:12px}
form label{display:block;font-size:14px;color:var(--soft)}
input,select,button{font:inherit;color:var(--ink);background:var(--ground);border:1px solid var(--soft);border-radius:6px;padding:7px 12px;min-height:42px;max-width:100%}
input{width:7.2em}
input#count{width:5.2em}
button{cursor:pointer;background:var(--panel)}
button.first{background:var(--accent);border-color:var(--accent);color:var(--ground)}
button:disabled{opacity:.5;cursor:default}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.status{margin:20px 0 0;min-height:1.6em;color:var(--soft);font-variant-numeric:tabular-nums}
.samples{display:grid;grid-template-columns:repeat(auto-fill,minmax(var(--side),1fr));gap:6px;margin:16px 0 0}
.samples canvas{display:block;width:100%;height:auto;image-rendering:pixelated;border-radius:3px;background:var(--panel)}
progress{display:block;width:100%;height:8px;accent-color:var(--accent);margin:16px 0 0}
#curves{display:grid;grid-template-columns:repeat(auto-fit,minmax(280px,1fr));gap:0 24px}
#curves figure{margin-top:28px}
svg.loss{min-width:0;display:block;width:100%;height:auto;margin:6px 0 0;border-bottom:1px solid var(--rule);color:var(--accent)}
`;

const POLICY = "script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'";
const WORDS: Readonly<Record<Device | 'auto', string>> = { auto: 'automatic', webgpu: 'WebGPU', wasm: 'WASM' };
/** Most samples of one press. */
const MOST = 256;
/** Width at which samples of any size are shown at least, in pixels. */
const SHOWN = 68;

/** HTML5 text. */
export function renderSite({ title, site, classNames, facts, training }: SitePage): string {
  const [, , width] = site.shape as [number, number, number];
  const side = Math.max(SHOWN, Math.min(width, 256));
  return renderPage({
    title,
    styles: `${stylesheet}${STYLE}:root{--side:${side}px}`,
    policy: POLICY,
    head: '<script type="module" src="code/page/main.js"></script>',
    body: `<main>
<header><h1>${escapeText(title)}</h1></header>
${renderForm(site, classNames)}
<p class="status" id="status" role="status">This page needs JavaScript and a file server: where this line stays, serve its folder, for instance with <code>npx http-server</code> or <code>python3 -m http.server</code>.</p>
<section class="samples" id="samples" aria-label="Samples"></section>
${training ? renderTraining(training) : ''}
<footer>${renderFacts(facts)}</footer>
</main>`,
  });
}

function renderForm({ classes, devices }: Site, names: readonly string[]): string {
  const option = (value: string, text: string): string => `<option value="${value}">${escapeText(text)}</option>`;
  const every = Array.from({ length: classes }, (_, c) => option(String(c), names[c] ?? String(c)));
  const choice = (['auto', ...devices] as const).map((device) => option(device, WORDS[device]));
  const count = classes > 0 && classes <= 20 ? 2 * classes : 16;
  return `<form id="controls" inert>
<div><label for="seed">Seed</label><input id="seed" type="number" min="0" max="${2 ** 31 - 1}" step="1" value="0" required></div>
${classes > 0 ? `<div><label for="label">Class</label><select id="label">${option('', 'all in turn')}${every.join('')}</select></div>` : ''}
<div><label for="count">Images</label><input id="count" type="number" min="1" max="${MOST}" step="1" value="${count}" required></div>
<div><label for="device">Device</label><select id="device">${choice.join('')}</select></div>
<div class="buttons"><button class="first">Draw</button><button type="button" id="another">Next seed</button><button type="button" id="save" disabled>Save as PNG</button></div>
</form>`;
}

/** A phase and its loss. */
function renderTraining({ method, steps, terms }: NonNullable<SitePage['training']>): string {
  const curves = terms.map((term) => {
    const phase = term.split('/')[0]!;
    return `<figure>
<svg class="loss" viewBox="0 0 760 200" role="img" aria-label="Loss of the ${escapeText(phase)} by step"><polyline data-term="${escapeText(term)}" data-phase="${escapeText(phase)}" fill="none" stroke="currentColor" stroke-width="2" stroke-linejoin="round" points=""/></svg>
<figcaption><strong>Loss of the ${escapeText(phase)}</strong> <span id="last-${escapeText(phase)}"></span></figcaption>
</figure>`;
  });
  return `<section id="training">
<h2>Train one here</h2>
<p>The button distils a teacher that needs dozens of evaluations for an image into a student that needs one, in this page: ${steps} steps of ${escapeText(method)}. Every step, gradients and update included, is one ONNX graph. It starts from the teacher's weights, and no data is needed.</p>
<button type="button" class="first" id="train">Train</button>
<p class="status" id="training-status" role="status"></p>
<progress id="progress" value="0" max="${steps}" aria-label="Steps made"></progress>
<section class="samples" id="preview" aria-label="Samples of the student in training"></section>
<div id="curves">
${curves.join('\n')}
</div>
<details><summary>Terms of every step</summary><pre id="terms" tabindex="0"></pre></details>
</section>`;
}
