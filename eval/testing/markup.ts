/** @file Is markup well formed? Enough of a reader for the tests of reports. */

const empty = new Set(['meta', 'img', 'input', '!doctype']);

/** Names of all elements in order; throws where a tag is not closed, an attribute not quoted, or a bare &, < or > stands in text. */
export function elements(markup: string): readonly string[] {
  const [names, open]: [string[], string[]] = [[], []];
  const tag = /<(\/?)([!a-z][a-z0-9]*)((?:\s+[a-z][a-zA-Z0-9:-]*(?:="[^"<]*")?)*)\s*(\/?)>/g;
  let from = 0;
  // Style sheets hold child selectors.
  const plain = markup.replace(/<style>[^<]*<\/style>/g, '<style></style>');
  for (const match of plain.matchAll(tag)) {
    assertText(plain.slice(from, match.index));
    from = match.index + match[0].length;
    const [, closing, name] = match;
    if (closing && open.pop() !== name) throw new Error(`markup: ${match[0]} closes nothing at ${match.index}`);
    if (closing) continue;
    names.push(name!);
    if (!match[4] && !empty.has(name!)) open.push(name!);
  }
  assertText(plain.slice(from));
  if (open.length) throw new Error(`markup: ${open.join(', ')} left open`);
  return names;
}

function assertText(text: string): void {
  const bare = /[<>]|&(?!amp;|lt;|gt;|quot;|#39;)/.exec(text);
  if (bare) throw new Error(`markup: bare ${bare[0]} in "${text.slice(Math.max(0, bare.index - 20), bare.index + 20)}"`);
}
