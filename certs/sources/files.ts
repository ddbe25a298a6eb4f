/**
 * Identity from a mounted folder: `tls.crt`, `tls.key`, `ca.crt`, as Kubernetes mounts a `kubernetes.io/tls` Secret and as
 * cert-manager and `weft ca issue` write them, and `ca.crl` where peers can be revoked. Rotation by rename or by `..data`
 * swap.
 */
import type { Clock, Timer } from '../../shared/clock.ts';
import { type FolderFile, type FolderWatch, readFolder, watchFolder } from '../../shared/folder.ts';
import { err, ok, type Result } from '../../shared/result.ts';
import type { CertificateProblem, Identity } from '../identity.ts';
import { identityFromPem } from '../identity-pem.ts';
import { type IdentitySource, sameIdentity, validityProblem } from './source.ts';

const CERTIFICATE = 'tls.crt';
const KEY = 'tls.key';
const BUNDLE = 'ca.crt';
const REVOCATION = 'ca.crl';
const NAMES: ReadonlySet<string> = new Set([CERTIFICATE, KEY, BUNDLE, REVOCATION]);

/** A bundle of 500 roots has 600 KB. */
const MAX_FILE_BYTES = 1024 * 1024;
/** New handshakes shall use a new certificate within a second of its arrival, also where no file events are sent. */
const POLL_MS = 500;
/** Between the first and the last rename of one rotation. */
const DEBOUNCE_MS = 50;
/** A certificate that is not valid yet, or files that never settled, are looked at again without being touched. */
const RETRY_MS = 5000;

export class FilesSource implements IdentitySource {
  private readonly dir: string;
  private readonly clock: Clock;
  private watch: FolderWatch | null = null;
  private retry: Timer | null = null;
  private reading = false;
  private stale = false;
  private closed = false;
  private current: Identity | null = null;
  private lastProblem = '';
  private onIdentity: (identity: Identity) => void = () => {};
  private onProblem: (problem: CertificateProblem) => void = () => {};

  constructor(dir: string, clock: Clock) {
    this.dir = dir;
    this.clock = clock;
  }

  start(onIdentity: (identity: Identity) => void, onProblem: (problem: CertificateProblem) => void): void {
    this.onIdentity = onIdentity;
    this.onProblem = onProblem;
    this.watch = watchFolder(this.dir, () => this.read(), {
      clock: this.clock,
      debounceMs: DEBOUNCE_MS,
      pollMs: POLL_MS,
      filter: (path) => NAMES.has(path),
    });
    this.read();
  }

  close(): void {
    this.closed = true;
    this.watch?.close();
    this.retry?.cancel();
  }

  /** One reading at a time; a change in the middle of one makes another follow. */
  private read(): void {
    if (this.reading) {
      this.stale = true;
      return;
    }
    this.reading = true;
    this.retry?.cancel();
    this.retry = null;
    void this.readOnce();
  }

  private async readOnce(): Promise<void> {
    const result = await readIdentity(this.dir, this.clock);
    this.reading = false;
    if (this.closed) return;
    if (this.stale) {
      this.stale = false;
      this.read();
    } else {
      this.take(result);
    }
  }

  private take(result: Result<Identity, CertificateProblem>): void {
    if (!result.ok) {
      this.retry = this.clock.after(RETRY_MS, () => this.read());
      const text = `${result.error.part} ${result.error.message}`;
      if (text === this.lastProblem) return;
      this.lastProblem = text;
      this.onProblem(result.error);
      return;
    }
    this.lastProblem = '';
    if (this.current !== null && sameIdentity(this.current, result.value)) return;
    this.current = result.value;
    this.onIdentity(result.value);
  }
}

/** The folder's identity as it is now, if it is valid now. */
export async function readIdentity(dir: string, clock: Clock): Promise<Result<Identity, CertificateProblem>> {
  const files = await readFolder(dir, { filter: (path) => NAMES.has(path), maxFileBytes: MAX_FILE_BYTES });
  if (!files.ok) return problem('source', `${dir} ${files.error}`);
  const certificate = textOf(files.value, CERTIFICATE);
  const key = textOf(files.value, KEY);
  const bundle = textOf(files.value, BUNDLE);
  if (!certificate.ok) return problem('certificate', `${dir}/${CERTIFICATE} ${certificate.error}`);
  if (!key.ok) return problem('key', `${dir}/${KEY} ${key.error}`);
  if (!bundle.ok) return problem('bundle', `${dir}/${BUNDLE} ${bundle.error}`);
  const revocation = files.value.some(({ path }) => path === REVOCATION) ? textOf(files.value, REVOCATION) : null;
  if (revocation?.ok === false) return problem('revocation', `${dir}/${REVOCATION} ${revocation.error}`);
  const identity = identityFromPem({
    certificate: certificate.value,
    key: key.value,
    bundle: bundle.value,
    ...(revocation === null ? {} : { revocation: revocation.value }),
  });
  if (!identity.ok) return identity;
  const invalid = validityProblem(identity.value, clock.wall());
  return invalid === null ? identity : err(invalid);
}

function textOf(files: readonly FolderFile[], name: string): Result<string, string> {
  const file = files.find(({ path }) => path === name);
  if (file === undefined) return err('does not exist');
  return file.problem === null ? ok(file.text) : err(file.problem);
}

/** What cannot be read is missing, or another user's. */
function problem(part: CertificateProblem['part'], message: string): Result<Identity, CertificateProblem> {
  const advice = 'mount a folder with tls.crt, tls.key and ca.crt there (--certs), readable for this user';
  return err({ part, message, advice });
}
