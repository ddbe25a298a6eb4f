/**
 * Tells the API server which CA the webhook's certificate comes from: writes it into `caBundle` of the own
 * MutatingWebhookConfiguration, with the rights of the own service account (deploy/kubernetes, ClusterRole weft-injector).
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { requestText } from '../../certs/request.ts';
import { Backoff } from '../../certs/sources/backoff.ts';
import type { Clock, Timer } from '../../shared/clock.ts';
import { codeOf } from '../../shared/error-code.ts';
import type { Random } from '../../shared/random.ts';
import { err, ok, type Result } from '../../shared/result.ts';

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
/** Somebody may apply the manifests again, which hold no bundle. */
const LOOK_AGAIN_MS = 60_000;
const API = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/';

export interface RegistrationOptions {
  /** `https://HOST:PORT` of the API server. */
  readonly api: string;
  /** `token` and `ca.crt` of the service account; read for every request, because kubelet renews them. */
  readonly account: string;
  /** Name of the MutatingWebhookConfiguration. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: (line: Readonly<Record<string, string>>) => void;
}

/** Keeps `caBundle` as it should be. The owner closes it. */
export class Registration {
  private readonly options: RegistrationOptions;
  private readonly backoff: Backoff;
  private bundle = '';
  private timer: Timer | null = null;
  private closed = false;
  private working = false;

  constructor(options: RegistrationOptions) {
    this.options = options;
    this.backoff = new Backoff(options.random);
  }

  /** `ca` is PEM. Writes now, and again whenever the bundle is found to be another. */
  use(ca: string): void {
    this.bundle = Buffer.from(ca).toString('base64');
    void this.look();
  }

  close(): void {
    this.closed = true;
    this.timer?.cancel();
  }

  private async look(): Promise<void> {
    if (this.working) return;
    this.working = true;
    this.timer?.cancel();
    const { clock, log, name } = this.options;
    const done = await this.register();
    this.working = false;
    if (this.closed) return;
    if (!done.ok) log({ message: 'the webhook is not registered', name, problem: done.error });
    else if (done.value > 0) log({ message: 'the webhook is registered', name });
    if (done.ok) this.backoff.reset();
    this.timer = clock.after(done.ok ? LOOK_AGAIN_MS : this.backoff.next(), () => void this.look());
  }

  /** How many webhooks had another bundle. */
  private async register(): Promise<Result<number, string>> {
    const { bundle } = this;
    const found = await this.call('GET');
    if (!found.ok) return found;
    const stale = staleWebhooks(found.value, bundle);
    if (!stale.ok || stale.value.length === 0) return stale.ok ? ok(0) : stale;
    const patch = stale.value.map((i) => ({ op: 'add', path: `/webhooks/${i}/clientConfig/caBundle`, value: bundle }));
    const patched = await this.call('PATCH', JSON.stringify(patch));
    return patched.ok ? ok(stale.value.length) : patched;
  }

  private async call(method: 'GET' | 'PATCH', body?: string): Promise<Result<string, string>> {
    const { api, account, name } = this.options;
    const url = new URL(API + name, api).href;
    let token: string;
    let ca: string;
    try {
      token = (await readFile(join(account, 'token'), 'utf8')).trim();
      ca = await readFile(join(account, 'ca.crt'), 'utf8');
    } catch (error) {
      return err(`${account} holds no token and ca.crt (${codeOf(error) ?? String(error)})`);
    }
    const headers = { authorization: `Bearer ${token}`, accept: 'application/json' };
    const patching = { ...headers, 'content-type': 'application/json-patch+json' };
    const answer = await requestText(url, {
      method,
      headers: body === undefined ? headers : patching,
      ...(body === undefined ? {} : { body }),
      tls: { ca },
      timeoutMs: TIMEOUT_MS,
      maxBytes: MAX_ANSWER_BYTES,
    });
    if (!answer.ok) return err(`${url} ${answer.error}`);
    const { status, text } = answer.value;
    return status === 200 ? ok(text) : err(`${url} answers ${method} with status ${status}`);
  }
}

/** Indices of the webhooks whose bundle is another. */
function staleWebhooks(text: string, bundle: string): Result<number[], string> {
  try {
    const { webhooks = [] } = JSON.parse(text) as { webhooks?: { clientConfig?: { caBundle?: string } }[] };
    return ok(webhooks.flatMap(({ clientConfig }, i) => (clientConfig?.caBundle === bundle ? [] : [i])));
  } catch {
    return err('the API server answers with something else than a MutatingWebhookConfiguration');
  }
}
