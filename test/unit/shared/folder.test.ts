import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, systemClock } from '../../../shared/clock.ts';
import { type FolderWatch, type ReadOptions, readFolder, watchFolder } from '../../../shared/folder.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-folder-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function put(path: string, text: string): void {
  mkdirSync(join(dir, path, '..'), { recursive: true });
  writeFileSync(join(dir, path), text);
}

/** Swaps a generation in as kubelet does: a new hidden folder, then `..data` renamed over. */
function mount(generation: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) put(`..${generation}/${name}`, text);
  symlinkSync(`..${generation}`, join(dir, '..data_tmp'));
  renameSync(join(dir, '..data_tmp'), join(dir, '..data'));
}

async function texts(options: ReadOptions = {}): Promise<Record<string, string>> {
  const result = await readFolder(dir, options);
  if (!result.ok) throw new Error(result.error);
  return Object.fromEntries(result.value.map(({ path, text, problem }) => [path, problem ?? text]));
}

describe('readFolder', () => {
  it('reads plain files sorted by path and skips names that begin with a dot', async () => {
    put('b.yaml', 'two');
    put('a.yaml', 'one');
    put('.hidden', 'no');
    put('.git/config', 'no');
    const result = await readFolder(dir, { recursive: true });
    expect(result).toEqual({
      ok: true,
      value: [
        { path: 'a.yaml', text: 'one', problem: null },
        { path: 'b.yaml', text: 'two', problem: null },
      ],
    });
  });

  it('goes into subfolders only where told to, and filters by relative path', async () => {
    put('a.yaml', 'one');
    put('sub/deep/b.yaml', 'two');
    put('sub/c.txt', 'three');
    expect(await texts()).toEqual({ 'a.yaml': 'one' });
    const yaml = { recursive: true, filter: (path: string): boolean => path.endsWith('.yaml') };
    expect(await texts(yaml)).toEqual({ 'a.yaml': 'one', 'sub/deep/b.yaml': 'two' });
  });

  it('reads a ConfigMap mount through its symlinks, each file once', async () => {
    mount('2026_1', { 'a.yaml': 'one', 'sub/b.yaml': 'two' });
    symlinkSync('..data/a.yaml', join(dir, 'a.yaml'));
    symlinkSync('..data/sub', join(dir, 'sub'));
    expect(await texts({ recursive: true })).toEqual({ 'a.yaml': 'one', 'sub/b.yaml': 'two' });
  });

  it('tells of each file that cannot be read, and reads the others', async () => {
    put('good', 'text');
    put('large', 'x'.repeat(11));
    writeFileSync(join(dir, 'binary'), Buffer.from([0xc3, 0x28]));
    symlinkSync('/etc/hostname', join(dir, 'outside'));
    symlinkSync('/etc', join(dir, 'outside-folder'));
    symlinkSync('nowhere', join(dir, 'dangling'));
    symlinkSync('circle', join(dir, 'circle'));
    symlinkSync('.', join(dir, 'self'));
    expect(await texts({ recursive: true, maxFileBytes: 10 })).toEqual({
      good: 'text',
      large: 'is larger than 10 bytes',
      binary: 'is not UTF-8 text',
      outside: 'is a symlink that leads out of the folder',
      'outside-folder': 'is a symlink that leads out of the folder',
      dangling: 'does not exist',
      circle: 'is a symlink that leads in a circle',
      self: 'is a symlink to a folder that is read already',
    });
  });

  it('tells of a subfolder that leads outside though the filter knows only files', async () => {
    symlinkSync('/etc', join(dir, 'policies'));
    const options = { recursive: true, filter: (path: string): boolean => path.endsWith('.yaml') };
    expect(await texts(options)).toEqual({ policies: 'is a symlink that leads out of the folder' });
  });

  it('stops at the limit for all files together', async () => {
    put('a', 'xxxxx');
    put('b', 'xxxxx');
    put('c', 'x');
    expect(await texts({ maxTotalBytes: 6 })).toEqual({
      a: 'xxxxx',
      b: 'would bring the folder over 6 bytes',
      c: 'x',
    });
  });

  it('says what is wrong with the folder itself', async () => {
    expect(await readFolder(join(dir, 'none'))).toEqual({ ok: false, error: 'does not exist' });
    put('file', '');
    expect(await readFolder(join(dir, 'file'))).toEqual({ ok: false, error: 'is not a folder' });
  });

  it('never mixes two generations, however often the mount is swapped while it reads', async () => {
    const names = Array.from({ length: 8 }, (_, index) => `f${index}`);
    const generation = (text: string): Record<string, string> => Object.fromEntries(names.map((name) => [name, text]));
    mount('g0', generation('g0'));
    for (const name of names) symlinkSync(`..data/${name}`, join(dir, name));
    for (let round = 1; round <= 30; round++) {
      const reading = readFolder(dir);
      mount(`g${round}`, generation(`g${round}`));
      const result = await reading;
      if (!result.ok) throw new Error(result.error);
      expect(new Set(result.value.map(({ text }) => text)).size).toBe(1);
      expect(result.value).toHaveLength(names.length);
    }
  });
});

describe('readFolder while somebody writes', () => {
  const names = Array.from({ length: 8 }, (_, index) => `f${index}`);
  const replaceAll = (text: string): void => {
    for (const name of names) {
      put('.new', text);
      renameSync(join(dir, '.new'), join(dir, name));
    }
  };

  it('never mixes files that were renamed in while it looked', async () => {
    replaceAll('generation 0');
    // Two looks of eight files each: before and after reading.
    for (let at = 1; at <= 16; at++) {
      const result = await readFolder(dir, { filter: tripwire(at, () => replaceAll(`generation ${at}`)) });
      if (!result.ok) throw new Error(result.error);
      expect(new Set(result.value.map(({ text }) => text)).size).toBe(1);
    }
  });

  it('never mixes files that were renamed in while it read', async () => {
    replaceAll('generation 0');
    for (let round = 1; round <= 40; round++) {
      const reading = readFolder(dir);
      // Further into the reading with every round: some files are read by then and others are not.
      for (let turn = 0; turn < round; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
      replaceAll(`generation ${round}`);
      const result = await reading;
      if (!result.ok) throw new Error(result.error);
      expect(new Set(result.value.map(({ text }) => text)).size).toBe(1);
    }
  });

  it('gives up with a sentence where the folder never settles', async () => {
    replaceAll('0');
    let looks = 0;
    const filter = (): boolean => {
      looks++;
      put('f0', 'x'.repeat(looks));
      return true;
    };
    expect(await readFolder(dir, { filter })).toEqual({ ok: false, error: 'kept changing while it was read' });
  });

  /** A filter that does something once, at its `at`th question. */
  function tripwire(at: number, act: () => void): () => boolean {
    let questions = 0;
    return () => {
      questions++;
      if (questions === at) act();
      return true;
    };
  }
});

describe('watchFolder', () => {
  const clock = new ManualClock();
  let watch: FolderWatch | null = null;
  let changes = 0;
  afterEach(() => watch?.close());

  function begin(target: string = dir): void {
    changes = 0;
    watch = watchFolder(target, () => changes++, { clock, debounceMs: 10, pollMs: 1000 });
  }

  function changesAfterAPoll(): number {
    changes = 0;
    clock.advance(1000);
    clock.advance(10);
    return changes;
  }

  it('reports an edit, a rename over a file, a new and a removed file, once each, by polling alone', () => {
    put('a', 'one');
    begin();
    expect(changesAfterAPoll()).toBe(0);
    put('a', 'two!');
    expect(changesAfterAPoll()).toBe(1);
    expect(changesAfterAPoll()).toBe(0);
    put('.new', 'two!');
    renameSync(join(dir, '.new'), join(dir, 'a'));
    expect(changesAfterAPoll()).toBe(1);
    put('b', '');
    expect(changesAfterAPoll()).toBe(1);
    unlinkSync(join(dir, 'b'));
    expect(changesAfterAPoll()).toBe(1);
  });

  it('reports a swap of ..data', () => {
    mount('g1', { a: 'same' });
    symlinkSync('..data/a', join(dir, 'a'));
    begin();
    mount('g2', { a: 'same' });
    expect(changesAfterAPoll()).toBe(1);
  });

  it('does not report what is not wanted', () => {
    watch = watchFolder(dir, () => changes++, { clock, debounceMs: 10, pollMs: 1000, filter: (path) => path === 'a' });
    put('b', 'x');
    put('.c', 'x');
    expect(changesAfterAPoll()).toBe(0);
  });

  it('survives that the folder is absent, comes, goes and comes again', () => {
    const target = join(dir, 'later');
    begin(target);
    expect(changesAfterAPoll()).toBe(0);
    put('later/a', 'one');
    expect(changesAfterAPoll()).toBe(1);
    rmSync(target, { recursive: true });
    expect(changesAfterAPoll()).toBe(1);
    put('later/a', 'one');
    expect(changesAfterAPoll()).toBe(1);
  });

  it('waits until a burst of changes is over, but not for ever', () => {
    changes = 0;
    watch = watchFolder(dir, () => changes++, { clock, debounceMs: 10, pollMs: 4 });
    const writeFor = (polls: number): void => {
      for (let i = 0; i < polls; i++) {
        put('a', 'x'.repeat(i + 1));
        clock.advance(4);
      }
    };
    writeFor(10);
    expect(changes).toBe(0);
    writeFor(5);
    expect(changes).toBe(1);
  });

  it('is silent after it was closed', () => {
    begin();
    put('a', '1');
    clock.advance(1000);
    watch?.close();
    clock.advance(5000);
    expect(changes).toBe(0);
  });

  it('hears of a change from the kernel without waiting for a poll, in a folder made anew too', async () => {
    put('sub/a', 'one');
    const heard = (): Promise<void> =>
      new Promise((resolve) => {
        watch?.close();
        const calls = { clock: systemClock, debounceMs: 1, pollMs: 3_600_000, recursive: true };
        watch = watchFolder(dir, resolve, calls);
      });
    const edited = heard();
    put('sub/a', 'two!');
    await edited;
    const swapped = heard();
    mount('g1', { a: 'same' });
    symlinkSync('..data/a', join(dir, 'a'));
    await swapped;
    let calls = 0;
    let resolveSecond = (): void => {};
    const second = new Promise<void>((resolve) => (resolveSecond = resolve));
    const first = new Promise<void>((resolve) => {
      watch?.close();
      const onChange = (): void => {
        calls++;
        if (calls === 1) resolve();
        else resolveSecond();
      };
      watch = watchFolder(dir, onChange, { clock: systemClock, debounceMs: 1, pollMs: 3_600_000, recursive: true });
    });
    rmSync(join(dir, 'sub'), { recursive: true });
    put('sub/a', 'again');
    await first;
    put('sub/a', 'once more');
    await second;
    expect(calls).toBe(2);
  });
});
