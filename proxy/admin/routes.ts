/**
 * The three servers of the control thread: admin (loopback), metrics and readiness (for the cluster). What they show
 * and set in motion is handed in as functions.
 */
import type { Server } from 'node:http';
import { CONTENT_TYPE } from '../telemetry/prometheus.ts';
import { redactedJson } from '../telemetry/redact.ts';
import { type ClusterStatus, clustersText } from './clusters.ts';
import { type Answer, createEndpointServer, type Endpoint, json, text } from './server.ts';

export interface Readiness {
  readonly ready: boolean;
  /** Why not, one sentence each; empty when ready. */
  readonly reasons: readonly string[];
}

/** Of a certificate, only what may be seen. Times in wall clock milliseconds. */
export interface CertificateStatus {
  readonly spiffeId: string;
  readonly serialNumber: string;
  readonly fingerprint: string;
  readonly bundleHash: string;
  readonly notBefore: number;
  readonly notAfter: number;
}

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface ExplainQuestion {
  readonly method: string;
  readonly url: string;
  /** `name: value` each. */
  readonly headers: readonly string[];
  /** null: no ClientHello follows a CONNECT. */
  readonly serverName: string | null;
}

export interface AdminSources {
  ready(): Readiness;
  /** Anything that JSON can hold; secrets are taken out here. */
  configDump(): unknown;
  /** Added up over the threads (`mergeClusters`). */
  clusters(): Promise<readonly ClusterStatus[]>;
  /** What would become of a request, as JSON can hold it; a sentence where the question is wrong. */
  explain(question: ExplainQuestion): Promise<object | string>;
  certs(): readonly CertificateStatus[];
  /** Prometheus text; scrapes that overlap share one call. */
  metricsText(): Promise<string>;
  setLogLevel(level: LogLevel): void;
  drain(): void;
  quit(): void;
  /** Gets what an answer throws; the caller sees only a 500. */
  onError(error: unknown): void;
}

export function createAdminServer(sources: AdminSources): Server {
  const endpoints: Endpoint[] = [
    view('/ready', 'whether this sidecar takes traffic, and if not, why', () => readiness(sources.ready())),
    view('/config_dump', 'the policy in force, as compiled; without secrets', () => {
      return json(200, redactedJson(sources.configDump()));
    }),
    view('/clusters', 'Service ports and their endpoints; ?format=json for programs', async ({ query }) => {
      const clusters = await sources.clusters();
      return query.get('format') === 'json'
        ? json(200, JSON.stringify({ clusters }, null, 2))
        : text(200, clustersText(clusters));
    }),
    view(
      '/explain',
      '?url=URL&method=METHOD&header=NAME: VALUE&server_name=NAME: what would become of a request',
      async ({ query }) => {
        const [url, method, headers] = [query.get('url'), query.get('method') ?? 'GET', query.getAll('header')];
        if (url === null) return text(400, 'which url?\n');
        const answer = await sources.explain({ method, url, headers, serverName: query.get('server_name') });
        return typeof answer === 'string' ? text(400, `${answer}\n`) : json(200, JSON.stringify(answer, null, 2));
      },
    ),
    view('/certs', 'the certificate in use and its validity', () => {
      return json(200, JSON.stringify({ certificates: sources.certs().map(certificateView) }, null, 2));
    }),
    view('/stats/prometheus', 'metrics in Prometheus text format', metricsAnswer(sources)),
    action('/logging', 'POST ?level=LEVEL sets the log level', ({ query }) => {
      const level = LOG_LEVELS.find((known) => known === query.get('level'));
      if (level === undefined) return text(400, `level must be one of ${LOG_LEVELS.join(', ')}\n`);
      sources.setLogLevel(level);
      return text(200, `level ${level}\n`);
    }),
    action('/drain', 'POST lets inbound traffic run out, and then outbound', () => {
      sources.drain();
      return text(202, 'draining\n');
    }),
    quitEndpoint(sources, 'own host'),
  ];
  const page = indexPage(endpoints);
  const index = view('/', 'this page', () => ({ status: 200, type: 'text/html; charset=utf-8', body: page }));
  return createEndpointServer([index, ...endpoints], (error) => sources.onError(error));
}

/** `/metrics` and `/stats/prometheus`, and the end of the sidecar for a Job's own container. */
export function createMetricsServer(sources: Pick<AdminSources, 'metricsText' | 'quit' | 'onError'>): Server {
  const answer = metricsAnswer(sources);
  const about = 'metrics in Prometheus text format';
  const endpoints: Endpoint[] = [
    { method: 'GET', path: '/metrics', about, admits: 'anyone', answer },
    { method: 'GET', path: '/stats/prometheus', about, admits: 'anyone', answer },
    quitEndpoint(sources, 'loopback'),
  ];
  return createEndpointServer(endpoints, (error) => sources.onError(error));
}

/** One thing that kubelet asks the application by way of the readiness port. */
export interface AppQuestion {
  readonly path: string;
  readonly ask: () => Promise<{ readonly status: number; readonly text: string }>;
}

/** `/healthz/ready`, and what kubelet asks the application. */
export function createReadinessServer(
  sources: Pick<AdminSources, 'ready' | 'onError'>,
  questions: readonly AppQuestion[] = [],
): Server {
  const endpoint: Endpoint = {
    method: 'GET',
    path: '/healthz/ready',
    about: 'whether this sidecar takes traffic',
    admits: 'anyone',
    answer: () => readiness(sources.ready()),
  };
  const forApp = questions.map(({ path, ask }): Endpoint => {
    const answer = async (): Promise<Answer> => {
      const { status, text: body } = await ask();
      return text(status, body);
    };
    return { method: 'GET', path, about: 'a probe of the application', admits: 'anyone', answer };
  });
  return createEndpointServer([endpoint, ...forApp], (error) => sources.onError(error));
}

function view(path: string, about: string, answer: Endpoint['answer']): Endpoint {
  return { method: 'GET', path, about, admits: 'own host', answer };
}

function action(path: string, about: string, answer: Endpoint['answer']): Endpoint {
  return { method: 'POST', path, about, admits: 'own host', answer };
}

function quitEndpoint(sources: Pick<AdminSources, 'quit'>, admits: Endpoint['admits']): Endpoint {
  return {
    method: 'POST',
    path: '/quitquitquit',
    about: 'POST drains and ends the process',
    admits,
    answer: () => text(200, 'going down\n', () => sources.quit()),
  };
}

function readiness({ ready, reasons }: Readiness): Answer {
  return ready ? text(200, 'ready\n') : text(503, `${['not ready', ...reasons].join('\n')}\n`);
}

/** Overlapping scrapes wait for the same report: asking every data thread costs them time. */
function metricsAnswer(sources: Pick<AdminSources, 'metricsText'>): () => Promise<Answer> {
  let pending: Promise<string> | null = null;
  return async () => {
    pending ??= sources.metricsText().finally(() => {
      pending = null;
    });
    return { status: 200, type: CONTENT_TYPE, body: await pending };
  };
}

/** Field by field, so that a caller who hands over a whole identity tells nobody its key. */
function certificateView(certificate: CertificateStatus): Record<string, string> {
  return {
    spiffe_id: certificate.spiffeId,
    serial_number: certificate.serialNumber,
    fingerprint_sha256: certificate.fingerprint,
    trust_bundle_sha256: certificate.bundleHash,
    not_before: new Date(certificate.notBefore).toISOString(),
    not_after: new Date(certificate.notAfter).toISOString(),
  };
}

function indexPage(endpoints: readonly Endpoint[]): string {
  const rows = endpoints.map(({ method, path, about }) => {
    const name = method === 'GET' ? `<a href="${path.slice(1)}">${path}</a>` : `<code>${method} ${path}</code>`;
    return `<tr><td>${name}</td><td>${about}</td></tr>`;
  });
  return `<!doctype html><html lang="en"><title>weft</title><h1>weft</h1><table>\n${rows.join('\n')}\n</table></html>\n`;
}
