/**
 * Kubernetes' own OpenAPI schemas, as package kubernetes-models has them compiled: what is wrong with an object, fields that the
 * API does not know included.
 */
import { existsSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const SCHEMAS = join(import.meta.dirname, '../../node_modules/kubernetes-models/_schemas');

interface SchemaError {
  readonly instancePath: string;
  readonly keyword: string;
  readonly params: object;
}

interface Validate {
  (value: unknown): boolean;
  readonly errors?: readonly SchemaError[] | null;
}

/** Null where the package is not installed. */
export async function kubernetesFaults(object: { apiVersion: string; kind: string }): Promise<string[] | null> {
  if (!existsSync(SCHEMAS)) return null;
  const file = join(SCHEMAS, `${schemaName(object)}.js`);
  if (!existsSync(file)) return [`${object.apiVersion} ${object.kind}: no such kind`];
  const { validate } = (await import(pathToFileURL(realpathSync(file)).href)) as { validate: Validate };
  const read = new Map<object, Set<string>>();
  const good = validate(watched(object, read));
  const faults = (validate.errors ?? []).map(
    ({ instancePath, params }) => `${instancePath}: ${JSON.stringify(params)}`,
  );
  return [...(good ? [] : faults), ...unread(object, read, '')];
}

/** `apps/v1 Deployment` is `IoK8sApiAppsV1Deployment` there. */
function schemaName({ apiVersion, kind }: { apiVersion: string; kind: string }): string {
  const [version = '', group = 'core'] = apiVersion.split('/').reverse();
  const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
  return `IoK8sApi${capital(group.split('.')[0] as string)}${capital(version)}${kind}`;
}

/** A value that notes which of its fields are looked at: those that the schema knows. */
function watched(value: unknown, read: Map<object, Set<string>>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const keys = new Set<string>();
  read.set(value, keys);
  return new Proxy(value, {
    get(target, key) {
      if (typeof key === 'string') keys.add(key);
      return watched(Reflect.get(target, key), read);
    },
  });
}

function unread(value: unknown, read: ReadonlyMap<object, ReadonlySet<string>>, path: string): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    read.get(value)?.has(key) === true ? unread(inner, read, `${path}/${key}`) : [`${path}/${key}: unknown field`],
  );
}
