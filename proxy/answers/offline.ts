/** A snapshot linked as a data thread links it, for questions alone. */
import { type IsOwnListener, type LinkedSnapshot, link } from '../config/link.ts';
import type { Snapshot } from '../config/snapshot.ts';
import { EXPRESSION, loadExpressions } from '../policy/expression.ts';
import type { Clusters } from '../upstream/clusters.ts';
import { offlineClusters } from '../upstream/offline.ts';

/** Whoever made it disposes of it. */
export class OfflineLink implements Disposable {
  readonly linked: LinkedSnapshot;
  private readonly clusters: Clusters;

  private constructor(snapshot: Snapshot, isOwn: IsOwnListener) {
    this.clusters = offlineClusters();
    this.linked = link(snapshot, this.clusters, isOwn);
  }

  /** `isOwn` tells the asked sidecar's own listeners, of which a folder knows nothing. */
  static async of(snapshot: Snapshot, isOwn: IsOwnListener = () => false): Promise<OfflineLink> {
    if (JSON.stringify(snapshot.services).includes(EXPRESSION)) await loadExpressions();
    return new OfflineLink(snapshot, isOwn);
  }

  [Symbol.dispose](): void {
    this.clusters.update([]);
  }
}
