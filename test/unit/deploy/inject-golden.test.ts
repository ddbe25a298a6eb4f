import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { ejectText, injectText } from '../../../deploy/inject/manifests.ts';
import { DEFAULTS, type InjectDefaults } from '../../../deploy/inject/settings.ts';

/** One file each: what comes out stands in `injected` under the same name ("vitest -u" writes it anew, for review). */
const folder = join(import.meta.dirname, '../../config/inject');
const files = readdirSync(join(folder, 'manifests')).sort();

function inject(
  file: string,
  text: string,
  defaults: InjectDefaults = DEFAULTS,
): { text: string; notes: readonly string[] } {
  const edited = injectText(file, text, defaults);
  if (!edited.ok) throw new Error(JSON.stringify(edited.error));
  return edited.value;
}

function eject(file: string, text: string): string {
  const edited = ejectText(file, text);
  if (!edited.ok) throw new Error(JSON.stringify(edited.error));
  return edited.value.text;
}

test('there are manifests of more than twenty kinds of workload', () => {
  expect(files.length).toBeGreaterThan(25);
});

describe.each(files)('%s', (file) => {
  const original = readFileSync(join(folder, 'manifests', file), 'utf8');

  test('is injected as reviewed', async () => {
    const { text, notes } = inject(file, original);
    const said = notes.map((note) => `# ${note}\n`).join('');
    await expect(`${said}${text}`).toMatchFileSnapshot(join(folder, 'injected', file.replace(/\.json$/, '.json.txt')));
  });

  test('is the same injected twice, also where the settings change on the way', () => {
    const once = inject(file, original).text;
    expect(inject(file, once).text).toBe(once);
    const other = { ...DEFAULTS, image: 'mirror.example/weft:2', nativeSidecar: false };
    expect(inject(file, inject(file, original, other).text).text).toBe(once);
  });

  test.each([true, false])('is byte for byte what it was after --uninject (native sidecar: %s)', (nativeSidecar) => {
    const injected = inject(file, original, {
      ...DEFAULTS,
      nativeSidecar,
      caBundle: 'not checked here\nsecond line\n',
    });
    expect(eject(file, injected.text)).toBe(original);
  });

  test('keeps every comment', () => {
    const injected = inject(file, original).text;
    const comments = [...original.matchAll(/(?:^|\s)(# [^"\n]*)$/gm)].map(([, comment]) => (comment as string).trim());
    expect(comments.filter((comment) => !injected.includes(comment))).toEqual([]);
  });

  test('is still what YAML readers take, document for document', () => {
    const documents = (text: string): number => [...parseAllDocuments(text)].length;
    expect(documents(inject(file, original).text)).toBe(documents(original));
  });
});
