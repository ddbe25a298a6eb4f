/** Small policy folders: the Kubernetes documents that most tests need, as text, and the folder that holds them. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface ServicePort {
  /** Port of the Service. */
  readonly port: number;
  /** Port of the endpoints; the Service's own by default. */
  readonly targetPort?: number;
  readonly name?: string;
  readonly appProtocol?: string;
}

export interface ServiceOptions {
  readonly name: string;
  readonly namespace?: string;
  readonly ports: readonly ServicePort[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Switches mesh TLS towards a Service or slice off (CONTRACT, "Between sidecars"). */
export const PLAIN: Readonly<Record<string, string>> = { 'weft.dev/mtls': 'disabled' };

export function service(options: ServiceOptions): string {
  return document({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadata(options.name, options.namespace, { annotations: options.annotations }),
    spec: {
      ports: options.ports.map((port) => ({
        port: port.port,
        targetPort: port.targetPort ?? port.port,
        name: port.name,
        appProtocol: port.appProtocol,
      })),
    },
  });
}

export interface SliceOptions {
  readonly service: string;
  readonly namespace?: string;
  /** Ends the name of the slice; needed where a Service has several. */
  readonly suffix?: string;
  readonly ports: readonly { readonly name?: string; readonly port: number }[];
  /** Addresses, each ready unless it says otherwise. */
  readonly endpoints: readonly (
    | string
    | { readonly address: string; readonly ready: boolean; readonly zone?: string }
  )[];
  readonly annotations?: Readonly<Record<string, string>>;
}

export function endpointSlice(options: SliceOptions): string {
  return document({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: metadata(`${options.service}-${options.suffix ?? '1'}`, options.namespace, {
      labels: { 'kubernetes.io/service-name': options.service },
      annotations: options.annotations,
    }),
    addressType: 'IPv4',
    ports: options.ports.map((port) => ({ name: port.name ?? '', port: port.port, protocol: 'TCP' })),
    endpoints: options.endpoints.map((endpoint) => {
      const { address, ready, zone } =
        typeof endpoint === 'string' ? { address: endpoint, ready: true, zone: undefined } : endpoint;
      return { addresses: [address], conditions: { ready }, zone };
    }),
  });
}

export interface RouteOptions {
  readonly name: string;
  readonly namespace?: string;
  /** The Service that the route is attached to, and its port. */
  readonly parent: string;
  readonly parentPort?: number;
  /** `rules` of HTTPRoute, as they stand in the Gateway API. */
  readonly rules: readonly unknown[];
}

export function httpRoute(options: RouteOptions): string {
  return document({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: metadata(options.name, options.namespace),
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: options.parent, port: options.parentPort }],
      rules: options.rules,
    },
  });
}

/** A TrafficPolicy of the Service that it is named after. */
export function trafficPolicy(name: string, spec: object): string {
  return document({
    apiVersion: 'weft.dev/v1',
    kind: 'TrafficPolicy',
    metadata: { name },
    spec: { targetRefs: [{ group: '', kind: 'Service', name }], ...spec },
  });
}

/** Any other document; YAML is a superset of JSON, so JSON is what is written. */
export function document(content: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify(content, null, 1)}\n`;
}

function metadata(
  name: string,
  namespace: string | undefined,
  rest: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return { name, namespace, ...rest };
}

/** A folder of its own under the system's temporary folder, removed by `remove` or `using`. */
export class Folder implements Disposable {
  readonly path: string;

  constructor(prefix = 'weft-test-') {
    this.path = mkdtempSync(join(tmpdir(), prefix));
  }

  /** Writes a file at once (rename), so that no reader sees half of it. Answers its path. */
  write(name: string, content: string): string {
    const path = join(this.path, name);
    mkdirSync(join(path, '..'), { recursive: true });
    const fresh = join(this.path, `.${name.replaceAll('/', '-')}.new`);
    writeFileSync(fresh, content);
    renameSync(fresh, path);
    return path;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    this.remove();
  }
}

/** A folder with these documents in one file, `policy.yaml`. */
export function policyFolder(documents: readonly string[]): Folder {
  const folder = new Folder('weft-policy-');
  folder.write('policy.yaml', policyText(documents));
  return folder;
}

export function policyText(documents: readonly string[]): string {
  return documents.join('---\n');
}
