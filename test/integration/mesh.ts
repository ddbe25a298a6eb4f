/** A mesh in miniature for one test file: one CA, sidecars from the source, applications, and the folders they read. */
import { readFileSync } from 'node:fs';
import type { Identity } from '../../certs/identity.ts';
import { TestCa, writeIdentity } from '../support/certificates.ts';
import { type Answer, openClient, type RawClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { endpointSlice, Folder, PLAIN, policyText, type ServiceOptions, service } from '../support/policy.ts';
import { launchWeft, type Weft, type WeftOptions } from '../support/weft.ts';

export interface SidecarOptions extends Omit<WeftOptions, 'policy' | 'certs' | 'app'> {
  /** Service account in namespace `default`; also the name of its folders. */
  readonly account: string;
  readonly documents?: readonly string[];
  /** Port of the application on loopback. */
  readonly app?: number;
}

/** Whoever made it disposes of it: everything it started or was given ends with it, last first. */
export class TinyMesh implements AsyncDisposable {
  readonly ca: TestCa = new TestCa();
  readonly folder: Folder = new Folder('weft-mesh-');
  private readonly owned = new AsyncDisposableStack();

  constructor() {
    this.owned.use(this.folder);
  }

  own<T extends AsyncDisposable>(thing: T): T {
    return this.owned.use(thing);
  }

  /** Writes the identity of an account, and answers its folder. */
  certify(account: string, identity: Identity = this.ca.identity(`default/${account}`)): string {
    const path = `${this.folder.path}/${account}-certs`;
    writeIdentity(path, identity);
    return path;
  }

  write(account: string, documents: readonly string[]): string {
    this.folder.write(`${account}-policy/policy.yaml`, policyText(documents));
    return `${this.folder.path}/${account}-policy`;
  }

  /** A sidecar that is up, but perhaps not ready. */
  async launch({ account, documents = [], app, ...options }: SidecarOptions): Promise<Weft> {
    const policy = this.write(account, documents);
    const certs = this.certify(account);
    const where = app === undefined ? undefined : `127.0.0.1:${app}`;
    return this.own(await launchWeft({ ...options, policy, certs, app: where }));
  }

  async start(options: SidecarOptions): Promise<Weft> {
    const weft = await this.launch(options);
    await weft.ready();
    // The log may lag behind readiness, and `apply` counts its lines.
    await eventually('the first policy is logged', () => countLines(weft, 'policy applied') > 0 || undefined);
    return weft;
  }

  /** Replaces a sidecar's policy and returns when it is in force: at once where it was already. */
  async apply(weft: Weft, account: string, documents: readonly string[]): Promise<void> {
    const file = `${this.folder.path}/${account}-policy/policy.yaml`;
    if (readFileSync(file, 'utf8') === policyText(documents)) return;
    const before = countLines(weft, 'policy applied');
    this.write(account, documents);
    await eventually('the policy is applied', () => countLines(weft, 'policy applied') > before || undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.owned.disposeAsync();
  }
}

export interface UpstreamOptions extends Omit<ServiceOptions, 'ports'> {
  /** Port of the Service. */
  readonly port?: number;
  readonly appProtocol?: string;
  /** Ports of its endpoints on loopback. */
  readonly endpoints: readonly number[];
}

/** A Service whose endpoints are these loopback ports, called through mesh TLS. */
export function meshed({ endpoints, port = 80, appProtocol, ...rest }: UpstreamOptions): string[] {
  const slices = endpoints.map((target) =>
    endpointSlice({
      service: rest.name,
      suffix: String(target),
      ports: [{ name: 'main', port: target }],
      endpoints: ['127.0.0.1'],
      ...(rest.namespace === undefined ? {} : { namespace: rest.namespace }),
    }),
  );
  const named = { port, name: 'main', ...(appProtocol === undefined ? {} : { appProtocol }) };
  return [service({ ...rest, ports: [named] }), ...slices];
}

/** The same, called in plain text. */
export function plain(options: UpstreamOptions): string[] {
  return meshed({ ...options, annotations: { ...PLAIN, ...options.annotations } });
}

export function countLines(weft: Weft, text: string): number {
  return weft.program.lines.filter((line) => line.includes(text)).length;
}

/** Opens a connection, sends these bytes, and answers the first whole answer. */
export async function ask(port: number, request: string, method?: string): Promise<Answer> {
  using client = await openClient(port);
  return await client.exchange(request, method);
}

export function get(host: string, path = '/', ...fields: string[]): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`;
}

export function post(host: string, body: string, path = '/', ...fields: string[]): string {
  const lines = [`Host: ${host}`, `Content-Length: ${Buffer.byteLength(body)}`, ...fields];
  return `POST ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body}`;
}

export function header(answer: Answer, name: string): string | undefined {
  return answer.headers.get(name)?.join(', ');
}

/** weft's word in the `Proxy-Status` of a local answer; undefined where the answer is not weft's own. */
export function wordOf(answer: Answer): string | undefined {
  return /^weft; error=[a-z_]+; details="([a-z_]+): /.exec(header(answer, 'proxy-status') ?? '')?.[1];
}

/**
 * Room in every bound of wall-clock time: the tests share two cores with each other, and some machines stand still for a
 * second or two.
 */
export const STALL_MS = 2_500;

/** Resident memory of a process in bytes. */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

export interface LogLine {
  readonly msg?: string;
  readonly [field: string]: unknown;
}

/** The JSON lines that a sidecar has printed so far. */
export function logLines(weft: Weft): LogLine[] {
  return weft.program.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as LogLine);
}

/** The line that fits, printed already or still to come. */
export function logLine(weft: Weft, fits: (line: LogLine) => boolean): Promise<LogLine> {
  return weft.program.waitForLine((text) => {
    if (!text.startsWith('{')) return undefined;
    const line = JSON.parse(text) as LogLine;
    return fits(line) ? line : undefined;
  });
}

export type { Answer, RawClient };
