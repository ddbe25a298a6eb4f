/**
 * Session persistence by cookie (GEP-1619): a caller stays with the endpoint that first answered it, as long as that one is
 * available. The cookie names it by a hash, so that no address leaves the mesh; who makes one up reaches no more than
 * an endpoint it could be sent to anyway.
 */
import type { SessionSpec } from '../config/snapshot.ts';
import type { RequestHead, ResponseHead } from '../http/message.ts';
import type { Cluster } from '../upstream/cluster.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { cookieOf } from '../upstream/request-hash.ts';

/** The endpoint that the request's cookie names; null if it has none, or that one is gone or not available. */
export function keptEndpoint(cluster: Cluster, head: RequestHead, { cookie }: SessionSpec): Endpoint | null {
  const id = cookieOf(head, cookie);
  if (id === undefined) return null;
  for (const endpoint of cluster.endpoints.values()) {
    if (endpoint.sessionId === id) return endpoint.available ? endpoint : null;
  }
  return null;
}

/** Tells the caller which endpoint to stay with, where policy wants it and its cookie does not say so already. */
export function keepCaller(
  answer: ResponseHead,
  forward: { readonly endpoint: Endpoint | null; readonly preferred: Endpoint | null } | null,
  session: SessionSpec | null,
): void {
  if (session === null || forward === null || forward.endpoint === null || forward.endpoint === forward.preferred)
    return;
  const { cookie, maxAgeSeconds } = session;
  const life = maxAgeSeconds === 0 ? '' : `; Max-Age=${maxAgeSeconds}`;
  answer.fields.append('set-cookie', `${cookie}=${forward.endpoint.sessionId}; Path=/; HttpOnly; SameSite=Lax${life}`);
}
