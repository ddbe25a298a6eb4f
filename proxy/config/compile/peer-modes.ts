/** PeerAuthentication by Istio's rules: mesh, then namespace, then workload; UNSET inherits; of two alike the first by name. */
import type { PeerAuthentication, PeerMode } from '../model/peer-authentication.ts';
import type { InboundSpec, MtlsMode } from '../snapshot.ts';
import { type Catalog, compareText, type Entry } from './catalog.ts';

/** With no PeerAuthentication weft is STRICT (CONTRACT; Istio: PERMISSIVE). */
const DEFAULT_MODE: MtlsMode = 'STRICT';

export class PeerModes {
  private readonly meshMode: MtlsMode;
  private readonly namespaceWide = new Map<string, PeerMode>();
  private readonly ofWorkloads = new Map<string, Entry<PeerAuthentication>[]>();

  constructor(catalog: Catalog) {
    const { rootNamespace } = catalog.mesh;
    let meshMode: PeerMode = 'UNSET';
    for (const entry of catalog.peerAuthentications) {
      const { selector, mtls } = entry.value.spec;
      if (hasLabels(selector)) {
        // Istio reads a selector in the root namespace as one for that namespace only, and passes over it elsewhere.
        const others = this.ofWorkloads.get(entry.namespace);
        if (others === undefined) this.ofWorkloads.set(entry.namespace, [entry]);
        else others.push(entry);
      } else if (entry.namespace === rootNamespace) {
        if (meshMode === 'UNSET') meshMode = mtls.mode;
      } else if (!this.namespaceWide.has(entry.namespace)) {
        this.namespaceWide.set(entry.namespace, mtls.mode);
      }
    }
    this.meshMode = inherit(meshMode, DEFAULT_MODE);
  }

  /**
   * What holds for a workload with these labels. Of a Service only the selector is known: then only what applies to
   * every pod it selects is counted.
   */
  of(namespace: string, labels: Readonly<Record<string, string>>): InboundSpec {
    const outer = inherit(this.namespaceWide.get(namespace) ?? 'UNSET', this.meshMode);
    const workload = this.ofWorkloads.get(namespace)?.find((entry) => selects(entry.value.spec.selector, labels));
    if (workload === undefined) return { mode: outer, portModes: {} };
    const { mtls, portLevelMtls } = workload.value.spec;
    const mode = inherit(mtls.mode, outer);
    const ports = Object.entries(portLevelMtls).sort(([a], [b]) => compareText(a, b));
    return { mode, portModes: Object.fromEntries(ports.map(([port, own]) => [port, inherit(own.mode, mode)])) };
  }
}

function inherit(mode: PeerMode, outer: MtlsMode): MtlsMode {
  return mode === 'UNSET' ? outer : mode;
}

type SelectorLike = { readonly matchLabels: Readonly<Record<string, string>> } | undefined;

/** Istio: an empty selector is none. */
export function hasLabels(selector: SelectorLike): boolean {
  return selector !== undefined && Object.keys(selector.matchLabels).length > 0;
}

/** True where every label the selector names is there with that value. */
export function selects(selector: SelectorLike, labels: Readonly<Record<string, string>>): boolean {
  if (selector === undefined) return true;
  return Object.entries(selector.matchLabels).every(
    ([name, value]) => Object.hasOwn(labels, name) && labels[name] === value,
  );
}
