import { describe, expect, it } from 'vitest';
import { decodeFile, decodeFiles, FileDecoder, MAX_FILE_BYTES } from '../../../proxy/config/decode.ts';
import { formatProblem } from '../../../shared/problem.ts';

function lines(text: string, path = 'policy.yaml'): string[] {
  return decodeFile({ path, text }).problems.map(formatProblem);
}

function names(text: string, path = 'policy.yaml'): string[] {
  const { documents, problems } = decodeFile({ path, text });
  expect(problems).toEqual([]);
  return documents.map(({ value }) => `${value.kind} ${value.metadata.name}`);
}

const SERVICE = 'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n';

describe('what a policy file may look like', () => {
  it('may be empty, or hold nothing but comments', () => {
    expect(names('')).toEqual([]);
    expect(names('# nothing yet\n---\n---\n# still nothing\n')).toEqual([]);
  });

  it('may hold many documents', () => {
    expect(names(`${SERVICE}---\n${SERVICE.replace('name: a', 'name: b')}`)).toEqual(['Service a', 'Service b']);
  });

  it('may be JSON, tabs as indentation included', () => {
    const json = '{\n\t"apiVersion": "v1",\n\t"kind": "Service",\n\t"metadata": {"name": "a"},\n\t"spec": {}\n}\n';
    expect(names(json, 'policy.json')).toEqual(['Service a']);
  });

  it('may have Windows line ends and a byte order mark', () => {
    expect(names(`\uFEFF${SERVICE.replaceAll('\n', '\r\n')}`)).toEqual(['Service a']);
  });

  it('may be a List, in a List too', () => {
    const item = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'a' }, spec: {} };
    const list = { apiVersion: 'v1', kind: 'List', items: [{ apiVersion: 'v1', kind: 'List', items: [item] }, item] };
    expect(names(JSON.stringify(list))).toEqual(['Service a', 'Service a']);
  });

  it('may repeat parts by anchor and merge key', () => {
    const text =
      'apiVersion: v1\nkind: Service\nmetadata: &m {name: a, labels: {x: y}}\nspec:\n  ports:\n  - &p {port: 80, name: a}\n  - {<<: *p, port: 81, name: b}\n';
    expect(names(text)).toEqual(['Service a']);
  });

  it('may set fields to null, which to Kubernetes are absent ones', () => {
    expect(names(`${SERVICE}status: null\n`.replace('{name: a}', '{name: a, namespace: null}'))).toEqual(['Service a']);
  });

  it('may carry what the server sets and what other parts of Kubernetes act on', () => {
    const text = `apiVersion: v1
kind: Service
metadata:
  name: a
  uid: 0b4c
  resourceVersion: "12"
  creationTimestamp: "2026-01-01T00:00:00Z"
  managedFields: [{manager: kubectl}]
spec:
  type: NodePort
  selector: {app: a}
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  sessionAffinity: None
  internalTrafficPolicy: Cluster
  ports: [{port: 80, nodePort: 30080}]
status: {loadBalancer: {}}
`;
    expect(names(text)).toEqual(['Service a']);
  });

  it('may set documents aside, whatever they hold', () => {
    const aside =
      'kind: ConfigMap\napiVersion: v1\nmetadata: {name: x, annotations: {weft.dev/ignore: "true"}}\nfoo: bar\n';
    expect(names(`${aside}---\n${SERVICE}`)).toEqual(['Service a']);
  });
});

describe('what a policy file cannot do', () => {
  it('end the parser in its stack by brackets', () => {
    expect(lines('['.repeat(200_000))[0]).toMatch(
      /^policy\.yaml: is nested too deeply|^policy\.yaml:\d+:\d+: is not YAML/,
    );
  });

  it('take memory by aliases of aliases', () => {
    const levels = Array.from({ length: 12 }, (_, i) => {
      const item = i === 0 ? 'lol' : `*l${i - 1}`;
      return `  l${i}: &l${i} [${Array.from({ length: 10 }, () => item).join(', ')}]`;
    });
    const text = `apiVersion: weft.dev/v1\nkind: Mesh\nmetadata: {name: m}\nspec:\n${levels.join('\n')}\n`;
    expect(lines(text)).toEqual(['policy.yaml:1:1: writes out more than 200 aliases (write the repeated part out)']);
  });

  it('take memory by many aliases of one large list', () => {
    const large = `[${'x, '.repeat(5000)}x]`;
    const aliases = Array.from({ length: 150 }, () => '*a').join(', ');
    const text = `apiVersion: weft.dev/v1\nkind: Mesh\nmetadata: {name: m}\nspec: {a: &a ${large}, b: [${aliases}]}\n`;
    expect(lines(text)).toEqual(['policy.yaml: writes out too many fields']);
  });

  it('be an alias of itself', () => {
    expect(lines('apiVersion: weft.dev/v1\nkind: Mesh\nmetadata: {name: m}\nspec: &s {trustDomain: *s}\n')).not.toEqual(
      [],
    );
  });

  it('be larger than the limit', () => {
    expect(lines(`# ${'x'.repeat(MAX_FILE_BYTES)}`)).toEqual(['policy.yaml: is larger than 1 MiB (split the file)']);
  });

  it('bury the reader in problems', () => {
    const found = lines(Array.from({ length: 300 }, () => 'kind: Nothing\napiVersion: v1\n').join('---\n'));
    expect(found).toHaveLength(101);
    expect(found.at(-1)).toBe('policy.yaml: has 200 more problems (mend the first ones)');
  });

  it('reach prototypes through field names', () => {
    const text = 'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {__proto__: {ports: 1}, constructor: x}\n';
    expect(lines(text)).toEqual([
      'policy.yaml:4:8: spec.__proto__: unknown field (known here: type, externalName, selector, clusterIP, clusterIPs, ports)',
      'policy.yaml:4:31: spec.constructor: unknown field (known here: type, externalName, selector, clusterIP, clusterIPs, ports)',
    ]);
    expect(Object.hasOwn(Object.prototype, 'ports')).toBe(false);
  });
});

describe('several files', () => {
  it('are decoded each for itself, broken ones beside good ones', () => {
    const { documents, problems } = decodeFiles([
      { path: 'a.yaml', text: 'kind: [' },
      { path: 'b.yaml', text: SERVICE },
    ]);
    expect(documents).toHaveLength(1);
    expect(problems.map(({ file }) => file)).toEqual(['a.yaml']);
  });
});

describe('a file that is decoded again', () => {
  const text = (...names: string[]): string =>
    names.map((name) => SERVICE.replace('{name: a}', `{name: ${name}}`)).join('---\n');

  it('reads only the documents that are new, wherever the others stand now', () => {
    const decoder = new FileDecoder('policy.yaml');
    const [first, second] = decoder.decode(text('one', 'two')).documents;
    const again = decoder.decode(`# a new line\n---\n${text('new', 'two')}`).documents;
    expect(again.map(({ value }) => value.metadata.name)).toEqual(['new', 'two']);
    expect(again[1]?.value).toBe(second?.value);
    expect([first?.place.where(), second?.place.where()]).toEqual(['policy.yaml:1', 'policy.yaml:6']);
    expect(again.map(({ place }) => place.where())).toEqual(['policy.yaml:3', 'policy.yaml:8']);
  });

  it('tells problems where they stand now', () => {
    const decoder = new FileDecoder('policy.yaml');
    const broken = '---\nkind: [\n';
    const at = (prefix: string): (number | undefined)[] =>
      decoder.decode(prefix + broken).problems.map(({ line }) => line);
    expect(at(text('a'))).toEqual([7]);
    expect(at(text('a', 'b'))).toEqual([12]);
    expect(at('')).toEqual([3]);
  });

  it('forgets what is gone', () => {
    const decoder = new FileDecoder('policy.yaml');
    const before = decoder.decode(text('a')).documents[0]?.value;
    decoder.decode('');
    const back = decoder.decode(text('a')).documents[0]?.value;
    expect(back).toEqual(before);
    expect(back).not.toBe(before);
  });
});
