/** `security.istio.io/v1` PeerAuthentication: which ports take mutual TLS, plain text or both. */
import { z } from 'zod';
import { complain, envelope, labels, object } from './field.ts';
import type { Envelope, Kind } from './kind.ts';

export type PeerMode = 'UNSET' | 'DISABLE' | 'PERMISSIVE' | 'STRICT';

export interface Selector {
  readonly matchLabels: Readonly<Record<string, string>>;
}

export interface PeerAuthentication extends Envelope {
  readonly spec: {
    readonly selector?: Selector | undefined;
    readonly mtls: { readonly mode: PeerMode };
    /** By application port. */
    readonly portLevelMtls: Readonly<Record<string, { readonly mode: PeerMode }>>;
  };
}

/** Istio's workload selector; no labels: every workload in scope. */
export const selector: z.ZodType<Selector> = object({ matchLabels: labels.default({}) });

const mtls = object({ mode: z.enum(['UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT']).default('UNSET') });

const spec = object({
  selector: selector.optional(),
  mtls: mtls.default({ mode: 'UNSET' }),
  portLevelMtls: z.record(z.string(), mtls).default({}),
}).superRefine((value, context) => {
  const ports = Object.keys(value.portLevelMtls);
  // Istio refuses it too: a port number means nothing without a workload.
  if (ports.length > 0 && Object.keys(value.selector?.matchLabels ?? {}).length === 0) {
    complain(context, 'needs a selector with matchLabels', 'say which workload has these ports', ['portLevelMtls']);
  }
  for (const port of ports) {
    if (!/^[1-9][0-9]{0,4}$/.test(port) || Number(port) > 65_535) {
      complain(context, `is no port: "${port}"`, '1 to 65535', ['portLevelMtls', port]);
    }
  }
});

export const peerAuthentication: Kind<PeerAuthentication> = {
  apiVersion: 'security.istio.io/v1',
  kind: 'PeerAuthentication',
  schema: object({
    ...envelope,
    spec: spec.default({ mtls: { mode: 'UNSET' }, portLevelMtls: {} }),
  }),
};
