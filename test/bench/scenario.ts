/** A scenario: one file under `scenarios/`, one line in `scenarios.ts`. */
import type { Peer } from './peer.ts';
import type { Line } from './report.ts';
import type { Site } from './site.ts';

export interface Bench {
  readonly site: Site;
  /** The other proxies that can take part, in the order of the table. */
  readonly peers: readonly Peer[];
  /** Seconds of load per slice. */
  readonly seconds: number;
  /** Times forth and back. */
  readonly blocks: number;
  readonly isQuick: boolean;
}

export interface Scenario {
  readonly name: string;
  /** Part of `--quick`. */
  readonly isQuick: boolean;
  run(bench: Bench): Promise<Line[]>;
}
