/**
 * The certificate this sidecar shows, as the control thread keeps it: had from its source, handed to the data threads, told
 * of in log and metrics, and watched until it ends. The owner closes it.
 */
import type { Logger } from 'pino';
import type { CertificateProblem, Identity } from '../certs/identity.ts';
import { ExpiryWatch } from '../certs/rotation.ts';
import { chooseSource, type SourceChoice } from '../certs/sources/choose.ts';
import type { IdentitySource } from '../certs/sources/source.ts';
import type { Clock } from '../shared/clock.ts';
import type { Metrics } from './telemetry/metrics.ts';
import { certificateRotations } from './telemetry/weft-series.ts';

export class OwnCertificate {
  /** The last good one, expired or not; null until there was any. */
  identity: Identity | null = null;
  /** Wall clock milliseconds; 0 for never. */
  rotatedAt = 0;
  failedAt = 0;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly metrics: Metrics;
  private readonly onIdentity: (identity: Identity) => void;
  private readonly expiry: ExpiryWatch;
  private source: IdentitySource | null = null;
  private problem: CertificateProblem | null = null;

  constructor(clock: Clock, logger: Logger, metrics: Metrics, onIdentity: (identity: Identity) => void) {
    this.clock = clock;
    this.logger = logger;
    this.metrics = metrics;
    this.onIdentity = onIdentity;
    this.expiry = new ExpiryWatch(clock, {
      onExpiring: (leftMs) => logger.warn({ left_ms: Math.round(leftMs) }, 'the own certificate is about to expire'),
      onExpired: () => logger.error('the own certificate has expired: unready'),
    });
  }

  async start(choice: SourceChoice): Promise<void> {
    this.source = await chooseSource(choice, this.clock);
    this.source.start(
      (identity) => this.use(identity),
      (problem) => this.refuse(problem, choice.certs),
    );
  }

  close(): void {
    this.source?.close();
    this.expiry.close();
  }

  /** Why the sidecar is not ready for the lack of a certificate; null if it is. */
  unready(): string | null {
    if (this.identity === null) return `no certificate: ${this.problem?.message ?? 'none was read yet'}`;
    return this.identity.notAfter <= this.clock.wall() ? 'the certificate has expired' : null;
  }

  private use(identity: Identity): void {
    this.identity = identity;
    this.problem = null;
    this.rotatedAt = this.clock.wall();
    certificateRotations(this.metrics, 'applied').inc();
    this.expiry.use(identity);
    this.onIdentity(identity);
    const { spiffeId, serialNumber, notAfter } = identity;
    this.logger.info(
      { spiffe_id: spiffeId, serial: serialNumber, not_after: new Date(notAfter).toISOString() },
      'certificate in use',
    );
  }

  private refuse(problem: CertificateProblem, folder: string): void {
    this.problem = problem;
    this.failedAt = this.clock.wall();
    certificateRotations(this.metrics, 'refused').inc();
    const kept = this.identity === null ? 'no certificate is in use' : 'the last good certificate stays in use';
    this.logger.error({ ...problem, folder }, `certificate problem: ${kept}`);
  }
}
