/** The sidecars' JSON access log, read back: what the demo counts. */
import type { Pod } from './pods.ts';

/** The fields of a request's line that the demo looks at. */
export interface AccessLine {
  readonly direction: 'inbound' | 'outbound';
  readonly method: string;
  readonly authority: string;
  readonly status: number;
  readonly word: string;
  readonly cluster: string;
  readonly upstream: string;
  readonly attempts: number;
  readonly downstream_principal: string;
  readonly upstream_principal: string;
  readonly trace_id: string;
}

/** Requests that the pod's sidecar has logged so far. */
export function accessLines(pod: Pod, direction: AccessLine['direction']): AccessLine[] {
  return pod.weft.program.lines.flatMap((text) => {
    if (!text.startsWith('{') || !text.includes(`"direction":"${direction}"`)) return [];
    const line = JSON.parse(text) as AccessLine;
    return line.method === undefined ? [] : [line];
  });
}
