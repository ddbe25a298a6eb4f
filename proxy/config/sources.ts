/** The policy folder on the control thread: watched, decoded, compiled; the last good snapshot stays in force. */
import type { Clock, Timer } from '../../shared/clock.ts';
import { type FolderFile, type FolderWatch, readFolder, watchFolder } from '../../shared/folder.ts';
import type { Problem } from '../../shared/problem.ts';
import { EXPRESSION, loadExpressions } from '../policy/expression.ts';
import { type Compiled, compileDocuments, type Self } from './compile.ts';
import {
  type DecodedDocument,
  type DecodedFile,
  decodeFile,
  FileDecoder,
  joinDecoded,
  MAX_FILE_BYTES,
} from './decode.ts';
import type { Snapshot } from './snapshot.ts';

/** CONTRACT, `--policy`: names that begin with a dot never reach this. */
export function isPolicyFile(path: string): boolean {
  return /\.(?:yaml|yml|json)$/.test(path) && !path.endsWith('.test.yaml');
}

/** What `weft test` runs: no policy itself. */
function isTestFile(path: string): boolean {
  return path.endsWith('.test.yaml');
}

const READ_OPTIONS = {
  filter: (path: string): boolean => isPolicyFile(path) || isTestFile(path),
  recursive: true,
  maxFileBytes: MAX_FILE_BYTES,
};

const MOUNT_IT = 'mount the policy folder there (--policy), readable for this user';

export interface DecodedFolder extends DecodedFile {
  /** The policy tests beside the policies, undecoded. */
  readonly tests: readonly FolderFile[];
  /** Something could not be read: another reading may find it readable, though nothing has changed by then. */
  readonly isIncomplete: boolean;
}

/** Milliseconds until what could not be read (out of file descriptors, say) is read again. */
const RETRY_MS = 5_000;

/** Reads and decodes a folder once; `decode` may be one that remembers, `advice` is for a folder that cannot be read. */
export async function decodeFolder(
  dir: string,
  decode: (path: string, text: string) => DecodedFile = (path, text) => decodeFile({ path, text }),
  advice = '',
): Promise<DecodedFolder> {
  const read = await readFolder(dir, READ_OPTIONS);
  if (!read.ok) {
    return { documents: [], problems: [folderProblem(dir, read.error, advice)], tests: [], isIncomplete: true };
  }
  if (read.value.some(({ text }) => text.includes(EXPRESSION))) await loadExpressions();
  const policy = read.value.filter(({ path }) => !isTestFile(path));
  const decoded = policy.map(({ path, text, problem }) =>
    problem === null ? decode(path, text) : { documents: [], problems: [folderProblem(path, problem)] },
  );
  return {
    ...joinDecoded(decoded),
    tests: read.value.filter(({ path }) => isTestFile(path)),
    isIncomplete: read.value.some(({ problem }) => problem !== null),
  };
}

function folderProblem(file: string, message: string, advice = ''): Problem {
  return { severity: 'error', file, line: 0, column: 0, path: '', message, advice };
}

/** The folder's own tests (CONTRACT, `--policy-tests`), as somebody whom config need not know runs them. */
export interface PolicyTests {
  /** A reading that fails its tests is refused. */
  readonly enforced: boolean;
  /** Everything that does not hold. `documents` compile without a problem. */
  run(documents: readonly DecodedDocument[], tests: readonly FolderFile[]): Promise<readonly Problem[]>;
}

export interface PolicyEvents {
  /** A new snapshot; not called where its hash is that of the one in force. */
  onSnapshot(snapshot: Snapshot): void;
  /** The folder cannot be used as it is; what was in force stays. Called once for each different set of problems. */
  onProblems(problems: readonly Problem[]): void;
  /** Tests fail that are not enforced. Called once for each different set. */
  onTestFailures(failures: readonly Problem[]): void;
}

/** What `weft_policy_*` tells. */
export interface ReloadCounts {
  /** Folders compiled into the snapshot in force, or into an equal one. */
  accepted: number;
  refused: number;
  /** Wall clock milliseconds of the last good reading; 0 before the first. */
  lastGoodAt: number;
  /** Of the snapshot in force; empty before the first. */
  hash: string;
}

export class PolicySource {
  readonly counts: ReloadCounts = { accepted: 0, refused: 0, lastGoodAt: 0, hash: '' };
  /** Problems of the folder as it is now; empty where it is in force. */
  problems: readonly Problem[] = [];
  /** What the folder's tests found at the last reading that compiled. */
  testFailures: readonly Problem[] = [];
  private readonly tests: PolicyTests | null;
  private readonly dir: string;
  private readonly self: Self;
  private readonly events: PolicyEvents;
  private readonly clock: Clock;
  private watch: FolderWatch | null = null;
  private running: Promise<void> | null = null;
  private again = false;
  private closed = false;
  private retry: Timer | null = null;
  /** By path; each remembers its file's documents, so that only those that changed are decoded again. */
  private remembered = new Map<string, FileDecoder>();

  constructor(dir: string, self: Self, events: PolicyEvents, clock: Clock, tests: PolicyTests | null = null) {
    this.tests = tests;
    this.dir = dir;
    this.self = self;
    this.events = events;
    this.clock = clock;
  }

  /** Watches and reads for the first time; resolves after that reading. */
  start(): Promise<void> {
    this.watch = watchFolder(this.dir, () => void this.reload(), { ...READ_OPTIONS, clock: this.clock });
    return this.reload();
  }

  close(): void {
    this.closed = true;
    this.watch?.close();
    this.retry?.cancel();
  }

  /** Reads the folder now. One reading at a time: a change during one makes another after it. */
  reload(): Promise<void> {
    if (this.running !== null) {
      this.again = true;
      return this.running;
    }
    this.running = this.readUntilQuiet().finally(() => {
      this.running = null;
    });
    return this.running;
  }

  private async readUntilQuiet(): Promise<void> {
    do {
      this.again = false;
      this.retry?.cancel();
      const next: typeof this.remembered = new Map();
      const { documents, problems, tests, isIncomplete } = await decodeFolder(
        this.dir,
        (path, text) => this.decode(path, text, next),
        MOUNT_IT,
      );
      this.remembered = next;
      if (this.closed) return;
      const compiled = compileDocuments(documents, problems, this.self);
      const judged = compiled.snapshot === null ? compiled : await this.judge(compiled, documents, tests);
      if (this.closed) return;
      this.apply(judged);
      if (isIncomplete) this.retry = this.clock.after(RETRY_MS, () => void this.reload());
    } while (this.again && !this.closed);
  }

  private decode(path: string, text: string, next: typeof this.remembered): DecodedFile {
    const decoder = this.remembered.get(path) ?? new FileDecoder(path);
    next.set(path, decoder);
    return decoder.decode(text);
  }

  /** What the folder's own tests leave of it. */
  private async judge(
    compiled: Compiled,
    documents: readonly DecodedDocument[],
    tests: readonly FolderFile[],
  ): Promise<Compiled> {
    const before = this.testFailures;
    this.testFailures = this.tests === null || tests.length === 0 ? [] : await this.tests.run(documents, tests);
    if (this.testFailures.length === 0) return compiled;
    if (this.tests?.enforced === true) return { snapshot: null, problems: this.testFailures };
    if (JSON.stringify(before) !== JSON.stringify(this.testFailures)) this.events.onTestFailures(this.testFailures);
    return compiled;
  }

  private apply({ snapshot, problems }: Compiled): void {
    const before = this.problems;
    this.problems = problems;
    if (snapshot === null) {
      this.counts.refused++;
      if (JSON.stringify(before) !== JSON.stringify(problems)) this.events.onProblems(problems);
      return;
    }
    this.counts.accepted++;
    this.counts.lastGoodAt = this.clock.wall();
    if (snapshot.hash === this.counts.hash) return;
    this.counts.hash = snapshot.hash;
    this.events.onSnapshot(snapshot);
  }
}
