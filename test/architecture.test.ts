import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { exportedNames, type ImportedModule, importsOf } from './support/imports.ts';

const root = resolve(import.meta.dirname, '..');
const TOP = ['proxy', 'shared', 'certs', 'deploy', 'test'];

/**
 * Who may import whom, as in the design. Importing a type counts like importing a value: it is knowledge of the other
 * room all the same. The one exception is `snapshot types`: the shape of policy, which whoever acts on it must read.
 */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  shared: [],
  'certs/identity': ['shared', 'certs/verify'],
  'certs/verify': ['shared', 'certs/identity'],
  certs: ['shared', 'certs/identity', 'certs/verify'],
  'proxy/telemetry': ['shared'],
  'proxy/http': ['shared'],
  'proxy/net': ['shared', 'certs/identity', 'certs/verify', 'proxy/telemetry'],
  'proxy/listener': ['shared', 'proxy/net', 'proxy/telemetry'],
  'proxy/policy': ['shared', 'certs/identity', 'proxy/http', 'proxy/telemetry'],
  'proxy/upstream': ['shared', 'certs/identity', 'certs/verify', 'proxy/net', 'proxy/http', 'proxy/telemetry'],
  'proxy/config': ['shared', 'certs/identity', 'proxy/http', 'proxy/policy', 'proxy/upstream', 'proxy/telemetry'],
  'proxy/session': [
    'shared',
    'certs/identity',
    'certs/verify',
    'proxy/net',
    'proxy/http',
    'proxy/policy',
    'proxy/upstream',
    'proxy/telemetry',
    'snapshot types',
  ],
  'proxy/answers': ['shared', 'certs/identity', 'proxy/http', 'proxy/policy', 'proxy/upstream', 'proxy/config'],
  'proxy/admin': ['shared', 'proxy/telemetry', 'snapshot types'],
  // What the threads say to each other: between the rooms whose records it carries and the roots that send it.
  'proxy/messages': ['shared', 'certs/identity', 'proxy/telemetry', 'snapshot types'],
  'proxy roots': ['any proxy', 'any certs', 'shared'],
  'proxy/main': ['any proxy but answers', 'any certs', 'shared', 'answers by import()', 'deploy by import()'],
  deploy: ['shared', 'any certs', 'proxy/config'],
  'deploy/demo': ['anything'],
  test: ['anything'],
};

/** The snapshot as it is compiled, and as a data thread has linked it. */
const SNAPSHOT_TYPES = ['proxy/config/snapshot.ts', 'proxy/config/link.ts'];

/** What a data thread must not load, by weight (DESIGN, "The picture") and by duty. */
const NOT_IN_WORKER = [
  'js-yaml',
  'yaml',
  'zod',
  'node-forge',
  'undici',
  '@opentelemetry/',
  'certs/',
  'proxy/admin/',
  'proxy/answers/',
];
const IN_WORKER_AFTER_ALL = /^certs\/(identity|verify)[^/]*\.ts$/;

/** Words that say nothing: the first kind anywhere in a name, the second where the name ends in it. */
const BANNED_ANYWHERE = new Set(['manager', 'helper', 'helpers', 'util', 'utils']);
const BANNED_AT_END = new Set(['common', 'data', 'info', 'base']);
/** Here `data` does say something: what goes to and comes from a data thread, and the frame type of RFC 9113. */
const TELLING_NAMES = new Set(['ToData', 'FromData', 'DATA']);

interface Edge extends ImportedModule {
  readonly from: string;
  /** Path in the tree, `node:x`, or a package name; null for a computed import. */
  readonly to: string | null;
}

function sources(): Map<string, string> {
  const files = TOP.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file)),
  )
    .filter((file) => file.endsWith('.ts'))
    .sort();
  return new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]));
}

function edgesOf(file: string, text: string): Edge[] {
  return importsOf(text).map((imported) => {
    const { specifier } = imported;
    const to =
      specifier?.startsWith('.') === true ? relative(root, resolve(root, dirname(file), specifier)) : specifier;
    return { ...imported, from: file, to };
  });
}

/** The row of the table that a file of the tree belongs to. */
function roomOf(file: string): string {
  const [top, second] = file.split('/') as [string, string];
  if (top === 'certs') return /^certs\/(identity|verify)\b/.exec(file)?.[0] ?? 'certs';
  if (top === 'deploy') return second === 'demo' ? 'deploy/demo' : 'deploy';
  if (top !== 'proxy') return top;
  if (!second.endsWith('.ts')) return `proxy/${second}`;
  if (second === 'messages.ts') return 'proxy/messages';
  return /^(main|cli)\b/.test(second) ? 'proxy/main' : 'proxy roots';
}

function isAllowed(edge: Edge, to: string): boolean {
  const own = roomOf(edge.from);
  const room = roomOf(to);
  if (own === room) return true;
  return (ALLOWED[own] ?? []).some((entry) => {
    switch (entry) {
      case 'anything':
        return true;
      case 'any proxy':
        return to.startsWith('proxy/');
      case 'any proxy but answers':
        return to.startsWith('proxy/') && room !== 'proxy/answers';
      case 'any certs':
        return to.startsWith('certs/');
      case 'answers by import()':
        return room === 'proxy/answers' && edge.dynamic;
      case 'deploy by import()':
        return to.startsWith('deploy/') && edge.dynamic;
      case 'snapshot types':
        return SNAPSHOT_TYPES.includes(to) && edge.typeOnly;
      default:
        return entry === room;
    }
  });
}

/** Breaches of the table, one line each. */
function breaches(edges: readonly Edge[]): string[] {
  return edges.flatMap((edge) => {
    const at = `${edge.from}:${edge.line}`;
    const top = edge.from.split('/')[0] as string;
    if (edge.to === null) return top === 'test' ? [] : [`${at}: import() of something that is not written out`];
    if (edge.specifier?.startsWith('.') === true) {
      return isAllowed(edge, edge.to) ? [] : [`${at}: ${roomOf(edge.from)} may not import ${edge.to}`];
    }
    if (top === 'shared' && /^node:(net|tls)\b/.test(edge.to)) return [`${at}: shared may not import ${edge.to}`];
    if (top === 'shared' && /^node:fs\b/.test(edge.to) && edge.from !== 'shared/folder.ts') {
      return [`${at}: only shared/folder.ts may import ${edge.to}`];
    }
    if (top === 'shared' && !edge.to.startsWith('node:')) return [`${at}: shared may not import ${edge.to}`];
    if (top === 'proxy' && edge.to === 'node:http2')
      return [`${at}: weft speaks HTTP/2 with its own codec, not node:http2`];
    return [];
  });
}

/** Every file and package that loading `entry` loads: static and dynamic imports, types left out. */
function closure(entry: string, edges: readonly Edge[]): Map<string, string> {
  const reachedFrom = new Map([[entry, '']]);
  const queue = [entry];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    for (const edge of edges) {
      if (edge.from !== file || edge.typeOnly || edge.to === null || reachedFrom.has(edge.to)) continue;
      reachedFrom.set(edge.to, file);
      queue.push(edge.to);
    }
  }
  return reachedFrom;
}

function heavy(reached: ReadonlyMap<string, string>): string[] {
  return [...reached]
    .filter(([to]) => !IN_WORKER_AFTER_ALL.test(to))
    .filter(([to]) =>
      NOT_IN_WORKER.some(
        (entry) => to === entry || (entry.endsWith('/') && to.startsWith(entry)) || to.startsWith(`${entry}/`),
      ),
    )
    .map(([to, from]) => `${from} loads ${to}`);
}

/**
 * Cycles between files, each as `a → b → a`. Types are left out here: they are erased before any order of loading
 * could matter, and an interface may well name the class that was split from its file.
 */
function cycles(edges: readonly Edge[]): string[] {
  const next = Map.groupBy(
    edges.filter((edge) => edge.to !== null && !edge.typeOnly && edge.specifier?.startsWith('.') === true),
    (edge) => edge.from,
  );
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    const seen = path.indexOf(file);
    if (seen >= 0) found.push([...path.slice(seen), file].join(' → '));
    if (seen >= 0 || done.has(file)) return;
    for (const edge of next.get(file) ?? []) visit(edge.to as string, [...path, file]);
    done.add(file);
  };
  for (const file of next.keys()) visit(file, []);
  return found;
}

function words(name: string): string[] {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
}

const texts = sources();
const edges = [...texts].flatMap(([file, text]) => edgesOf(file, text));

describe('who may import whom', () => {
  test('every import keeps to the table of the design', () => {
    expect(breaches(edges)).toEqual([]);
  });

  test('every folder of the tree has its row in the table', () => {
    const rooms = new Set([...texts.keys()].map(roomOf));
    expect([...rooms].filter((room) => ALLOWED[room] === undefined)).toEqual([]);
  });

  test('the reading of the tree saw its imports', () => {
    expect(edges.length).toBeGreaterThan(texts.size);
    expect(
      edges.some((edge) => edge.from === 'proxy/messages.ts' && edge.to === 'certs/identity.ts' && edge.typeOnly),
    ).toBe(true);
    expect(
      edges.some((edge) => edge.from === 'test/architecture.test.ts' && edge.to === 'test/support/imports.ts'),
    ).toBe(true);
    const lost = edges.filter(
      (edge) =>
        edge.specifier?.startsWith('.') === true && !edge.from.startsWith('test/') && !texts.has(edge.to as string),
    );
    expect(lost.map((edge) => `${edge.from}:${edge.line}: no file ${edge.to}`)).toEqual([]);
  });

  test.each([
    ['shared/units.ts', "import { row } from '../proxy/http/message.ts';"],
    ['shared/units.ts', "import { connect } from 'node:net';"],
    ['shared/units.ts', "import { readFileSync } from 'node:fs';"],
    ['shared/units.ts', "import pino from 'pino';"],
    ['certs/verify.ts', "import { issue } from './issue.ts';"],
    ['proxy/http/hpack.ts', "import type { Metrics } from '../telemetry/metrics.ts';"],
    ['proxy/net/tls.ts', "import { issue } from '../../certs/issue.ts';"],
    ['proxy/listener/accept.ts', "import { detect } from '../session/detect.ts';"],
    ['proxy/policy/cors.ts', "import { Pool } from '../upstream/pool.ts';"],
    ['proxy/upstream/pool.ts', "export { compile } from '../config/compile.ts';"],
    ['proxy/session/http.ts', "import { compile } from '../config/compile.ts';"],
    ['proxy/session/http.ts', "import { defaults } from '../config/snapshot.ts';"],
    ['proxy/admin/server.ts', "const explain = await import('../answers/explain.ts');"],
    ['proxy/main.ts', "import { explain } from './answers/explain.ts';"],
    ['proxy/control.ts', "const init = await import('../deploy/redirect.ts');"],
    ['proxy/control.ts', 'const room = await import(name);'],
    ['proxy/session/http.ts', "import * as http2 from 'node:http2';"],
    ['deploy/injector.ts', "import { worker } from '../proxy/worker.ts';"],
  ])('a planted import in %s is a breach: %s', (file, text) => {
    expect(breaches(edgesOf(file, text))).toHaveLength(1);
  });

  test.each([
    ['proxy/session/http.ts', "import type { Snapshot } from '../config/snapshot.ts';"],
    ['proxy/main.ts', "const { explain } = await import('./answers/explain.ts');"],
    ['shared/folder.ts', "import { watch } from 'node:fs/promises';"],
    [
      'shared/units.ts',
      "// import 'node:net';\nconst a = `import 'node:tls' ${b /* import 'pino' */}`; const r = /import 'zod'/;",
    ],
    ['deploy/demo/run.ts', "import { start } from '../../proxy/control.ts';"],
  ])('a planted import in %s is none: %s', (file, text) => {
    expect(breaches(edgesOf(file, text))).toEqual([]);
  });

  test('no two files import each other, directly or in a ring', () => {
    expect(cycles(edges)).toEqual([]);
    const ring = [
      ['shared/a.ts', "import './b.ts';"],
      ['shared/b.ts', "export * from './c.ts';"],
      ['shared/c.ts', "import { A } from './a.ts'; import type { B } from './b.ts';"],
    ].flatMap(([file, text]) => edgesOf(file as string, text as string));
    expect(cycles(ring)).toEqual(['shared/a.ts → shared/b.ts → shared/c.ts → shared/a.ts']);
  });
});

describe('what a data thread loads', () => {
  test('the closure of proxy/worker.ts holds nothing heavy and nothing of the control thread', () => {
    const reached = closure('proxy/worker.ts', edges);
    expect(reached.size).toBeGreaterThan(20);
    expect(heavy(reached)).toEqual([]);
  });

  test('a heavy package behind two files, or a certificate source, is found', () => {
    const planted = [
      ['proxy/worker.ts', "import { stack } from './stack.ts'; import type { Zod } from 'zod';"],
      ['proxy/stack.ts', "const otel = await import('@opentelemetry/sdk-node'); import '../certs/sources.ts';"],
      ['certs/sources.ts', "import { X } from './identity.ts'; export { parse } from 'yaml';"],
    ].flatMap(([file, text]) => edgesOf(file as string, text as string));
    expect(heavy(closure('proxy/worker.ts', planted)).sort()).toEqual([
      'certs/sources.ts loads yaml',
      'proxy/stack.ts loads @opentelemetry/sdk-node',
      'proxy/stack.ts loads certs/sources.ts',
    ]);
  });
});

describe('packages, sizes and names', () => {
  test('what runs in production imports only packages that package.json lists as dependencies', () => {
    const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    const foreign = edges
      .filter((edge) => /^(proxy|shared|certs)\//.test(edge.from) && !edge.typeOnly)
      .filter((edge) => edge.to !== null && !edge.specifier?.startsWith('.') && !edge.to.startsWith('node:'))
      .filter((edge) => dependencies[packageOf(edge.to as string)] === undefined);
    expect(foreign.map((edge) => `${edge.from}:${edge.line}: ${edge.to}`)).toEqual([]);
  });

  test('no file is longer than 400 lines without saying why in its first lines ("Over 400 lines: …")', () => {
    const long = [...texts].filter(
      ([, text]) => text.split('\n').length > 401 && !/Over 400 lines: \S/.test(text.slice(0, 2000)),
    );
    expect(long.map(([file]) => file)).toEqual([]);
  });

  test('no file and no exported name carries a word that says nothing', () => {
    const names = [...texts].flatMap(([file, text]) =>
      [basename(file, '.ts'), ...exportedNames(text)].map((name) => ({ file, name })),
    );
    expect(names.length).toBeGreaterThan(2 * texts.size);
    expect(names.filter(({ name }) => saysNothing(name)).map(({ file, name }) => `${file}: ${name}`)).toEqual([]);
    expect(
      ['connectionManager', 'http-utils', 'userInfo', 'base', 'commonName', 'onDataFrame'].filter(saysNothing),
    ).toEqual(['connectionManager', 'http-utils', 'userInfo', 'base']);
  });
});

function saysNothing(name: string): boolean {
  const all = words(name);
  if (TELLING_NAMES.has(name)) return false;
  return all.some((word) => BANNED_ANYWHERE.has(word)) || BANNED_AT_END.has(all.at(-1) ?? '');
}

function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}
