/** Asking the sidecar that runs in the same pod. */
import { formatHostPort, type HostPort, parseHostPort } from '../../shared/address.ts';

/** The sidecar is on the same host: what takes longer is no answer. */
const TIMEOUT_MS = 5_000;

export interface SidecarAnswer {
  readonly status: number;
  readonly text: string;
}

/** Lines for whoever ran the command. */
export interface Lines {
  out(line: string): void;
  err(line: string): void;
}

/** Rejects where nobody answers. */
export function askSidecar(address: HostPort, method: 'GET' | 'POST', path: string): Promise<SidecarAnswer> {
  const { request } = process.getBuiltinModule('node:http');
  const { promise, resolve, reject } = Promise.withResolvers<SidecarAnswer>();
  const options = { ...reachable(address), path, method, agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) };
  const asked = request(options, (answer) => {
    let text = '';
    answer.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    answer.on('error', reject).on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
  });
  asked.on('error', (error: NodeJS.ErrnoException) =>
    reject(
      new Error(`no sidecar answers on ${formatHostPort(address.host, address.port)} (${error.code ?? error.name})`),
    ),
  );
  asked.end();
  return promise;
}

/** From a flag, else the sidecar's own variable, else its default; null where it is no HOST:PORT. */
export function addressOf(flag: string | undefined, variable: string | undefined, fallback: string): HostPort | null {
  const unset = variable === undefined || variable === '';
  return parseHostPort(flag ?? (unset ? fallback : variable));
}

/** A listener on all addresses is asked on loopback. */
function reachable({ host, port }: HostPort): HostPort {
  if (host === '::') return { host: '::1', port };
  return { host: host === '0.0.0.0' ? '127.0.0.1' : host, port };
}
