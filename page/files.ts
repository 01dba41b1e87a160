/** @file Files of the site. */

/** Bytes of a file of the site. @throws Error with its name where it is not there */
export async function readFile(name: string, base: URL): Promise<Uint8Array> {
  const answer = await fetch(new URL(name, base)).catch((error: unknown) => {
    throw new Error(`${name} cannot be read (${(error as Error).message})`);
  });
  if (!answer.ok) throw new Error(`${name} cannot be read (${answer.status} ${answer.statusText})`);
  return new Uint8Array(await answer.arrayBuffer());
}

export const readJson = async <T>(name: string, base: URL): Promise<T> =>
  JSON.parse(new TextDecoder().decode(await readFile(name, base))) as T;
