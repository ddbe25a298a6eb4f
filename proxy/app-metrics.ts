/**
 * The application's metrics beside weft's own at one address: injection has pointed the scraper here (deploy/inject) and says in
 * `WEFT_APP_METRICS` where the application has them. An application that does not answer leaves weft's alone.
 */
import { formatHostPort } from '../shared/address.ts';
import { err, ok, type Result } from '../shared/result.ts';
import { requestApp } from './app-call.ts';
import { mergeExpositions } from './telemetry/merge.ts';

export interface AppMetrics {
  readonly port: number;
  readonly path: string;
  readonly https: boolean;
}

/** Half of a scraper's usual patience: what weft has to say must not be lost to an application that hangs. */
const TIMEOUT_MS = 5_000;
const MAX_BYTES = 32 * 1024 * 1024;

/** Reads `WEFT_APP_METRICS`; null where the application has none. The error is a sentence. */
export function readAppMetrics(text: string | undefined): Result<AppMetrics | null, string> {
  if (text === undefined || text === '') return ok(null);
  try {
    const { port, path, scheme } = JSON.parse(text) as { port: unknown; path: unknown; scheme: unknown };
    if (typeof port === 'number' && Number.isInteger(port) && typeof path === 'string' && path.startsWith('/'))
      return ok({ port, path, https: scheme === 'https' });
  } catch {
    // The same sentence says it.
  }
  return err('WEFT_APP_METRICS: is not what injection writes: {"port":8080,"path":"/metrics","scheme":"http"}');
}

/** Own and the application's; `onProblem` hears why the application's are missing. Never rejects for the application. */
export async function withAppMetrics(
  own: Promise<string>,
  app: AppMetrics,
  address: string,
  onProblem: (reason: string) => void,
): Promise<string> {
  const [ours, theirs] = await Promise.all([
    own,
    fetchText(app, address).catch((error: unknown) => {
      onProblem(error instanceof Error ? error.message : String(error));
      return '';
    }),
  ]);
  return mergeExpositions(ours, theirs);
}

async function fetchText({ port, path, https }: AppMetrics, address: string): Promise<string> {
  const fields = { Host: formatHostPort(address, port), Accept: 'text/plain;version=0.0.4', Connection: 'close' };
  const wanted = { port, path, https, headers: Object.entries(fields).flat(), maxBytes: MAX_BYTES, cut: false };
  const { status, text } = await requestApp(wanted, address, AbortSignal.timeout(TIMEOUT_MS));
  if (status !== 200) throw new Error(`status ${status}`);
  return text;
}
