/**
 * Identity from a weft CA: a fresh key for every certificate, a request for it over HTTPS, renewal at half of the
 * lifetime. The key never leaves the process.
 */
import { readFile } from 'node:fs/promises';
import type { Clock, Timer } from '../../shared/clock.ts';
import type { Random } from '../../shared/random.ts';
import { err, ok, type Result } from '../../shared/result.ts';
import type { CertificateProblem, Identity } from '../identity.ts';
import { identityFromPem } from '../identity-pem.ts';
import { requestText } from '../request.ts';
import { renewalDelay } from '../rotation.ts';
import { Backoff } from './backoff.ts';
import { type IdentitySource, validityProblem } from './source.ts';

export interface CaSourceOptions {
  /** `https://HOST:PORT`. */
  readonly url: string;
  /** A service-account or join token; read for every request, because kubelet renews it. */
  readonly tokenFile: string;
  /** PEM of the CAs that the CA server's own certificate may come from; read for every request. */
  readonly bundleFile: string;
  readonly clock: Clock;
  readonly random: Random;
}

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 1024 * 1024;

export class CaSource implements IdentitySource {
  private readonly options: CaSourceOptions;
  private readonly backoff: Backoff;
  private timer: Timer | null = null;
  private current: Identity | null = null;
  private closed = false;
  private onIdentity: (identity: Identity) => void = () => {};
  private onProblem: (problem: CertificateProblem) => void = () => {};

  constructor(options: CaSourceOptions) {
    this.options = options;
    this.backoff = new Backoff(options.random);
  }

  start(onIdentity: (identity: Identity) => void, onProblem: (problem: CertificateProblem) => void): void {
    this.onIdentity = onIdentity;
    this.onProblem = onProblem;
    void this.renew();
  }

  close(): void {
    this.closed = true;
    this.timer?.cancel();
  }

  private async renew(): Promise<void> {
    const result = await this.request();
    if (this.closed) return;
    const { clock, random } = this.options;
    if (result.ok) {
      this.current = result.value;
      this.backoff.reset();
      this.timer = clock.after(renewalDelay(result.value, clock.wall(), random), () => void this.renew());
      this.onIdentity(result.value);
    } else {
      this.timer = clock.after(this.backoff.next(), () => void this.renew());
      this.onProblem(result.error);
    }
  }

  private async request(): Promise<Result<Identity, CertificateProblem>> {
    const { url, tokenFile, bundleFile, clock } = this.options;
    if (!url.startsWith('https://') || !URL.canParse(url)) return problem(`"${url}" is no https: URL`, 'correct --ca');
    const bundle = await read(bundleFile);
    if (bundle === null) return problem(`${bundleFile} cannot be read`, 'it holds the root of the CA server');
    const token = await read(tokenFile);
    if (token === null && this.current === null)
      return problem(`${tokenFile} cannot be read`, 'mount the CA token there');
    const { CA_PATH, createCsr } = await import('../issue-csr.ts');
    const { exportKey, freshKeys } = await import('../issue.ts');
    const keys = freshKeys();
    const answer = await this.post(new URL(CA_PATH, url).href, createCsr(keys), bundle, token);
    if (!answer.ok) return answer;
    const identity = identityFromPem({
      certificate: answer.value.certificateChain,
      key: exportKey(keys.privateKey),
      bundle: answer.value.trustBundle,
    });
    if (!identity.ok) return identity;
    const invalid = validityProblem(identity.value, clock.wall());
    return invalid === null ? identity : err(invalid);
  }

  /** With the token first; with the certificate at hand where the token no longer serves, as a join token after its use. */
  private async post(
    url: string,
    csr: string,
    bundle: string,
    token: string | null,
  ): Promise<Result<Issued, CertificateProblem>> {
    const request = { method: 'POST', body: csr, timeoutMs: TIMEOUT_MS, maxBytes: MAX_ANSWER_BYTES } as const;
    const own = this.current;
    let answer = await requestText(url, {
      ...request,
      ...(token === null ? {} : { headers: { authorization: `Bearer ${token}` } }),
      tls: { ca: bundle },
    });
    if (own !== null && answer.ok && answer.value.status === 401) {
      answer = await requestText(url, {
        ...request,
        tls: { ca: bundle, cert: own.certificateChain, key: own.privateKey },
      });
    }
    if (!answer.ok) return problem(`the CA ${url} ${answer.error}`, 'is it up, and is its root in the bundle?');
    const parsed = parseAnswer(answer.value.text);
    if (answer.value.status !== 200) {
      return problem(
        `the CA ${url} refuses with status ${answer.value.status}: ${parsed?.error ?? ''}`,
        'its log says more',
      );
    }
    if (parsed === null || parsed.issued === null) return problem(`the CA ${url} answers with something else`, '');
    return ok(parsed.issued);
  }
}

interface Issued {
  readonly certificateChain: string;
  readonly trustBundle: string;
}

const MAX_QUOTED = 200;

function parseAnswer(text: string): { issued: Issued | null; error: string } | null {
  try {
    const value = JSON.parse(text) as Readonly<Record<string, unknown>> | null;
    const chain = value?.['certificateChain'];
    const bundle = value?.['trustBundle'];
    const error = value?.['error'];
    const issued =
      typeof chain === 'string' && typeof bundle === 'string' ? { certificateChain: chain, trustBundle: bundle } : null;
    return { issued, error: typeof error === 'string' ? error.slice(0, MAX_QUOTED) : '' };
  } catch {
    return null;
  }
}

async function read(path: string): Promise<string | null> {
  try {
    const text = (await readFile(path, 'utf8')).trim();
    return text === '' ? null : text;
  } catch {
    return null;
  }
}

function problem(message: string, advice: string): { ok: false; error: CertificateProblem } {
  return err({ part: 'source', message, advice });
}
