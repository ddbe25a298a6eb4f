import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { DEFAULTS } from '../../../deploy/inject/settings.ts';
import { TOKEN_AUDIENCE } from '../../../deploy/inject/sidecar.ts';
import { runInjector } from '../../../deploy/injector/cli.ts';
import { compile } from '../../../proxy/config/compile.ts';
import { kubernetesFaults } from '../../support/kubernetes-schemas.ts';
import { skip } from '../../support/skips.ts';

const deploy = join(import.meta.dirname, '../../../deploy');
const kubernetes = join(deploy, 'kubernetes');
const injected = join(import.meta.dirname, '../../config/inject/injected');

interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string };
  [field: string]: unknown;
}

function documents(text: string): KubernetesObject[] {
  const all = parseAllDocuments(text, { merge: true }).map((document) => document.toJS() as KubernetesObject | null);
  const objects = all.filter((object) => object !== null);
  return objects.flatMap((object) => (object.kind === 'List' ? (object['items'] as KubernetesObject[]) : [object]));
}

const files = readdirSync(kubernetes, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.yaml'));
const kustomizations = files.filter((file) => file.endsWith('kustomization.yaml'));
const manifests = files.filter((file) => !kustomizations.includes(file) && file !== 'demo/policy.yaml');
const objects = manifests.flatMap((file) => documents(readFileSync(join(kubernetes, file), 'utf8')));

async function faultsOf(object: KubernetesObject): Promise<string[]> {
  const faults = await kubernetesFaults(object);
  if (faults === null) skip('kubernetes-models is not installed (make setup)');
  return faults;
}

describe("against Kubernetes' OpenAPI schemas", () => {
  test.each(objects.map((object) => [`${object.kind} ${object.metadata.name}`, object] as const))(
    '%s is what the API takes',
    async (_name, object) => {
      expect(await faultsOf(object)).toEqual([]);
    },
  );

  test.each(readdirSync(injected).sort())('%s with its sidecar is what the API takes', async (file) => {
    const text = readFileSync(join(injected, file), 'utf8');
    const found = documents(text);
    // What a file has of its own beside the API's fields: the anchors of merge keys.
    const faults = (await Promise.all(found.map(faultsOf))).flat().filter((fault) => !fault.startsWith('/x-'));
    expect(found.length).toBeGreaterThan(0);
    expect(faults).toEqual([]);
  });

  test('a misspelt field, a wrong type and a missing one are found', async () => {
    const [deployment] = objects.filter(({ kind }) => kind === 'Deployment') as [KubernetesObject];
    const spec = deployment['spec'] as Record<string, unknown>;
    expect(await faultsOf({ ...deployment, spec: { ...spec, replica: 2 } })).toEqual(['/spec/replica: unknown field']);
    expect(await faultsOf({ ...deployment, spec: { ...spec, replicas: 'two' } })).not.toEqual([]);
    expect(await faultsOf({ ...deployment, spec: { replicas: 1 } })).not.toEqual([]);
  });
});

describe('the manifests fit together', () => {
  test.each(kustomizations)('%s names files that exist, and leaves none out', (file) => {
    const folder = join(kubernetes, dirname(file));
    const { resources, ...others } = parse(readFileSync(join(kubernetes, file), 'utf8')) as { resources: string[] };
    expect(resources.filter((resource) => !existsSync(join(folder, resource)))).toEqual([]);
    const here = readdirSync(folder).filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml');
    const text = JSON.stringify(others);
    expect(here.filter((name) => !resources.includes(name) && !text.includes(name))).toEqual([]);
  });

  test('every webhook calls the Service of the injector, at the path it serves, and fails closed', () => {
    const webhook = objects.find(({ kind }) => kind === 'MutatingWebhookConfiguration') as KubernetesObject;
    const service = objects.find(({ kind, metadata }) => kind === 'Service' && metadata.name === 'weft-injector');
    const hooks = webhook['webhooks'] as { clientConfig: { service: object }; failurePolicy: string }[];
    expect(hooks).toHaveLength(2);
    for (const { clientConfig, failurePolicy } of hooks) {
      expect(clientConfig.service).toEqual({ ...service?.metadata, path: '/inject', port: 443 });
      expect(failurePolicy).toBe('Fail');
    }
  });

  const argumentsOf = (name: string): string[] => {
    const object = objects.find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === name);
    const { spec } = parse(JSON.stringify(object)) as {
      spec: { template: { spec: { containers: { args: string[] }[] } } };
    };
    return spec.template.spec.containers[0]?.args ?? [];
  };

  test('the injector takes the flags it is started with', async () => {
    const [command, ...flags] = argumentsOf('weft-injector');
    const lines = { out: () => {}, err: () => {} };
    expect(command).toBe('injector');
    expect(await runInjector([...flags, '--help'], {}, lines, AbortSignal.abort())).toBe(0);
    expect(await runInjector([...flags, '--nonsense', '--help'], {}, lines, AbortSignal.abort())).toBe(2);
  });

  test('sidecars ask the CA that is there, with a token that it takes', () => {
    const flags = argumentsOf('weft-ca');
    const { hostname, port } = new URL(DEFAULTS.ca);
    expect(flags).toContain(`--audience=${TOKEN_AUDIENCE}`);
    expect(flags).toContain(`--dns=${hostname}`);
    const service = objects.find(({ kind, metadata }) => kind === 'Service' && metadata.name === 'weft-ca');
    const { name, namespace } = service?.metadata ?? { name: '' };
    expect(hostname).toBe(`${name}.${namespace}.svc`);
    expect(service?.['spec']).toMatchObject({ ports: [{ port: Number(port) }] });
    expect(argumentsOf('weft-injector')).toContain(`--ca=${DEFAULTS.ca}`);
  });

  test('roles and accounts that are named exist', () => {
    const named = (kind: string): string[] =>
      objects.filter((object) => object.kind === kind).map(({ metadata }) => metadata.name);
    const bindings = objects.filter(({ kind }) => kind === 'ClusterRoleBinding');
    const roles = bindings.map((binding) => (binding['roleRef'] as { name: string }).name);
    expect(roles.filter((role) => !role.startsWith('system:') && !named('ClusterRole').includes(role))).toEqual([]);
    const accounts = objects
      .filter(({ kind }) => kind === 'Deployment')
      .map(
        (object) => parse(JSON.stringify(object)) as { spec: { template: { spec: { serviceAccountName?: string } } } },
      )
      .map(({ spec }) => spec.template.spec.serviceAccountName)
      .filter((name) => name !== undefined);
    expect(accounts.length).toBeGreaterThan(3);
    expect(accounts.filter((account) => !named('ServiceAccount').includes(account))).toEqual([]);
  });

  test.each([
    ['the demo', join(kubernetes, 'demo/policy.yaml'), 'weft-demo'],
    ['docker compose', join(deploy, 'compose-policy/catalog.yaml'), 'default'],
  ])('the policy of %s is valid', (_name, file, namespace) => {
    const self = { namespace, labels: {}, serviceAccount: 'storefront' };
    const { snapshot, problems } = compile([{ path: 'policy.yaml', text: readFileSync(file, 'utf8') }], self);
    expect(problems).toEqual([]);
    expect(snapshot?.services.map(({ name }) => name)).toContain('catalog');
  });
});

describe('docker compose', () => {
  interface Service {
    image: string;
    command?: string[];
    network_mode?: string;
    volumes?: string[];
    depends_on?: object;
  }
  const compose = parse(readFileSync(join(deploy, 'compose.yaml'), 'utf8')) as { services: Record<string, Service> };
  const services = Object.entries(compose.services);

  test('every sidecar shares the network of a service there is, and waits for the certificates', () => {
    const sidecars = services.filter(([name]) => name.endsWith('-weft'));
    expect(sidecars).toHaveLength(2);
    for (const [name, { network_mode, depends_on, command }] of sidecars) {
      expect(network_mode).toBe(`service:${name.replace('-weft', '')}`);
      expect(Object.keys(compose.services)).toContain(network_mode?.slice('service:'.length));
      expect(depends_on).toHaveProperty('certificates');
      expect(command?.[0]).toBe('proxy');
    }
  });

  test('folders that are mounted exist, and images are pinned', () => {
    const mounted = services.flatMap(([, { volumes = [] }]) => volumes).map((volume) => volume.split(':')[0] as string);
    const folders = mounted.filter((folder) => folder.startsWith('.'));
    expect(folders.length).toBeGreaterThan(0);
    expect(folders.filter((folder) => !existsSync(join(deploy, folder)))).toEqual([]);
    expect(services.filter(([, { image }]) => !/:[a-z0-9.]+$/.test(image) || image.endsWith(':latest'))).toEqual([]);
  });
});
