/**
 * A mounted folder: read whole, without mixing two generations, and watched through plain edits, renames over a file and
 * the `..data` symlink swaps by which Kubernetes changes a ConfigMap or Secret. The only file of `shared` that does I/O.
 */
import { type BigIntStats, type FSWatcher, readdirSync, realpathSync, statSync, watch } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, join, sep } from 'node:path';
import type { Clock, Timer } from './clock.ts';
import { codeOf } from './error-code.ts';
import { err, ok, type Result } from './result.ts';

export interface FolderFile {
  /** Relative to the folder, `/` between its parts. */
  readonly path: string;
  /** UTF-8; empty where there is a problem. */
  readonly text: string;
  /** Why this file could not be read, as the end of a sentence that begins with its path; null if it could. */
  readonly problem: string | null;
}

export interface ReadOptions {
  /** Which files are wanted, by relative path; names that begin with a dot never are. */
  readonly filter?: (path: string) => boolean;
  /** Subfolders too. */
  readonly recursive?: boolean;
  readonly maxFileBytes?: number;
  readonly maxTotalBytes?: number;
}

/** A ConfigMap or Secret holds at most 1 MiB in all; mounted volumes may hold more. */
const DEFAULT_MAX_FILE_BYTES = 16 * 1024 * 1024;
const DEFAULT_MAX_TOTAL_BYTES = 64 * 1024 * 1024;
/** Bounds a symlink cycle or a wrong mount point (`/`). */
const MAX_DEPTH = 16;
const MAX_ENTRIES = 20_000;
/** Readings of a folder that changes meanwhile; a mount settles in one or two. */
const MAX_READINGS = 5;

/**
 * All wanted files, sorted by path. What is wrong with one file is told in it; the error completes the sentence "DIR …". If
 * anything changed while reading, everything is read again, so files of one result belong together.
 */
export async function readFolder(dir: string, options: ReadOptions = {}): Promise<Result<FolderFile[], string>> {
  for (let reading = 0; reading < MAX_READINGS; reading++) {
    const before = scan(dir, options);
    if (before.problem !== null) return err(before.problem);
    const files = await readAll(before, options);
    if (scan(dir, options).fingerprint === before.fingerprint) return ok(files);
  }
  return err('kept changing while it was read');
}

interface Entry {
  readonly path: string;
  /** Where to open it, free of symlinks; empty where `problem` says why not. */
  readonly target: string;
  readonly size: number;
  readonly problem: string | null;
}

interface Scan {
  readonly entries: Entry[];
  /** Equal for equal folder contents as far as names, inodes, sizes and times tell. */
  readonly fingerprint: string;
  /** Every real directory that was looked into: what there is to watch. */
  readonly directories: ReadonlySet<string>;
  readonly problem: string | null;
}

/**
 * Looks at names and times, not at contents. Synchronous, since it runs on the control thread over a few local inodes
 * (about 5 µs each) and an answer in one piece is what makes it comparable.
 */
function scan(dir: string, options: ReadOptions): Scan {
  const walk = new Walk(options);
  try {
    walk.root = realpathSync(dir);
    walk.directory(walk.root, '', 0);
  } catch (error) {
    const problem = reasonOf(error);
    return { entries: [], fingerprint: problem, directories: walk.directories, problem };
  }
  walk.entries.sort((a, b) => (a.path < b.path ? -1 : 1));
  const problem = walk.full ? `holds more than ${MAX_ENTRIES} entries` : null;
  return {
    entries: walk.entries,
    fingerprint: walk.marks.sort().join('\n'),
    directories: walk.directories,
    problem,
  };
}

class Walk {
  root = '';
  full = false;
  readonly entries: Entry[] = [];
  readonly marks: string[] = [];
  readonly directories: Set<string> = new Set();
  private seen = 0;
  private readonly options: ReadOptions;

  constructor(options: ReadOptions) {
    this.options = options;
  }

  directory(real: string, prefix: string, depth: number): void {
    this.directories.add(real);
    for (const entry of readdirSync(real, { withFileTypes: true })) {
      const { name } = entry;
      if (name.startsWith('.')) continue;
      if (++this.seen > MAX_ENTRIES) {
        this.full = true;
        return;
      }
      this.entry(join(real, name), entry.isSymbolicLink(), prefix + name, depth);
    }
  }

  /** `at` is a real path but for its last part, which may be a symlink. */
  private entry(at: string, symlink: boolean, path: string, depth: number): void {
    let target: string;
    let stats: BigIntStats;
    try {
      target = symlink ? realpathSync(at) : at;
      stats = statSync(target, { bigint: true });
    } catch (error) {
      this.bad(path, reasonOf(error));
      return;
    }
    const outside = target !== this.root && !target.startsWith(this.root + sep);
    if (stats.isDirectory()) {
      if (this.options.recursive !== true) return;
      if (outside) this.mark(path, 'is a symlink that leads out of the folder');
      else this.subfolder(target, path, depth);
    } else if (outside) {
      this.bad(path, 'is a symlink that leads out of the folder');
    } else if (stats.isFile()) {
      this.file(target, path, stats);
    } else {
      this.bad(path, 'is not a plain file');
    }
  }

  private subfolder(target: string, path: string, depth: number): void {
    if (depth >= MAX_DEPTH) this.mark(path, `is more than ${MAX_DEPTH} folders deep`);
    else if (this.directories.has(target)) this.mark(path, 'is a symlink to a folder that is read already');
    else {
      try {
        this.directory(target, `${path}/`, depth + 1);
      } catch (error) {
        this.mark(path, reasonOf(error));
      }
    }
  }

  private file(target: string, path: string, stats: BigIntStats): void {
    if (!this.wanted(path)) return;
    this.marks.push(`${path} ${stats.dev} ${stats.ino} ${stats.size} ${stats.mtimeNs} ${stats.ctimeNs}`);
    this.entries.push({ path, target, size: Number(stats.size), problem: null });
  }

  private bad(path: string, problem: string): void {
    if (this.wanted(path)) this.mark(path, problem);
  }

  /** A folder is told of whatever the filter says: it may hold wanted files. */
  private mark(path: string, problem: string): void {
    this.marks.push(`${path} ${problem}`);
    this.entries.push({ path, target: '', size: 0, problem });
  }

  private wanted(path: string): boolean {
    return this.options.filter === undefined || this.options.filter(path);
  }
}

async function readAll(scanned: Scan, options: ReadOptions): Promise<FolderFile[]> {
  const maxFile = options.maxFileBytes ?? DEFAULT_MAX_FILE_BYTES;
  const maxTotal = options.maxTotalBytes ?? DEFAULT_MAX_TOTAL_BYTES;
  const files: FolderFile[] = [];
  let total = 0;
  for (const { path, target, size, problem } of scanned.entries) {
    if (problem !== null) files.push({ path, text: '', problem });
    else if (size > maxFile) files.push({ path, text: '', problem: `is larger than ${maxFile} bytes` });
    else if (total + size > maxTotal) {
      files.push({ path, text: '', problem: `would bring the folder over ${maxTotal} bytes` });
    } else {
      total += size;
      files.push(await readText(path, target, size));
    }
  }
  return files;
}

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Reads what the file held when it was looked at: one that grows meanwhile is read again anyhow. */
async function readText(path: string, target: string, size: number): Promise<FolderFile> {
  let bytes: Buffer;
  try {
    const file = await open(target);
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(size), 0, size, 0);
      bytes = buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    return { path, text: '', problem: reasonOf(error) };
  }
  try {
    return { path, text: decoder.decode(bytes), problem: null };
  } catch {
    return { path, text: '', problem: 'is not UTF-8 text' };
  }
}

export interface WatchOptions extends ReadOptions {
  readonly clock: Clock;
  /** Quiet time after a sign of change before it is reported, so that a burst of writes is one change. */
  readonly debounceMs?: number;
  /** Time between looks without any sign: network mounts and swapped parent folders send none. */
  readonly pollMs?: number;
}

const DEFAULT_DEBOUNCE_MS = 100;
const DEFAULT_POLL_MS = 2000;
/** Somebody who never stops writing is reported all the same after so many quiet times. */
const MAX_POSTPONEMENTS = 10;

export interface FolderWatch {
  close(): void;
}

/**
 * Calls `onChange` after the wanted files of `dir` changed, appeared or went away; the folder itself may be absent, vanish and
 * come back. Changes before this call are not reported: watch first, then read. The caller closes it.
 */
export function watchFolder(dir: string, onChange: () => void, options: WatchOptions): FolderWatch {
  return new Watching(dir, onChange, options);
}

class Watching implements FolderWatch {
  private readonly dir: string;
  private readonly onChange: () => void;
  private readonly options: WatchOptions;
  private readonly debounceMs: number;
  private readonly pollMs: number;
  private readonly watchers = new Map<string, FSWatcher>();
  private fingerprint: string;
  private postponements = 0;
  private settling: Timer | null = null;
  private polling: Timer;

  constructor(dir: string, onChange: () => void, options: WatchOptions) {
    this.dir = dir;
    this.onChange = onChange;
    this.options = options;
    this.debounceMs = options.debounceMs ?? DEFAULT_DEBOUNCE_MS;
    this.pollMs = options.pollMs ?? DEFAULT_POLL_MS;
    this.fingerprint = this.look();
    this.polling = this.nextPoll();
  }

  close(): void {
    this.polling.cancel();
    this.settling?.cancel();
    for (const watcher of this.watchers.values()) watcher.close();
    this.watchers.clear();
  }

  private nextPoll(): Timer {
    return this.options.clock.after(this.pollMs, () => {
      this.polling = this.nextPoll();
      if (this.look() !== this.fingerprint) this.stir();
    });
  }

  /** A sign of change: wait until it is quiet, then compare. */
  private stir(): void {
    if (this.settling !== null) {
      if (this.postponements >= MAX_POSTPONEMENTS) return;
      this.postponements++;
      this.settling.cancel();
    }
    this.settling = this.options.clock.after(this.debounceMs, () => {
      this.settling = null;
      this.postponements = 0;
      const fingerprint = this.look();
      if (fingerprint === this.fingerprint) return;
      this.fingerprint = fingerprint;
      this.onChange();
    });
  }

  /** The present fingerprint; on the way the watchers are moved to the directories that exist now. */
  private look(): string {
    const { directories, fingerprint } = scan(this.dir, this.options);
    for (const directory of this.watchers.keys()) {
      if (!directories.has(directory)) this.forget(directory);
    }
    for (const directory of directories) {
      if (!this.watchers.has(directory)) this.watchDirectory(directory);
    }
    return fingerprint;
  }

  /** Without a watcher (inotify used up, folder gone again) polling still sees every change. */
  private watchDirectory(directory: string): void {
    try {
      const watcher = watch(directory, { persistent: false }, (_event, name) => {
        // Its own name: the folder was removed or moved, and of one made anew in its place this watcher hears nothing.
        if (name === basename(directory)) this.forget(directory);
        this.stir();
      });
      watcher.on('error', () => this.forget(directory));
      this.watchers.set(directory, watcher);
    } catch {
      // Nothing to undo: the next look tries again.
    }
  }

  private forget(directory: string): void {
    this.watchers.get(directory)?.close();
    this.watchers.delete(directory);
  }
}

function reasonOf(error: unknown): string {
  const code = codeOf(error) ?? 'unknown';
  switch (code) {
    case 'ENOENT':
      return 'does not exist';
    case 'ENOTDIR':
      return 'is not a folder';
    case 'EACCES':
    case 'EPERM':
      return 'may not be read by this user';
    case 'ELOOP':
      return 'is a symlink that leads in a circle';
    default:
      return `cannot be read (${code})`;
  }
}
