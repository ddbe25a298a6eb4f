/** `v1` ConfigMap: accepted for what refers to it, a BackendTLSPolicy's CA certificates. Nothing else reads one. */
import { z } from 'zod';
import { envelope, object } from './field.ts';
import type { Envelope, Kind } from './kind.ts';

export interface ConfigMap extends Envelope {
  /** By key. */
  readonly data: Readonly<Record<string, string>>;
}

export const configMap: Kind<ConfigMap> = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  schema: object({ ...envelope, data: z.record(z.string(), z.string()).default({}) }),
};
