import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runValidate } from '../../../proxy/answers/validate.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-validate-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

async function run(...args: string[]): Promise<{ code: number; out: string[]; err: string[] }> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await runValidate(args, { out: (line) => out.push(line), err: (line) => err.push(line) });
  return { code, out, err };
}

const ROUTE =
  'apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {parentRefs: [{group: "", kind: Service, name: a}]}\n';

describe('weft validate', () => {
  it('exits 0 for a folder that is right', async () => {
    expect(await run(dir)).toEqual({ code: 0, out: [], err: ['0 errors, 0 warnings'] });
  });

  it('prints warnings and exits 0, with --strict 3', async () => {
    writeFileSync(join(dir, 'a.yaml'), ROUTE);
    const line = 'a.yaml:4:21: warning: spec.parentRefs[0]: there is no Service default/a';
    expect(await run(dir)).toEqual({ code: 0, out: [line], err: ['0 errors, 1 warning'] });
    expect(await run('--strict', dir)).toEqual({ code: 3, out: [line], err: ['0 errors, 1 warning'] });
  });

  it('takes the own namespace from --namespace', async () => {
    writeFileSync(join(dir, 'a.yaml'), ROUTE);
    expect((await run(dir, '--namespace', 'shop')).out[0]).toContain('shop/a');
    expect((await run(dir, '--namespace=shop')).out[0]).toContain('shop/a');
  });

  it('prints every error of every file and exits 1', async () => {
    writeFileSync(join(dir, 'a.yaml'), ROUTE.replace('HTTPRoute', 'HTTPRuote'));
    writeFileSync(join(dir, 'b.yaml'), `${ROUTE}rules: []\n`);
    expect(await run(dir)).toEqual({
      code: 1,
      out: [
        'a.yaml:2:7: kind: HTTPRuote of gateway.networking.k8s.io/v1 is not supported (did you mean HTTPRoute?)',
        'b.yaml:5:1: rules: unknown field (known here: apiVersion, kind, metadata, spec)',
      ],
      err: ['2 errors, 0 warnings'],
    });
  });

  it('exits 1 for a folder that is not there', async () => {
    const { code, out } = await run(join(dir, 'nowhere'));
    expect(code).toBe(1);
    expect(out).toEqual([`${join(dir, 'nowhere')}: does not exist`]);
  });

  it('tells its usage for --help, and exits 0', async () => {
    expect(await run('--help')).toEqual({ code: 0, out: [expect.stringContaining('usage: weft validate')], err: [] });
  });

  it.each([
    [[], 'a folder is needed'],
    [['a', 'b'], 'one folder, not 2'],
    [['--stritc', 'a'], 'unknown flag --stritc (did you mean --strict?)'],
    [['a', '--namespace'], '--namespace needs a value'],
  ])('exits 2 with the usage for %j', async (args, line) => {
    const { code, err } = await run(...args);
    expect(code).toBe(2);
    expect(err[0]).toBe(line);
  });
});
