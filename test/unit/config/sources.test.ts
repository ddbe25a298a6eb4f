import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Snapshot } from '../../../proxy/config/snapshot.ts';
import { decodeFolder, isPolicyFile, PolicySource } from '../../../proxy/config/sources.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { formatProblem } from '../../../shared/problem.ts';

const SELF = { namespace: 'shop', labels: {}, serviceAccount: 'default' };
const service = (name: string): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {ports: [{port: 80}]}\n`;

let dir: string;
let clock: ManualClock;
let snapshots: Snapshot[];
let problems: string[][];
let failures: string[][];
let source: PolicySource;

const write = (path: string, text: string): void => writeFileSync(join(dir, path), text);
const names = (): string[] => snapshots.at(-1)?.services.map(({ name }) => name) ?? [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-policy-'));
  clock = new ManualClock();
  snapshots = [];
  problems = [];
  failures = [];
  source = new PolicySource(
    dir,
    SELF,
    {
      onSnapshot: (snapshot) => snapshots.push(snapshot),
      onProblems: (found) => problems.push(found.map(formatProblem)),
      onTestFailures: (found) => failures.push(found.map(formatProblem)),
    },
    clock,
  );
});

afterEach(() => {
  source.close();
  rmSync(dir, { recursive: true, force: true });
});

describe('the policy folder', () => {
  it('may be empty: that is a snapshot', async () => {
    await source.start();
    expect(names()).toEqual([]);
    expect(snapshots).toHaveLength(1);
    expect(source.counts).toMatchObject({
      accepted: 1,
      refused: 0,
      lastGoodAt: clock.wall(),
      hash: snapshots[0]?.hash,
    });
  });

  it('is read with its subfolders, without policy tests, other files and dot names', async () => {
    mkdirSync(join(dir, 'sub'));
    write('a.yaml', service('a'));
    write('sub/b.yml', service('b'));
    write('c.json', '{"apiVersion":"v1","kind":"Service","metadata":{"name":"c"},"spec":{}}');
    write('d.test.yaml', 'requests: []\n');
    write('.e.yaml', service('e'));
    write('README.md', '# not policy');
    await source.start();
    expect(names()).toEqual(['a', 'b', 'c']);
  });

  it('that cannot be used leaves the last good snapshot in force, and tells each set of problems once', async () => {
    write('a.yaml', service('a'));
    await source.start();
    write('b.yaml', 'kind: [\n');
    await source.reload();
    await source.reload();
    expect(snapshots).toHaveLength(1);
    expect(problems).toHaveLength(1);
    expect(problems[0]?.[0]).toMatch(/^b\.yaml:\d+:\d+: is not YAML/);
    expect(source.counts).toMatchObject({ accepted: 1, refused: 2 });
    expect(source.problems).not.toEqual([]);
    write('b.yaml', service('b'));
    await source.reload();
    expect(names()).toEqual(['a', 'b']);
    expect(source.problems).toEqual([]);
  });

  it('that is absent is a problem until it is there', async () => {
    renameSync(dir, `${dir}-away`);
    await source.start();
    expect(snapshots).toEqual([]);
    expect(problems[0]?.[0]).toBe(
      `${dir}: does not exist (mount the policy folder there (--policy), readable for this user)`,
    );
    renameSync(`${dir}-away`, dir);
    await source.reload();
    expect(snapshots).toHaveLength(1);
  });

  it('that reads the same again makes no new snapshot', async () => {
    write('a.yaml', service('a'));
    await source.start();
    await source.reload();
    expect(snapshots).toHaveLength(1);
    expect(source.counts.accepted).toBe(2);
  });

  it('is read once more, not once per change, for changes during a reading', async () => {
    await source.start();
    write('a.yaml', service('a'));
    await Promise.all([source.reload(), source.reload(), source.reload(), source.reload()]);
    expect(names()).toEqual(['a']);
    expect(source.counts.accepted).toBeLessThanOrEqual(3);
  });

  it('is read by itself after a change', async () => {
    await source.start();
    write('a.yaml', service('a'));
    // A poll, the quiet time after it, and the reading that these start.
    for (let i = 0; i < 40; i++) clock.advance(100);
    await source.reload();
    expect(names()).toEqual(['a']);
    expect(source.counts.accepted).toBeGreaterThanOrEqual(2);
  });

  it('is let go by close', async () => {
    await source.start();
    const reading = source.reload();
    source.close();
    write('a.yaml', service('a'));
    await reading;
    expect(source.counts.accepted).toBe(1);
  });
});

describe("the folder's own tests", () => {
  const failure = {
    severity: 'error',
    file: 'a.test.yaml',
    line: 1,
    column: 1,
    path: '',
    message: 'no',
    advice: '',
  } as const;
  /** A source whose tests find a failure wherever a Service is named `bad`. */
  const tested = (enforced: boolean): PolicySource =>
    new PolicySource(
      dir,
      SELF,
      {
        onSnapshot: (snapshot) => snapshots.push(snapshot),
        onProblems: (found) => problems.push(found.map(formatProblem)),
        onTestFailures: (found) => failures.push(found.map(formatProblem)),
      },
      clock,
      {
        enforced,
        run: (documents, tests) => {
          expect(tests.map(({ path }) => path)).toEqual(['a.test.yaml']);
          return Promise.resolve(documents.some(({ value }) => value.metadata.name === 'bad') ? [failure] : []);
        },
      },
    );

  beforeEach(() => write('a.test.yaml', 'anything'));

  it('refuse a reading that fails them where they are enforced, until it passes', async () => {
    source = tested(true);
    write('a.yaml', service('good'));
    await source.start();
    write('a.yaml', service('bad'));
    await source.reload();
    expect(names()).toEqual(['good']);
    expect(problems).toEqual([['a.test.yaml:1:1: no']]);
    expect(source.counts).toMatchObject({ accepted: 1, refused: 1 });
    write('a.yaml', service('fine'));
    await source.reload();
    expect(names()).toEqual(['fine']);
    expect(source.testFailures).toEqual([]);
  });

  it('are only told of otherwise, once for each different set', async () => {
    source = tested(false);
    write('a.yaml', service('bad'));
    await source.start();
    await source.reload();
    expect(names()).toEqual(['bad']);
    expect(failures).toEqual([['a.test.yaml:1:1: no']]);
    expect([problems, source.problems]).toEqual([[], []]);
    expect(source.testFailures).toEqual([failure]);
  });

  it('are not run on policy that does not compile', async () => {
    source = tested(true);
    write('a.yaml', 'kind: Service\n');
    await source.start();
    expect(problems[0]?.[0]).toContain('a.yaml');
    expect(source.testFailures).toEqual([]);
  });
});

describe('a file of the folder', () => {
  it.each([
    ['a.yaml', true],
    ['a.yml', true],
    ['sub/a.json', true],
    ['a.test.yaml', false],
    ['a.yaml.bak', false],
    ['yaml', false],
  ])('%s is policy: %s', (path, expected) => {
    expect(isPolicyFile(path)).toBe(expected);
  });

  it('that is too large is one problem that names it', async () => {
    write('big.yaml', `# ${'x'.repeat(10 * 1024 * 1024)}\n`);
    const { problems: found } = await decodeFolder(dir);
    expect(found).toHaveLength(1);
    expect(found[0]?.file).toBe('big.yaml');
  });

  it('that is no UTF-8 is one problem that names it', async () => {
    writeFileSync(join(dir, 'latin.yaml'), Buffer.from([0x61, 0x3a, 0xe4, 0x0a]));
    const { problems: found } = await decodeFolder(dir);
    expect(found.map(formatProblem)).toEqual(['latin.yaml: is not UTF-8 text']);
  });
});
