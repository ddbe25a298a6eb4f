/**
 * The certificate this sidecar shows, as the control thread keeps it: had from its source, handed to the data threads, told
 * of in log and metrics, and watched until it ends. The owner closes it.
 */
import type { Logger } from 'pino';
import { type CertificateProblem, type Identity, parseSpiffeId } from '../certs/identity.ts';
import { ExpiryWatch } from '../certs/rotation.ts';
import { chooseSource, type SourceChoice } from '../certs/sources/choose.ts';
import { type IdentitySource, validityProblem } from '../certs/sources/source.ts';
import { isOurs, type TrustSettings } from '../certs/verify.ts';
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
  /** What the policy in force calls ours; nothing before there is one. */
  private mesh: TrustSettings = { trustDomain: '', aliases: [] };
  private source: IdentitySource | null = null;
  private folder = '';
  /** Of a trust domain that policy may still name. */
  private stranger: Identity | null = null;
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
    this.folder = choice.certs;
    this.source = await chooseSource(choice, this.clock);
    this.source.start(
      (identity) => this.take(identity),
      (problem) => this.refuse(problem),
    );
  }

  /** Whose identities are ours by the policy in force. */
  get trust(): TrustSettings {
    return this.mesh;
  }

  /** A policy has come into force: a certificate that waited for it is used now. */
  useTrust(trust: TrustSettings): void {
    this.mesh = trust;
    const { stranger } = this;
    if (stranger === null || !isOurs(domainOf(stranger), trust)) return;
    if (validityProblem(stranger, this.clock.wall()) === null) this.take(stranger);
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

  /** The first one is believed; a later one must not take this workload to a mesh that nobody has named. */
  private take(identity: Identity): void {
    const before = this.identity === null ? null : domainOf(this.identity);
    const domain = domainOf(identity);
    this.stranger = null;
    if (before === null || domain === before || isOurs(domain, this.mesh)) {
      this.use(identity);
      return;
    }
    this.stranger = identity;
    this.refuse({
      part: 'certificate',
      message: `names trust domain ${domain}, which is neither that of the certificate in use (${before}) nor the mesh's`,
      advice:
        'if it is meant, add it to trustDomainAliases of the Mesh: the certificate is used as soon as that is in force',
    });
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

  private refuse(problem: CertificateProblem): void {
    this.problem = problem;
    this.failedAt = this.clock.wall();
    certificateRotations(this.metrics, 'refused').inc();
    const kept = this.identity === null ? 'no certificate is in use' : 'the last good certificate stays in use';
    this.logger.error({ ...problem, folder: this.folder }, `certificate problem: ${kept}`);
  }
}

function domainOf({ spiffeId }: Identity): string {
  return parseSpiffeId(spiffeId)?.trustDomain ?? '';
}
