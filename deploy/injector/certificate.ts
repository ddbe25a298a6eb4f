/**
 * The webhook's serving certificate: issued by the CA in a folder and renewed at half of its life, or mounted as files by somebody
 * else and read anew when they change.
 */
import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { readAuthority } from '../../certs/ca-folder.ts';
import { issueLeaf } from '../../certs/issue.ts';
import type { Clock, Timer } from '../../shared/clock.ts';
import { readFolder, watchFolder } from '../../shared/folder.ts';
import { err, ok, type Result } from '../../shared/result.ts';

/** PEM throughout. */
export interface ServingCertificate {
  readonly cert: string;
  readonly key: string;
  /** What an API server has to trust. */
  readonly ca: string;
}

/** Where certificates come from. The owner closes it. */
export interface CertificateSource {
  /** The first one, or why there is none, as a sentence. From then on `onRenewed` gets the ones that follow. */
  start(
    onRenewed: (certificate: ServingCertificate) => void,
    onProblem: (problem: string) => void,
  ): Promise<Result<ServingCertificate, string>>;
  close(): void;
}

/** A day: a webhook that renews every twelve hours shows early that it can. */
const LIFETIME_MS = 86_400_000;

export interface IssuedOptions {
  /** `ca.crt`, `ca.key`. */
  readonly dir: string;
  readonly spiffeId: string;
  /** Names under which API servers reach the webhook. */
  readonly dnsNames: readonly string[];
  readonly clock: Clock;
}

export class IssuedCertificate implements CertificateSource {
  private readonly options: IssuedOptions;
  private timer: Timer | null = null;

  constructor(options: IssuedOptions) {
    this.options = options;
  }

  start(
    onRenewed: (certificate: ServingCertificate) => void,
    onProblem: (problem: string) => void,
  ): Promise<Result<ServingCertificate, string>> {
    this.renewLater(onRenewed, onProblem);
    return this.issue();
  }

  close(): void {
    this.timer?.cancel();
  }

  private renewLater(onRenewed: (certificate: ServingCertificate) => void, onProblem: (problem: string) => void): void {
    this.timer = this.options.clock.after(LIFETIME_MS / 2, () => {
      this.renewLater(onRenewed, onProblem);
      void this.issue().then((issued) => (issued.ok ? onRenewed(issued.value) : onProblem(issued.error)));
    });
  }

  /** The CA is read each time: it may have been replaced. */
  private async issue(): Promise<Result<ServingCertificate, string>> {
    const { dir, spiffeId, dnsNames, clock } = this.options;
    const authority = await readAuthority(dir);
    if (!authority.ok) return authority;
    const leaf = issueLeaf(authority.value, { spiffeId, dnsNames, now: clock.wall(), lifetimeMs: LIFETIME_MS });
    if (!leaf.ok) return leaf;
    return ok({ cert: leaf.value.certificateChain, key: leaf.value.privateKey, ca: leaf.value.trustBundle });
  }
}

export class MountedCertificate implements CertificateSource {
  private readonly dir: string;
  private readonly clock: Clock;
  private watch: { close(): void } | null = null;

  constructor(dir: string, clock: Clock) {
    this.dir = dir;
    this.clock = clock;
  }

  start(
    onRenewed: (certificate: ServingCertificate) => void,
    onProblem: (problem: string) => void,
  ): Promise<Result<ServingCertificate, string>> {
    const changed = async (): Promise<void> => {
      const read = await this.read();
      if (read.ok) onRenewed(read.value);
      else onProblem(read.error);
    };
    this.watch = watchFolder(this.dir, () => void changed(), { clock: this.clock });
    return this.read();
  }

  close(): void {
    this.watch?.close();
  }

  private async read(): Promise<Result<ServingCertificate, string>> {
    const files = await readFolder(this.dir);
    if (!files.ok) return err(`${this.dir} ${files.error}`);
    const text = (name: string): string => files.value.find(({ path }) => path === name)?.text ?? '';
    const found = { cert: text('tls.crt'), key: text('tls.key'), ca: text('ca.crt') };
    try {
      // Throws where they are no PEM or do not belong together.
      createSecureContext({ cert: found.cert, key: found.key });
      new X509Certificate(found.ca);
      return ok(found);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return err(`${this.dir}: tls.crt, tls.key and ca.crt do not fit together (${reason})`);
    }
  }
}
