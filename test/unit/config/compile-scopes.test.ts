import { describe, expect, it } from 'vitest';
import type { Snapshot } from '../../../proxy/config/snapshot.ts';
import { snapshotOf } from '../../support/policy-documents.ts';

describe('inbound mutual TLS', () => {
  const peer = (name: string, namespace: string, spec: string): string =>
    `---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}\n`;
  const mesh = peer('m', 'istio-system', '{mtls: {mode: PERMISSIVE}}');
  const space = peer('n', 'shop', '{mtls: {mode: DISABLE}}');
  const mine = peer(
    'w',
    'shop',
    '{selector: {matchLabels: {app: catalog}}, portLevelMtls: {8080: {mode: STRICT}, 9090: {}}}',
  );
  const inbound = (text: string): Snapshot['inbound'] => snapshotOf(text).inbound;

  it('is STRICT where nobody says', () => {
    expect(inbound('')).toEqual({ mode: 'STRICT', portModes: {} });
  });

  it('comes from the mesh, then the namespace, then the workload, and UNSET inherits', () => {
    expect(inbound(mesh).mode).toBe('PERMISSIVE');
    expect(inbound(mesh + space).mode).toBe('DISABLE');
    expect(inbound(mesh + peer('n', 'shop', '{mtls: {mode: UNSET}}')).mode).toBe('PERMISSIVE');
    expect(inbound(mesh + space + mine)).toEqual({ mode: 'DISABLE', portModes: { 8080: 'STRICT', 9090: 'DISABLE' } });
  });

  it('passes over other namespaces, other workloads and selectors in the root namespace', () => {
    const foreign = peer('n', 'other', '{mtls: {mode: DISABLE}}');
    const elsewhere = peer('w', 'shop', '{selector: {matchLabels: {app: other}}, mtls: {mode: DISABLE}}');
    const root = peer('w', 'istio-system', '{selector: {matchLabels: {app: catalog}}, mtls: {mode: DISABLE}}');
    expect(inbound(foreign + elsewhere + root).mode).toBe('STRICT');
  });

  it('takes the first by name of two alike', () => {
    expect(inbound(space + peer('a', 'shop', '{mtls: {mode: PERMISSIVE}}')).mode).toBe('PERMISSIVE');
  });
});

describe('telemetry', () => {
  const telemetry = (name: string, namespace: string, spec: string): string =>
    `---\napiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}\n`;
  const mesh = telemetry(
    'm',
    'istio-system',
    '{tracing: [{randomSamplingPercentage: 5}], accessLogging: [{providers: [{name: envoy}]}]}',
  );

  it('says nothing where nobody says', () => {
    expect(snapshotOf('').telemetry).toEqual({ samplingPercent: null, accessLog: null });
  });

  it('is overridden setting by setting from mesh to workload', () => {
    expect(snapshotOf(mesh).telemetry).toEqual({ samplingPercent: 5, accessLog: 'text' });
    const space = telemetry('n', 'shop', '{accessLogging: [{disabled: true}]}');
    expect(snapshotOf(mesh + space).telemetry).toEqual({ samplingPercent: 5, accessLog: 'off' });
    const mine = telemetry(
      'w',
      'shop',
      '{selector: {matchLabels: {app: catalog}}, tracing: [{disableSpanReporting: true}]}',
    );
    expect(snapshotOf(mesh + space + mine).telemetry).toEqual({ samplingPercent: 0, accessLog: 'off' });
  });
});
