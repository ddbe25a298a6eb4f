/** Finished spans on their way to the control thread: many in one message, none waiting long. */
import type { Clock, Timer } from '../../shared/clock.ts';
import type { SpanRecord } from './record.ts';

/** Spans per message at most; a quarter of what the SDK's queue holds, so that one message never overruns it. */
export const BATCH_SPANS = 512;
/** Milliseconds a span waits for company. */
const BATCH_DELAY = 200;

export class SpanBatch {
  private spans: SpanRecord[] = [];
  private timer: Timer | null = null;
  private readonly clock: Clock;
  private readonly post: (spans: readonly SpanRecord[]) => void;
  private readonly onTime: () => void;

  /** `post` gets each batch once and may keep it. */
  constructor(clock: Clock, post: (spans: readonly SpanRecord[]) => void) {
    this.clock = clock;
    this.post = post;
    this.onTime = () => this.flush();
  }

  add(span: SpanRecord): void {
    this.spans.push(span);
    if (this.spans.length >= BATCH_SPANS) this.flush();
    else this.timer ??= this.clock.after(BATCH_DELAY, this.onTime);
  }

  /** Hands over what waits; before the thread ends. */
  flush(): void {
    this.timer?.cancel();
    this.timer = null;
    if (this.spans.length === 0) return;
    const { spans } = this;
    this.spans = [];
    this.post(spans);
  }
}
