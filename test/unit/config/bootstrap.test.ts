import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Bootstrap, bootstrapHelp, parseBootstrap, parseLabels } from '../../../proxy/config/bootstrap.ts';

function parsed(argv: string[], env: Record<string, string> = {}): Bootstrap {
  const result = parseBootstrap(argv, env);
  if (!result.ok) throw new Error(result.error.join('; '));
  return result.value;
}

function problems(argv: string[], env: Record<string, string> = {}): string[] {
  const result = parseBootstrap(argv, env);
  return result.ok ? [] : result.error;
}

describe('the command line of weft proxy', () => {
  it('has the defaults of the contract when nothing is said', () => {
    expect(parsed([])).toEqual({
      policy: '/etc/weft/policy',
      policyTests: 'warn',
      certs: '/var/run/secrets/weft',
      ca: null,
      caToken: null,
      inbound: { host: '::', port: 15006 },
      outbound: [
        { host: '127.0.0.1', port: 15001 },
        { host: '::1', port: 15001 },
      ],
      admin: { host: '127.0.0.1', port: 15000 },
      metrics: { host: '::', port: 15020 },
      ready: { host: '::', port: 15021 },
      app: null,
      namespace: 'default',
      serviceAccount: 'default',
      pod: 'unknown',
      labels: {},
      zone: '',
      accessLog: 'off',
      threads: 1,
      drain: 25,
      http2Windows: { stream: 262_144, connection: 1_048_576 },
      exitWithApp: false,
    });
  });

  it('takes a value after a space and after an equals sign', () => {
    expect(parsed(['--threads', '2', '--drain=5'])).toMatchObject({ threads: 2, drain: 5 });
  });

  it('lets a flag win over its variable and the variable over the default', () => {
    const env = { WEFT_ADMIN: '127.0.0.1:1', WEFT_POLICY_TESTS: 'enforce' };
    expect(parsed(['--admin', '127.0.0.1:2'], env)).toMatchObject({
      admin: { host: '127.0.0.1', port: 2 },
      policyTests: 'enforce',
    });
  });

  it('takes an empty variable for one that is not set', () => {
    expect(parsed([], { WEFT_NAMESPACE: '' }).namespace).toBe('default');
  });

  it('collects repeated outbound listeners, from flags and from a variable with commas', () => {
    const expected = [
      { host: '127.0.0.1', port: 1 },
      { host: '::1', port: 2 },
    ];
    expect(parsed(['--outbound', '127.0.0.1:1', '--outbound=[::1]:2']).outbound).toEqual(expected);
    expect(parsed([], { WEFT_OUTBOUND: '127.0.0.1:1, [::1]:2' }).outbound).toEqual(expected);
  });

  it.each([
    [['--inbond', '1.2.3.4:5'], 'unknown flag --inbond (did you mean --inbound?)'],
    [['--frobnicate'], 'unknown flag --frobnicate (see weft proxy --help)'],
    [['-t', '3'], 'unknown flag -t (see weft proxy --help)'],
    [['serve'], 'serve: weft proxy takes flags only (see weft proxy --help)'],
    [['--threads'], '--threads needs a value: --threads N'],
    [['--threads', '--drain=1'], '--threads needs a value: --threads N'],
    [['--threads', 'two'], '--threads two: must be a whole number from 1 to 256'],
    [['--threads', '0'], '--threads 0: must be a whole number from 1 to 256'],
    [['--admin', '15000'], '--admin 15000: must be HOST:PORT, e.g. 127.0.0.1:15001 or [::]:15006'],
    [['--admin', '1.2.3:80'], '--admin 1.2.3:80: must be HOST:PORT, e.g. 127.0.0.1:15001 or [::]:15006'],
    [['--app', 'localhost:99999'], '--app localhost:99999: must be HOST:PORT, e.g. 127.0.0.1:15001 or [::]:15006'],
    [['--access-log', 'jsno'], '--access-log jsno: must be json, text or off: did you mean json?'],
    [['--access-log', 'everything'], '--access-log everything: must be json, text or off'],
    [['--namespace', 'Shop'], '--namespace Shop: must be lower-case letters, digits and "-"'],
    [['--ca', 'http://x'], '--ca http://x: must be https://HOST:PORT'],
    [['--pod', 'a', '--pod', 'b'], '--pod is given twice'],
    [['--policy='], '--policy : must not be empty'],
    [['--labels', '/nowhere/labels'], '--labels /nowhere/labels: cannot be read: ENOENT'],
  ])('refuses %j in one line that names the flag', (argv, line) => {
    expect(problems(argv)).toContain(line);
  });

  it('names the variable whose value is bad', () => {
    expect(problems([], { WEFT_DRAIN: 'soon' })).toEqual(['WEFT_DRAIN=soon: must be a whole number from 0 to 86400']);
  });

  it('reports every bad flag at once, and what follows an unknown flag as no second mistake', () => {
    expect(problems(['--inbond', '1.2.3.4:5', '--drain', 'x'])).toHaveLength(2);
  });

  it('explains every flag with its default in the help', () => {
    const help = bootstrapHelp();
    for (const name of ['policy', 'outbound', 'labels', 'drain']) expect(help).toContain(`--${name} `);
    expect(help).toContain('(127.0.0.1:15001 and [::1]:15001)');
  });
});

describe('the labels file of the Downward API', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'weft-labels-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it('gives the labels of the workload', () => {
    const file = join(dir, 'labels');
    writeFileSync(file, 'app="catalog"\napp.kubernetes.io/version="v1"\n');
    expect(parsed(['--labels', file]).labels).toEqual({ app: 'catalog', 'app.kubernetes.io/version': 'v1' });
  });

  it('unquotes escaped quotes and backslashes', () => {
    expect(parseLabels('a="x\\"y\\\\z"')).toEqual({ ok: true, value: { a: 'x"y\\z' } });
  });

  it('tells the line that is no label', () => {
    const file = join(dir, 'labels');
    writeFileSync(file, 'app="catalog"\nversion=v1\n');
    expect(problems(['--labels', file])).toEqual([`--labels ${file}:2: is no line of the form key="value"`]);
  });
});
