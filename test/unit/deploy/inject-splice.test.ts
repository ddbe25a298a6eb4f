import { describe, expect, test } from 'vitest';
import { ejectText, injectText } from '../../../deploy/inject/manifests.ts';
import { DEFAULTS } from '../../../deploy/inject/settings.ts';

/** Injected, injected again and taken out again; each text must be good YAML to weft itself. */
function expectThereAndBack(text: string, nativeSidecar = true): void {
  const defaults = { ...DEFAULTS, nativeSidecar };
  const once = injectText('f', text, defaults);
  if (!once.ok) throw new Error(JSON.stringify(once.error));
  expect(once.value.notes.join()).toMatch(/: injected$/);
  expect(injectText('f', once.value.text, defaults)).toMatchObject({ value: { text: once.value.text } });
  expect(ejectText('f', once.value.text)).toMatchObject({ value: { text } });
}

describe('a field with nothing but a comment', () => {
  const deployment = (fields: string): string =>
    `kind: Deployment\nspec:\n  template:\n${fields}      containers:\n        - name: a\n          image: b\n`;

  test.each([
    ['metadata', '    metadata: # c\n    spec:\n'],
    ['metadata, far from it', '    metadata:   # c\n    spec:\n'],
    ['metadata, below it', '    metadata:\n      # c\n    spec:\n'],
    ['annotations', '    metadata:\n      annotations: # c\n    spec:\n'],
    ['a list', '    spec:\n      initContainers: # c\n      volumes:\t# d\n'],
    ['a field that has white space alone', '    metadata:  \n    spec:\n'],
  ])('gets its value and loses it, and the comment stays: %s', (_case, fields) => {
    expectThereAndBack(deployment(fields));
    expectThereAndBack(deployment(fields).replaceAll('\n', '\r\n'));
  });
});

describe('a text without a last line break', () => {
  const containers = 'containers:\n  - name: a\n    image: b';

  test.each([
    ['that gets volumes and then metadata', `kind: Pod\nspec:\n  ${containers}`],
    ['that gets metadata alone', 'kind: Pod\nspec: { containers: [{ name: a }] }'],
    ['that gets volumes alone', `kind: Pod\nmetadata:\n  name: p\nspec:\n  ${containers}`],
    ['that gets an item and then metadata', `kind: Pod\nspec:\n  ${containers}\n  volumes:\n  - {name: x}`],
    ['that ends with an empty list', `kind: Pod\nspec:\n  ${containers}\n  volumes:`],
    ['that ends with a comment', `kind: Pod\nspec:\n  ${containers} # x`],
    ['that ends with a line of comment', `kind: Pod\nspec:\n  ${containers}\n# x`],
    ['that ends with a probe', `kind: Pod\nspec:\n  ${containers}\n    livenessProbe: {tcpSocket: {port: 80}}`],
    [
      'whose template is inside',
      'kind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n        image: b',
    ],
    ['of two documents', `kind: Pod\nspec:\n  ${containers}\n---\nkind: Pod\nspec:\n  ${containers}`],
  ])('%s is byte for byte what it was', (_case, text) => {
    for (const native of [true, false]) {
      expectThereAndBack(text, native);
      expectThereAndBack(text.replaceAll('\n', '\r\n'), native);
      expectThereAndBack(`${text}\n`, native);
    }
  });
});
